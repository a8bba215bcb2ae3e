// Package docstest reads documents, and compares generated parts of them, and golden files,
// with the code.
package docstest

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

// Region compares the part of a document between the comments <!-- begin name --> and
// <!-- end name --> with want. If update is true, it replaces that part by want.
func Region(t testing.TB, file, name, want string, update bool) {
	t.Helper()
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	begin, end := fmt.Sprintf("<!-- begin %s -->\n", name), fmt.Sprintf("<!-- end %s -->\n", name)
	before, rest, begun := strings.Cut(string(raw), begin)
	got, after, ended := strings.Cut(rest, end)
	if !begun || !ended {
		t.Fatalf("%s has no region %q", file, name)
	}
	want = "\n" + strings.TrimSpace(want) + "\n\n"
	if got == want {
		return
	}
	if !update {
		t.Errorf("the region %q of %s is not what the code says; this test rewrites it with -update:\n%s", name, file, Diff(got, want))
		return
	}
	if err := os.WriteFile(file, []byte(before+begin+want+end+after), 0o600); err != nil {
		t.Fatal(err)
	}
}

// Golden compares a golden file with got. If update is true, it first writes got to the file.
func Golden(t testing.TB, file, got string, update bool) {
	t.Helper()
	if update {
		if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs; this test rewrites it with -update:\n%s", file, Diff(string(want), got))
	}
}

// Diff returns the lines that only one of the texts contains: those of before after a "-",
// those of after after a "+".
func Diff(before, after string) string {
	var b strings.Builder
	only := func(sign, text, other string) {
		lines := strings.Split(other, "\n")
		for line := range strings.SplitSeq(text, "\n") {
			if !slices.Contains(lines, line) {
				b.WriteString(sign + " " + line + "\n")
			}
		}
	}
	only("-", before, after)
	only("+", after, before)
	return b.String()
}
