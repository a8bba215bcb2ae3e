package once_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/truefoundry-community/truefoundry_exporter/internal/once"
	"github.com/truefoundry-community/truefoundry_exporter/internal/test/faults"
	"github.com/truefoundry-community/truefoundry_exporter/internal/test/metricstest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// structure returns the output of a Recorder for a response. The response must arrive
// unchanged.
func structure(t *testing.T, handler http.HandlerFunc) string {
	t.Helper()
	sent := httptest.NewRecorder()
	handler(sent, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil))
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	var recorder once.Recorder
	next := new(http.Transport)
	t.Cleanup(next.CloseIdleConnections)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL+"/api/svc/v1/virtual-accounts?limit=1000&offset=20", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Accept-Encoding", "gzip") // prevents the transport from decompressing
	resp, err := recorder.Wrap(next).RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	if err != nil || string(got) != sent.Body.String() {
		t.Errorf("%v; got the body %q, want %q", err, got, sent.Body)
	}
	return written(t, &recorder)
}

// written returns the output of a Recorder.
func written(t *testing.T, recorder *once.Recorder) string {
	t.Helper()
	var text strings.Builder
	if _, err := recorder.WriteTo(&text); err != nil {
		t.Fatal(err)
	}
	return text.String()
}

// body returns a handler that responds with JSON.
func body(text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
		fmt.Fprint(w, text)
	}
}

func TestStructureOfResponses(t *testing.T) {
	zipped := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Content-Encoding", "gzip")
		fmt.Fprint(w, faults.Gzip(`[1]`))
	}
	for _, tt := range []struct {
		name    string
		handler http.HandlerFunc
		want    string
	}{
		{"booleans and null", body(`[true,true,false,null]`), `
			JSON: array of 4 (1)
			  each: false (1), null (1), true (2)`},
		{"numbers", body(`[0,-12,1.5,1e9]`), `
			JSON: array of 4 (1)
			  each: integer (2), number with a fraction or an exponent (2)`},
		{"lengths of strings", body(`["","abc","abcdef","abcd"]`), `
			JSON: array of 4 (1)
			  each: empty string (1), string of 3 to 6 (3)`},
		{"formats of times", body(`["2026-03-01","2026-03-01T12:00","2026-03-01T12:00:00Z","2026-03-01T12:00:00.123+05:30"]`), `
			JSON: array of 4 (1)
			  each: time as yyyy-mm-dd (1), time as yyyy-mm-ddThh:mm (1), time as yyyy-mm-ddThh:mm:ss.sss+hh:mm (1), time as yyyy-mm-ddThh:mm:ssZ (1)`},
		{"patterns of times in unknown formats", body(`{"nextScheduledRotation":"Sun, 1 Mar 2026"}`), `
			JSON: object (1)
			  nextScheduledRotation: string like aaa, 9 aaa 9999 (1)`},
		{"values of enumerations", body(`[{"subjectType":"user"},{"subjectType":"team"},{"subjectType":"acme"}]`), `
			JSON: array of 3 (1)
			  each: object (3)
			    subjectType: "team" (1), "user" (1), string of 4 (1)`},
		{"no values of other fields", body(`{"name":"user","type":"user"}`), `
			JSON: object (1)
			  name: string of 4 (1)
			  type: string of 4 (1)`},
		{"different items", body(`{"data":[{"id":"a"},{"id":5,"jwts":[]},7]}`), `
			JSON: object (1)
			  data: array of 3 (1)
			    each: integer (1), object (2)
			      id: integer (1), string of 1 (1)
			      jwts: array of 0 (1)`},
		{"hidden names", body(`{"tags":{"env":"prod"},"metadata":{"a":1,"syncTokenInSecretStoreInfo":{"error":"x"}},"a b":1,"team7":1}`), `
			JSON: object (1)
			  metadata: object (1)
			    syncTokenInSecretStoreInfo: object (1)
			      error: string of 1 (1)
			    members whose names are not shown: 1
			  tags: object (1)
			    members whose names are not shown: 1
			  members whose names are not shown: 2`},
		{"a byte order mark", body("\ufeff" + `{}`), `
			JSON: object (1)`},
		{"deep nesting", body(strings.Repeat("[", 30) + strings.Repeat("]", 30)), "deeper than this goes (1)"},
		{"gzip", zipped, `application/json, gzip`},
		{"HTML", body("<!doctype html><title>Sign in</title>"), "HTML or XML of 37 bytes"},
		{"empty", body(""), "  empty"},
		{"no JSON", body("OK"), "no JSON: 2 bytes"},
		{"two values", body("{} {}"), "no JSON: 5 bytes"},
		{"truncated JSON", body(`{"data":[`), "no JSON: 9 bytes"},
		{"a status", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) }, "target 1, virtual-accounts, offset 20: status 418, no media type, not compressed, 0 bytes"},
		{"another media type", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/vnd.acme")
			fmt.Fprint(w, "x")
		}, "another media type"},
		{"invalid gzip", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			fmt.Fprint(w, "x")
		}, "it cannot be decompressed"},
		{"another encoding", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "br")
			fmt.Fprint(w, "x")
		}, "another content encoding"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			want := strings.ReplaceAll(tt.want, "\n\t\t\t", "\n  ")
			metricstest.Present(t, structure(t, tt.handler), want)
		})
	}
}

func TestLengthOfTheStructureIsLimited(t *testing.T) {
	var members, times []string
	for i := range 1000 {
		name := strings.NewReplacer("0", "a", "1", "b", "2", "c", "3", "d", "4", "e", "5", "f", "6", "g", "7", "h", "8", "i", "9", "j").Replace(strconv.Itoa(i))
		members = append(members, fmt.Sprintf("%q:1", name))
		times = append(times, fmt.Sprintf("%q", strings.Repeat(".", i%30)+"1"))
	}
	text := structure(t, body(`{"a":{`+strings.Join(members, ",")+`},"createdAt":[`+strings.Join(times, ",")+`]}`))
	metricstest.Present(t, text, "members whose names are not shown: 800")
	metricstest.Present(t, text, "something else (")
	if lines := strings.Count(text, "\n"); lines > 220 {
		t.Errorf("there are %d lines", lines)
	}
}

func TestRequestWithoutAResponse(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	url := server.URL
	server.Close()
	var recorder once.Recorder
	recorder.Wrap(new(http.Transport))
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url+"/v1/virtual-accounts?offset=0", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := recorder.Wrap(new(http.Transport)).RoundTrip(req)
	if err == nil {
		resp.Body.Close()
		t.Error("got a response")
	}
	if got, want := written(t, &recorder), "target 2, virtual-accounts, offset 0: no response\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestTruncatedResponseIsPassedOn(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "100")
		fmt.Fprint(w, `{"data":[`)
	}))
	t.Cleanup(server.Close)
	var recorder once.Recorder
	next := new(http.Transport)
	t.Cleanup(next.CloseIdleConnections)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := recorder.Wrap(next).RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if got, err := io.ReadAll(resp.Body); string(got) != `{"data":[` || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("got %q and %v", got, err)
	}
	metricstest.Present(t, written(t, &recorder), "no JSON: 9 bytes")
}

// secret replaces values. It must not appear in any structure.
const secret = "zebra"

var (
	textValue   = regexp.MustCompile(`(: )?"((?:[^"\\]|\\.)*)"`)
	numberValue = regexp.MustCompile(`: \d+`)
)

func TestValuesAreNotShown(t *testing.T) {
	files, err := filepath.Glob("../../collector/testdata/shapes/*.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("%v; there are no responses", err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			raw, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			// Strings after a colon and in arrays are values.
			replaced := regexp.MustCompile(`(?m)^(\s*)"[^"]*"(,?)$`).ReplaceAllString(string(raw), `$1"`+secret+`"$2`)
			replaced = textValue.ReplaceAllStringFunc(replaced, func(found string) string {
				if strings.HasPrefix(found, ": ") {
					return `: "` + secret + ` 8675309"`
				}
				return found
			})
			replaced = numberValue.ReplaceAllString(replaced, ": 8675309")
			if n := strings.Count(replaced, secret); n < strings.Count(string(raw), `": "`) {
				t.Fatalf("only %d values were replaced in %s", n, replaced)
			}
			text := structure(t, body(replaced))
			for _, value := range []string{secret, "8675309"} {
				metricstest.Absent(t, text, value)
			}
			// Of the original values, only those of enumerations are shown.
			shown := regexp.MustCompile(`"[^"]*"`).FindAllString(structure(t, body(string(raw))), -1)
			for _, value := range shown {
				if !regexp.MustCompile(`^"(user|team|serviceaccount|virtualaccount|virtual-account|external-identity|agent-identity|role|jwt|opaque|email|slack-bot|tenant|provider-account)"$`).MatchString(value) {
					t.Errorf("%s is shown", value)
				}
			}
		})
	}
}

func TestNamesChosenByUsersAreNotShown(t *testing.T) {
	text := structure(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/"+secret)
		w.Header().Set("Server", secret)
		w.Header().Set("Content-Encoding", "identity")
		fmt.Fprintf(w, `{"tags":{%[1]q:%[1]q},"metadata":{%[1]q:{"a":%[1]q}},"%[1]s@acme.example":1,"%[1]s-1":true,"team %[1]s":null,"createdAt":"%[1]s"}`, secret)
	})
	metricstest.Absent(t, text, secret)
}

func FuzzStructure(f *testing.F) {
	f.Add(`{"data":[{"id":"zebra","tags":{"zebra":1}}]}`)
	f.Add("\ufeff[1e5,true]")
	f.Add(`{"createdAt":"zebra\u0000"}`)
	f.Fuzz(func(t *testing.T, text string) {
		lines := structure(t, body(text))
		for line := range strings.Lines(lines) {
			if len(line) > 4<<10 || strings.ContainsAny(strings.TrimSuffix(line, "\n"), "\r\n\x00\x1b") {
				t.Errorf("got the line %q", line)
			}
		}
	})
}
