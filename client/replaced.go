package client

import (
	"cmp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// markReplaced sets Replaced for the tokens of a listing. It takes linearithmic time,
// however many of them have the same name. Tokens whose owner or time of issue is not
// certain are left out: nobody is alerted of a token that was replaced, so in doubt it
// was not.
func markReplaced(tokens []Token) {
	candidates := make([]*Token, 0, len(tokens))
	for i := range tokens {
		if t := &tokens[i]; t.hasOwnName() && isWhole(t.Tenant) && isWhole(t.Creator.ID) && !t.Issued.IsZero() {
			candidates = append(candidates, t)
		}
	}
	// Tokens that may replace a token come before it.
	slices.SortFunc(candidates, func(a, b *Token) int {
		if order := compareOwners(a, b); order != 0 {
			return order
		}
		return cmp.Or(b.Issued.Compare(a.Issued), b.Expiry.compare(a.Expiry))
	})
	var last *Token // of this owner and name, the one that expires last and has not expired
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

// compareOwners orders tokens by what a token and its replacement have in common.
func compareOwners(a, b *Token) int {
	if order := strings.Compare(a.Name, b.Name); order != 0 {
		return order // for nearly all tokens
	}
	return cmp.Or(strings.Compare(a.Creator.ID, b.Creator.ID), strings.Compare(a.Tenant, b.Tenant))
}

// hasOwnName reports whether the token certainly has a name, and not its id instead.
func (t *Token) hasOwnName() bool { return t.Name != t.ID && isWhole(t.Name) }

// isWhole reports whether text is not empty and certainly what the API sent: different
// texts may become equal when they are truncated or made valid UTF-8.
func isWhole(text string) bool {
	const minTruncated = maxText - utf8.UTFMax + 1
	return text != "" && len(text) < minTruncated && !strings.ContainsRune(text, utf8.RuneError)
}

// compare orders expiries: unreadable ones first, then dates, then never.
func (e Expiry) compare(other Expiry) int { return e.end().Compare(other.end()) }

// end returns At, or a time that is before or after all of them.
func (e Expiry) end() time.Time {
	switch {
	case !e.Readable:
		return time.Time{}
	case e.At.IsZero():
		return latest.Add(1)
	}
	return e.At
}
