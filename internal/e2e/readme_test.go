package e2e

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// The demonstration has a token for each of the README's queries.
func TestReadmeQueriesFindSomethingInTheDemo(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?s)```promql\n(.*?)```").FindAllSubmatch(readme, -1)
	if len(blocks) == 0 {
		t.Fatal("the README has no queries")
	}
	prometheus := startPrometheus(t, startDemo(t))
	for _, block := range blocks {
		for expression := range strings.SplitSeq(strings.TrimSpace(string(block[1])), "\n\n") {
			mustFind(t, prometheus, expression)
		}
	}
}
