package faults_test

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/truefoundry-community/truefoundry_exporter/internal/test/controlplanetest"
)

// item returns a token in JSON. Its ID is the name of the test case, so that the messages
// of the exporter and of the test contain the name.
func item(id, members string) json.RawMessage {
	quoted, err := json.Marshal(id)
	if err != nil {
		panic(err)
	}
	return json.RawMessage(`{"id":` + string(quoted) + "," + members + "}")
}

// All values are listed at once, between two healthy tokens.
func TestTimes(t *testing.T) {
	t.Parallel()
	metrics := []string{"created_timestamp_seconds", "last_accessed_timestamp_seconds", "issued_timestamp_seconds", "expiry_timestamp_seconds"}
	tests := []struct {
		name, value string
		want        string // in RFC 3339, or empty if the value is invalid
	}{
		{"the first second of the year 0", `"0000-01-01T00:00:00Z"`, ""},
		{"the zero time of Go", `"0001-01-01T00:00:00Z"`, ""},
		{"the Unix epoch", `"1970-01-01T00:00:00Z"`, ""},
		{"the last second of 1999", `"1999-12-31T23:59:59Z"`, ""},
		{"the first second of 2000", `"2000-01-01T00:00:00Z"`, "2000-01-01T00:00:00Z"},
		{"the year 2038", `"2038-01-19T03:14:08Z"`, "2038-01-19T03:14:08Z"},
		{"the last second of 9999", `"9999-12-31T23:59:59Z"`, "9999-12-31T23:59:59Z"},
		{"the last second of 9999 west of Greenwich", `"9999-12-31T23:59:59-01:00"`, ""},
		{"the year 10000", `"10000-01-01T00:00:00Z"`, ""},
		{"an offset to the east", `"2026-06-01T12:00:00+05:30"`, "2026-06-01T06:30:00Z"},
		{"an offset to the west", `"2026-06-01T12:00:00-12:00"`, "2026-06-02T00:00:00Z"},
		{"a fraction of a second", `"2026-06-01T12:00:00.250Z"`, "2026-06-01T12:00:00.25Z"},
		{"a time without seconds", `"2026-06-01T12:00Z"`, "2026-06-01T12:00:00Z"},
		{"a time without seconds and zone", `"2026-06-01T12:00"`, "2026-06-01T12:00:00Z"},
		{"a time without a zone", `"2026-06-01T12:00:00"`, "2026-06-01T12:00:00Z"},
		{"a date", `"2026-06-01"`, "2026-06-01T00:00:00Z"},
		{"the month 13", `"2026-13-01T00:00:00Z"`, ""},
		{"the 30th of February", `"2026-02-30T00:00:00Z"`, ""},
		{"an offset of a hundred hours", `"2026-06-01T12:00:00+100:00"`, ""},
		{"text that is not a time", `"next week"`, ""},
		{"a long text", `"` + strings.Repeat("2", 64<<10) + `"`, ""},
		{"a number in quotes", `"1780315200"`, ""},
		{"a number", `1780315200`, ""},
		{"a number that is too large", `1e999`, ""},
		{"a Boolean", `true`, ""},
		{"an object", `{"seconds":1780315200}`, ""},
	}
	items, invalid := []any{controlplanetest.Token(1)}, 0.0
	for _, tt := range tests {
		items = append(items, item(tt.name, strings.ReplaceAll(`"createdAt":T,"lastAccessedAt":T,"jwts":[{"id":"j","createdAt":T,"expiry":T}]`, "T", tt.value)))
		if tt.want == "" {
			invalid++
		}
	}
	items = append(items, controlplanetest.Token(2))

	e := start(t)
	e.controlPlane.setItems(items...)
	s := e.expectDecodeErrors(len(items), `of the token with id \"`+tests[0].name+`\"`)
	s.expectInvalidFields(map[string]float64{"createdAt": invalid, "lastAccessedAt": invalid, "jwts.createdAt": invalid, "jwts.expiry": invalid})
	for _, tt := range tests {
		if tt.want == "" {
			s.expectNoMetrics(tt.name, append(metrics, "has_expiry")...)
			continue
		}
		at, err := time.Parse(time.RFC3339, tt.want)
		if err != nil {
			t.Fatal(err)
		}
		for _, metric := range metrics {
			s.expectToken(tt.name, metric, float64(at.UnixMilli())/1e3)
		}
		s.expectToken(tt.name, "has_expiry", 1)
	}
	e.controlPlane.resetItems()
	e.expectDecodeErrorsEnd()
}

func TestEmptyTimesAreAbsent(t *testing.T) {
	t.Parallel()
	const id = "empty"
	e := start(t)
	e.controlPlane.setItems(item(id, `"createdAt":"","lastAccessedAt":"","nextScheduledRotation":"","jwts":[{"id":"j","createdAt":"","expiry":""}],"manifest":{"expiration_date":""}`))
	s := e.expectListing(1)
	s.expectToken(id, "has_expiry", 0)
	s.expectToken(id, "expired", 0)
	s.expectToken(id, "replaced", 0)
	s.expectNoMetrics(id, "created_timestamp_seconds", "last_accessed_timestamp_seconds", "issued_timestamp_seconds", "expiry_timestamp_seconds", "next_rotation_timestamp_seconds")
	s.expectInvalidFields(nil)
	e.controlPlane.resetItems()
	e.expectHealthy()
}

// All values are listed at once, between two healthy tokens.
func TestNumbers(t *testing.T) {
	t.Parallel()
	metrics := []string{"auto_rotate_interval_seconds", "auto_rotate_grace_period_seconds"}
	tests := []struct {
		name, value string
		want        float64 // negative if the value is invalid
	}{
		{"a negative number", "-1", -1},
		{"zero", "0", 0},
		{"ten thousand years", "3652425", 3652425 * 86400},
		{"more than ten thousand years", "3652426", -1},
		{"more than 64 bits", "9223372036854775808", -1},
		{"more than a float64", "1e999", -1},
		{"a fraction", "1.5", -1},
		{"a number in quotes", `"30"`, -1},
	}
	items, invalid := []any{controlplanetest.Token(1)}, 0.0
	for _, tt := range tests {
		items = append(items, item(tt.name, `"manifest":{"auto_rotate":{"auto_rotate_interval":`+tt.value+`,"grace_period":`+tt.value+`}}`))
		if tt.want < 0 {
			invalid++
		}
	}
	items = append(items, controlplanetest.Token(2))

	e := start(t)
	e.controlPlane.setItems(items...)
	s := e.expectDecodeErrors(len(items), `of the token with id \"`+tests[0].name+`\"`)
	s.expectInvalidFields(map[string]float64{"manifest.auto_rotate.auto_rotate_interval": invalid, "manifest.auto_rotate.grace_period": invalid})
	for _, tt := range tests {
		if tt.want < 0 {
			s.expectNoMetrics(tt.name, metrics...)
			continue
		}
		for _, metric := range metrics {
			s.expectToken(tt.name, metric, tt.want)
		}
	}
	e.controlPlane.resetItems()
	e.expectDecodeErrorsEnd()
}

// texts are values of JSON strings.
var texts = []struct{ name, value, want string }{
	{"a mebibyte is truncated", strings.Repeat("n", 1<<20), strings.Repeat("n", 256)},
	{"a mebibyte is truncated between characters", strings.Repeat("€", 1<<20/3), strings.Repeat("€", 85)},
	{"NUL is kept", `a\u0000z`, "a\x00z"},
	{"a single high surrogate is replaced", `a\ud83dz`, "a\ufffdz"},
	{"a single low surrogate is replaced", `b\udd11z`, "b\ufffdz"},
	{"surrogates in the wrong order are replaced", `a\udd11\ud83dz`, "a\ufffd\ufffdz"},
	{"surrogates in the right order are one character", `a\ud83d\udd11z`, "a🔑z"},
	{"bytes that are not UTF-8 are replaced", "b\xff\xc0z", "b\ufffd\ufffdz"},
	{"right-to-left marks are kept", `a\u200f\u202e\u2067z`, "a\u200f\u202e\u2067z"},
	{"characters that the exposition escapes are kept", `\\ \" \n \\n \\\\ \\\"`, "\\ \" \n \\n \\\\ \\\""},
	{"a line of an exposition is a text", `\"} 1\ntruefoundry_up{target=\"faulty\"} 0\n# EOF\n`, "\"} 1\ntruefoundry_up{target=\"faulty\"} 0\n# EOF\n"},
	{"control characters and line separators are kept", `\r\t\b\f\u001b[31m\u0085\u2028\u2029\ufeff`, "\r\t\b\f\x1b[31m\u0085\u2028\u2029\ufeff"},
}

func TestTextsInLabels(t *testing.T) {
	t.Parallel()
	var items []any
	for _, tt := range texts {
		items = append(items, item(tt.name, `"name":"`+tt.value+`",`+strings.ReplaceAll(
			`"tenantName":"V","type":"V","createdBySubject":{"subjectId":"u","subjectType":"V","subjectSlug":"V"},"manifest":{"ownedBy":{"team":"V"}}`,
			"V", tt.value[:min(len(tt.value), 3000)])))
	}
	e := start(t)
	e.controlPlane.setItems(items...)
	s := e.expectListing(len(items))
	s.expectInvalidFields(nil)
	for _, tt := range texts {
		for _, label := range []string{"token_name", "tenant", "creator", "creator_type", "token_type", "owner_team"} {
			got := slices.Collect(maps.Keys(s.Values("truefoundry_token_info", label, "target", faulty, "token_id", tt.name)))
			if want := []string{tt.want}; !slices.Equal(got, want) {
				t.Errorf("%s: %s is %.1000q, want %q", tt.name, label, got, want)
			}
		}
	}
	e.controlPlane.resetItems()
	e.expectHealthy()
}

func TestTextsInIDs(t *testing.T) {
	t.Parallel()
	var items []any
	for _, tt := range texts {
		items = append(items, json.RawMessage(`{"id":"`+tt.value+`"}`), json.RawMessage(`{"id":"`+tt.value+`2"}`))
	}
	e := start(t)
	e.controlPlane.setItems(items...)
	s := e.expectListing(len(items))
	ids := s.Values("truefoundry_token_info", "token_id", "target", faulty)
	for _, tt := range texts {
		for _, want := range []string{tt.want, tt.want + "2"} {
			if _, ok := ids[want]; !ok && len(tt.value) < 256 {
				t.Errorf("%s: there is no ID %q", tt.name, want)
			}
		}
	}
	for id := range ids {
		if len(id) > 256 {
			t.Errorf("an ID has %d bytes", len(id))
		}
	}
	e.controlPlane.resetItems()
	e.expectHealthy()
}
