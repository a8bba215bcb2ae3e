package client

import (
	"encoding/base64"
	"encoding/json"
	"net/url"
	"strconv"
	"strings"
)

const (
	// shortestSecret is the length from which on a text that repeats a secret says
	// more of it than of the words around it.
	shortestSecret = 4
	// shortestPart is the same for what repeats a part of a secret.
	shortestPart = 8
	// concealed stands where a secret was.
	concealed = "<secret>"
)

// Conceal replaces the secrets wherever text repeats them: whole or a part of
// them, as they are or in one of the encodings in which others may show what
// they were sent.
func Conceal(text string, secrets ...string) string {
	parts := map[string]bool{} // those of shortestPart bytes, and what is shorter as a whole
	for _, secret := range secrets {
		for _, form := range forms(secret) {
			if n := min(len(form), shortestPart); n >= shortestSecret {
				for i := range len(form) - n + 1 {
					parts[form[i:i+n]] = true
				}
			}
		}
	}
	if len(parts) == 0 {
		return text
	}
	var b strings.Builder
	for i, end := 0, -1; i < len(text); i++ { // end is that of what was concealed last
		found := 0
		for n := shortestSecret; n <= min(shortestPart, len(text)-i); n++ {
			if parts[text[i:i+n]] {
				found = n
			}
		}
		if found > 0 {
			if i > end {
				b.WriteString(concealed)
			}
			end = max(end, i+found)
		} else if i >= end {
			b.WriteByte(text[i])
		}
	}
	return b.String()
}

// forms returns the secret as it is, and in the encodings that change it.
func forms(secret string) []string {
	all := []string{secret}
	quoted, _ := json.Marshal(secret) // a string always has JSON
	for _, form := range []string{
		url.QueryEscape(secret), url.PathEscape(secret), strings.Trim(string(quoted), `"`), strings.Trim(strconv.Quote(secret), `"`),
	} {
		if form != secret {
			all = append(all, form)
		}
	}
	// Base64 depends on how much stands before the secret. The characters at both
	// ends are also those of its neighbours.
	for before, mixed := range []int{0, 2, 3} {
		text := []byte(strings.Repeat(" ", before) + secret)
		for _, encoding := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
			form := encoding.EncodeToString(text)
			if len(text)%3 != 0 {
				form = form[:len(form)-1]
			}
			if len(form) >= mixed+shortestPart {
				all = append(all, form[mixed:])
			}
		}
	}
	return all
}
