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

// odd is the id of the token that a test is about. There is a healthy one on
// each side of it.
const odd = "odd"

// listsOdd lists the odd token, of which these are the members in JSON.
func (cp *controlPlane) listsOdd(members string) {
	cp.lists(controlplanetest.Token(1), json.RawMessage(`{"id":"`+odd+`",`+members+`}`), controlplanetest.Token(2))
}

func TestTimes(t *testing.T) {
	t.Parallel()
	metrics := []string{"created_timestamp_seconds", "last_accessed_timestamp_seconds", "issued_timestamp_seconds", "expiry_timestamp_seconds"}
	for _, tt := range []struct {
		name, value string
		want        string // as RFC 3339, empty where it cannot be read
	}{
		{"the first moment of the year 0", `"0000-01-01T00:00:00Z"`, ""},
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
		{"fractions of a second", `"2026-06-01T12:00:00.250Z"`, "2026-06-01T12:00:00.25Z"},
		{"a time without seconds", `"2026-06-01T12:00Z"`, "2026-06-01T12:00:00Z"},
		{"a time without seconds and zone", `"2026-06-01T12:00"`, "2026-06-01T12:00:00Z"},
		{"a time without a zone", `"2026-06-01T12:00:00"`, "2026-06-01T12:00:00Z"},
		{"a date", `"2026-06-01"`, "2026-06-01T00:00:00Z"},
		{"a month too many", `"2026-13-01T00:00:00Z"`, ""},
		{"a day too many", `"2026-02-30T00:00:00Z"`, ""},
		{"an offset of a hundred hours", `"2026-06-01T12:00:00+100:00"`, ""},
		{"nonsense", `"next week"`, ""},
		{"a long text", `"` + strings.Repeat("2", 64<<10) + `"`, ""},
		{"a number as text", `"1780315200"`, ""},
		{"a number", `1780315200`, ""},
		{"a number beyond all", `1e999`, ""},
		{"a truth", `true`, ""},
		{"an object", `{"seconds":1780315200}`, ""},
	} {
		members := strings.ReplaceAll(`"createdAt":T,"lastAccessedAt":T,"jwts":[{"id":"j","createdAt":T,"expiry":T}]`, "T", tt.value)
		if tt.want == "" {
			t.Run("a time that is "+tt.name+" costs only itself", func(t *testing.T) {
				t.Parallel()
				e := start(t)
				e.controlPlane.listsOdd(members)
				s := e.expectLoss(3, `of the token with id \"odd\"`)
				s.expectOddLacks(append(metrics, "has_expiry")...)
				s.expectLost(map[string]float64{"createdAt": 1, "lastAccessedAt": 1, "jwts.createdAt": 1, "jwts.expiry": 1})
				e.controlPlane.listsItsTokens()
				e.expectRepair()
			})
			continue
		}
		t.Run("a time that is "+tt.name+" is read", func(t *testing.T) {
			t.Parallel()
			at, err := time.Parse(time.RFC3339, tt.want)
			if err != nil {
				t.Fatal(err)
			}
			e := start(t)
			e.controlPlane.listsOdd(members)
			s := e.expectListing(3)
			for _, metric := range metrics {
				s.expectToken(odd, metric, float64(at.UnixMilli())/1e3)
			}
			s.expectToken(odd, "has_expiry", 1)
			s.expectLost(nil)
			e.controlPlane.listsItsTokens()
			e.expectHealthy()
		})
	}

	t.Run("times that are empty texts are as good as none", func(t *testing.T) {
		t.Parallel()
		e := start(t)
		e.controlPlane.listsOdd(`"createdAt":"","lastAccessedAt":"","nextScheduledRotation":"","jwts":[{"id":"j","createdAt":"","expiry":""}],"manifest":{"expiration_date":""}`)
		s := e.expectListing(3)
		s.expectToken(odd, "has_expiry", 0)
		s.expectToken(odd, "expired", 0)
		s.expectToken(odd, "replaced", 0)
		s.expectOddLacks(append(metrics, "next_rotation_timestamp_seconds")...)
		s.expectLost(nil)
		e.controlPlane.listsItsTokens()
		e.expectHealthy()
	})
}

func TestNumbers(t *testing.T) {
	t.Parallel()
	metrics := []string{"auto_rotate_interval_seconds", "auto_rotate_grace_period_seconds"}
	for _, tt := range []struct {
		name, value string
		want        float64 // negative where it cannot be read
	}{
		{"0", "0", 0},
		{"that makes ten thousand years", "3652425", 3652425 * 86400},
		{"that makes more than ten thousand years", "3652426", -1},
		{"beyond 64 bits", "9223372036854775808", -1},
		{"beyond a float", "1e999", -1},
		{"with a fraction", "1.5", -1},
		{"below 0", "-1", -1},
		{"in quotes", `"30"`, -1},
	} {
		members := `"manifest":{"auto_rotate":{"auto_rotate_interval":` + tt.value + `,"grace_period":` + tt.value + `}}`
		if tt.want < 0 {
			t.Run("a number "+tt.name+" costs only itself", func(t *testing.T) {
				t.Parallel()
				e := start(t)
				e.controlPlane.listsOdd(members)
				s := e.expectLoss(3, `of the token with id \"odd\"`)
				s.expectOddLacks(metrics...)
				s.expectLost(map[string]float64{"manifest.auto_rotate.auto_rotate_interval": 1, "manifest.auto_rotate.grace_period": 1})
				e.controlPlane.listsItsTokens()
				e.expectRepair()
			})
			continue
		}
		t.Run("a number "+tt.name+" is read", func(t *testing.T) {
			t.Parallel()
			e := start(t)
			e.controlPlane.listsOdd(members)
			s := e.expectListing(3)
			for _, metric := range metrics {
				s.expectToken(odd, metric, tt.want)
			}
			s.expectLost(nil)
			e.controlPlane.listsItsTokens()
			e.expectHealthy()
		})
	}
}

func TestTexts(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, value, want string }{
		{"a mebibyte is cut", strings.Repeat("n", 1<<20), strings.Repeat("n", 256)},
		{"a mebibyte is cut between characters", strings.Repeat("€", 1<<20/3), strings.Repeat("€", 85)},
		{"NUL comes out right", `a\u0000z`, "a\x00z"},
		{"a lone high surrogate is replaced", `a\ud83dz`, "a\ufffdz"},
		{"a lone low surrogate is replaced", `a\udd11z`, "a\ufffdz"},
		{"surrogates in the wrong order are replaced", `a\udd11\ud83dz`, "a\ufffd\ufffdz"},
		{"surrogates in the right order are a character", `a\ud83d\udd11z`, "a🔑z"},
		{"bytes that are no UTF-8 are replaced", "a\xff\xc0z", "a\ufffd\ufffdz"},
		{"right-to-left marks come out right", `a\u200f\u202e\u2067z`, "a\u200f\u202e\u2067z"},
		{"every character that the exposition escapes comes out right", `\\ \" \n \\n \\\\ \\\"`, "\\ \" \n \\n \\\\ \\\""},
		{"a line of an exposition stays a text", `\"} 1\ntruefoundry_up{target=\"faulty\"} 0\n# EOF\n`, "\"} 1\ntruefoundry_up{target=\"faulty\"} 0\n# EOF\n"},
		{"control characters and line separators come out right", `\r\t\b\f\u001b[31m\u0085\u2028\u2029\ufeff`, "\r\t\b\f\x1b[31m\u0085\u2028\u2029\ufeff"},
	} {
		t.Run("a name of which "+tt.name, func(t *testing.T) {
			t.Parallel()
			e := start(t)
			e.controlPlane.listsOdd(`"name":"` + tt.value + `",` + strings.ReplaceAll(
				`"tenantName":"V","type":"V","createdBySubject":{"subjectId":"u","subjectType":"V","subjectSlug":"V"},"manifest":{"ownedBy":{"team":"V"}}`,
				"V", tt.value[:min(len(tt.value), 3000)]))
			s := e.expectListing(3)
			for _, label := range []string{"token_name", "tenant", "creator", "creator_type", "token_type", "owner_team"} {
				got := slices.Collect(maps.Keys(s.Values("truefoundry_token_info", label, "target", faulty, "token_id", odd)))
				if want := []string{tt.want}; !slices.Equal(got, want) {
					t.Errorf("%s is %.1000q, want %q", label, got, want)
				}
			}
			s.expectLost(nil)
			e.controlPlane.listsItsTokens()
			e.expectHealthy()
		})
		t.Run("an id of which "+tt.name, func(t *testing.T) {
			t.Parallel()
			e := start(t)
			e.controlPlane.lists(json.RawMessage(`{"id":"`+tt.value+`"}`), json.RawMessage(`{"id":"`+tt.value+`2"}`))
			s := e.expectListing(2)
			ids := s.Values("truefoundry_token_info", "token_id", "target", faulty)
			for _, want := range []string{tt.want, tt.want + "2"} {
				if _, ok := ids[want]; !ok && len(tt.value) < 256 {
					t.Errorf("the ids are %q, without %q", slices.Collect(maps.Keys(ids)), want)
				}
			}
			for id := range ids {
				if len(id) > 256 {
					t.Errorf("an id has %d bytes", len(id))
				}
			}
			e.controlPlane.listsItsTokens()
			e.expectHealthy()
		})
	}
}
