package docstest

import (
	"regexp"
	"strings"
	"unicode"
)

var (
	fencedCode = regexp.MustCompile("(?ms)^ *```.*?^ *```")
	inlineCode = regexp.MustCompile("`[^`\n]*`")
	// linkPattern matches the target of a link, of an image, and of an image in HTML.
	linkPattern = regexp.MustCompile(`\]\(([^)\s]+)\)|\b(?:src|srcset|href)="([^"]+)"`)
	heading     = regexp.MustCompile(`(?m)^#{1,6} +(.*?) *$`)
)

// Links returns the targets of the links in Markdown.
func Links(text string) (links []string) {
	text = inlineCode.ReplaceAllString(fencedCode.ReplaceAllString(text, ""), "")
	for _, match := range linkPattern.FindAllStringSubmatch(text, -1) {
		links = append(links, match[1]+match[2])
	}
	return links
}

// Anchors returns the anchors that GitHub gives the headings of Markdown.
func Anchors(text string) (anchors []string) {
	for _, match := range heading.FindAllStringSubmatch(fencedCode.ReplaceAllString(text, ""), -1) {
		anchors = append(anchors, strings.Map(func(r rune) rune {
			switch {
			case r == ' ':
				return '-'
			case r == '-' || r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r):
				return unicode.ToLower(r)
			}
			return -1
		}, match[1]))
	}
	return anchors
}
