package config

import (
	"strings"
	"testing"
	"unicode"
)

func FuzzParse(f *testing.F) {
	for _, tt := range invalidFiles {
		f.Add(tt.text)
	}
	for _, tt := range validFiles {
		f.Add(tt.text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		list, err := parse([]byte(text), "/dir")
		if err != nil {
			// The names in errors have no digits, so the canary may be anywhere in the file.
			if strings.Contains(err.Error(), canary) || strings.ContainsFunc(err.Error(), unprintable) || err.Error() == "" {
				t.Errorf("the error is %q", err)
			}
			if list != nil {
				t.Errorf("got %d targets and the error %v", len(list), err)
			}
			return
		}
		if len(list) == 0 {
			t.Error("got neither targets nor an error")
		}
		names := map[string]bool{}
		for i := range list {
			target := &list[i]
			if target.Name == "" || names[target.Name] || target.URL == nil || target.URL.Host == "" || target.Credentials == (Credentials{}) {
				t.Errorf("targets[%d] is %+v", i, target)
			}
			if err := checkKinds(target.Kinds); err != nil {
				t.Errorf("targets[%d] has the kinds %q: %v", i, target.Kinds, err)
			}
			names[target.Name] = true
		}
	})
}

func unprintable(r rune) bool { return !unicode.IsPrint(r) }
