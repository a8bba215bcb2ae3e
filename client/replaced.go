package client

import (
	"cmp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// markReplaced sets Replaced for the tokens of a listing. Tokens with an uncertain owner
// or time of issue are ignored: replaced tokens cause no alerts, so a token only counts as
// replaced if that is certain. It sorts the tokens once, so that many tokens with the same
// name are not slow.
func markReplaced(tokens []Token) {
	candidates := make([]*Token, 0, len(tokens))
	for i := range tokens {
		if t := &tokens[i]; t.hasName() && isUnaltered(t.Tenant) && isUnaltered(t.Creator.ID) && !t.Issued.IsZero() {
			candidates = append(candidates, t)
		}
	}
	// Tokens that may replace a token are sorted before it.
	slices.SortFunc(candidates, func(a, b *Token) int {
		if order := compareOwners(a, b); order != 0 {
			return order
		}
		return cmp.Or(b.Issued.Compare(a.Issued), b.Expiry.compare(a.Expiry))
	})
	var last *Token // the token with this owner and name that expires last and is not expired
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

// compareOwners compares what a token and its replacement have in common.
func compareOwners(a, b *Token) int {
	if order := strings.Compare(a.Name, b.Name); order != 0 {
		return order // almost always
	}
	return cmp.Or(strings.Compare(a.Creator.ID, b.Creator.ID), strings.Compare(a.Tenant, b.Tenant))
}

// hasName reports whether the token certainly has a name other than its ID.
func (t *Token) hasName() bool { return t.Name != t.ID && isUnaltered(t.Name) }

// isUnaltered reports whether text is not empty and certainly unchanged: different texts may
// become equal when they are truncated or converted to valid UTF-8.
func isUnaltered(text string) bool {
	const minTruncated = maxText - utf8.UTFMax + 1
	return text != "" && len(text) < minTruncated && !strings.ContainsRune(text, utf8.RuneError)
}

// compare orders expiries: unreadable ones first, then times, then never.
func (e Expiry) compare(other Expiry) int { return e.sortKey().Compare(other.sortKey()) }

// sortKey returns At, or a time before or after all valid times.
func (e Expiry) sortKey() time.Time {
	switch {
	case !e.Readable:
		return time.Time{}
	case e.At.IsZero():
		return latest.Add(1)
	}
	return e.At
}
