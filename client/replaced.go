package client

import (
	"cmp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// markReplaced sets Replaced of the tokens of a listing, in linearithmic time
// however many of them have the same name. A token is only compared with others
// where it is certain whose it is and when it was issued: in doubt, none is
// replaced, since nobody is alerted of a token that is.
func markReplaced(tokens []Token) {
	candidates := make([]*Token, 0, len(tokens))
	for i := range tokens {
		if t := &tokens[i]; t.hasOwnName() && isWhole(t.Tenant) && isWhole(t.Creator.ID) && !t.Issued.IsZero() {
			candidates = append(candidates, t)
		}
	}
	// Those that may replace a token stand before it.
	slices.SortFunc(candidates, func(a, b *Token) int {
		if order := compareOwners(a, b); order != 0 {
			return order
		}
		return cmp.Or(b.Issued.Compare(a.Issued), b.Expiry.compare(a.Expiry))
	})
	var last *Token // the one of this owner and name that ends last, without expired ones
	for i, t := range candidates {
		if i > 0 && compareOwners(candidates[i-1], t) != 0 {
			last = nil
		}
		t.Replaced = last != nil && last.Expiry.compare(t.Expiry) > 0
		if expired := t.Expired != nil && *t.Expired; !expired && !t.Replaced {
			last = t
		}
	}
}

// compareOwners orders tokens by what a token has in common with the one that
// replaces it.
func compareOwners(a, b *Token) int {
	if order := strings.Compare(a.Name, b.Name); order != 0 {
		return order // as for nearly all tokens
	}
	return cmp.Or(strings.Compare(a.Creator.ID, b.Creator.ID), strings.Compare(a.Tenant, b.Tenant))
}

// hasOwnName tells whether the token's name is certain to be what the API calls
// it, and not the id in its stead.
func (t *Token) hasOwnName() bool { return t.Name != t.ID && isWhole(t.Name) }

// isWhole tells whether text is not empty and certain to be what the API sent:
// different texts may become the same when they are cut or mended.
func isWhole(text string) bool {
	const shortestCut = maxText - utf8.UTFMax + 1
	return text != "" && len(text) < shortestCut && !strings.ContainsRune(text, utf8.RuneError)
}

// compare orders expiries: those that could not be read, dates, never.
func (e Expiry) compare(other Expiry) int { return e.end().Compare(other.end()) }

// end is At, or a time before or after all that can be read.
func (e Expiry) end() time.Time {
	switch {
	case !e.Readable:
		return time.Time{}
	case e.At.IsZero():
		return latest.Add(1)
	}
	return e.At
}
