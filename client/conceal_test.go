package client_test

import (
	"testing"

	"github.com/truefoundry-community/truefoundry_exporter/client"
)

func TestConceal(t *testing.T) {
	const secret = `s3cr&t"K3y/of+me` // in Base64: czNjciZ0Iksze…
	for _, tc := range []struct{ name, text, want string }{
		{"the whole", "Bearer " + secret + ", " + secret, "Bearer <secret>, <secret>"},
		{"twice without a gap", secret + secret, "<secret>"},
		{"nothing", "Bearer", "Bearer"},
		{"an empty text", "", ""},
		{"its first part", "the key s3cr&t\"K… is wrong", "the key <secret>… is wrong"},
		{"its last part", "…y/of+me", "…y/of+me"},
		{"a longer last part", "…3y/of+me", "…<secret>"},
		{"a part that could be anything", "s3cr&t\"", "s3cr&t\""},
		{"in a query", "?key=s3cr%26t%22K3y%2Fof%2Bme&x", "?key=<secret>&x"},
		{"in a path", "/s3cr&t%22K3y%2Fof+me/x", "/<secret>/x"},
		{"in JSON", `{"key": "s3cr\u0026t\"K3y/of+me"}`, `{"key": "<secret>"}`},
		{"in a string of Go", `"s3cr&t\"K3y/of+me"`, `"<secret>"`},
		{"in Base64", "Basic czNjciZ0IkszeS9vZittZQ==", "Basic <secret>Q=="},
		{"in Base64, after one byte", "OnMzY3ImdCJLM3kvb2YrbWU=", "On<secret>U="},
		{"in Base64, after two bytes", "YTpzM2NyJnQiSzN5L29mK21l", "YTp<secret>"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			wantEqual(t, client.Conceal(tc.text, "", "abc", secret), tc.want)
		})
	}
	for name, tc := range map[string]struct{ secret, text, want string }{
		"a short secret":         {"abcd", "abcd xabcdx", "<secret> x<secret>x"},
		"a short one in a query": {"a&b=c", "a%26b%3Dc", "<secret>"},
		"one that is a word":     {"the", "the key", "the key"},
		"none":                   {"", "the key", "the key"},
		"of two, the shorter":    {"abcde", "abcde", "<secret>"},
	} {
		t.Run(name, func(t *testing.T) { wantEqual(t, client.Conceal(tc.text, tc.secret), tc.want) })
	}
	t.Run("one within another", func(t *testing.T) {
		wantEqual(t, client.Conceal("the key is 1234-ada-6789", "ada-", "1234-ada-6789"), "the key is <secret>")
	})
	t.Run("two without a gap", func(t *testing.T) {
		wantEqual(t, client.Conceal("the key is 123456789ada-", "ada-", "123456789"), "the key is <secret>")
	})
}
