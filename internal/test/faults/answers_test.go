package faults_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/truefoundry-community/truefoundry_exporter/client"
	"github.com/truefoundry-community/truefoundry_exporter/internal/test/controlplanetest"
	"github.com/truefoundry-community/truefoundry_exporter/internal/test/faults"
)

// badAnswer is an answer that fails the listing.
type badAnswer struct {
	name   string
	answer controlplanetest.Fault
	reason client.Reason
	// logged and page are what the log and the landing page tell of it.
	logged, page string
	// requests is how many requests reach the control plane, 0 where that differs,
	// and retries how many of them the exporter repeats on purpose.
	requests int
	retries  float64
}

// expectFailures checks what becomes of each of the answers, and of the listing
// when the control plane answers as it should again.
func expectFailures(t *testing.T, tests []badAnswer) {
	t.Helper()
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			e := start(t)
			e.controlPlane.answers(tt.answer)
			s := e.expectFailure(tt.reason, tt.logged)
			s.expectPage(tt.page)
			s.expectRetries(tt.retries)
			if tt.requests > 0 {
				s.expectRequests(tt.requests)
			}
			e.controlPlane.answers(nil)
			e.expectRecovery()
		})
	}
}

func TestStatuses(t *testing.T) {
	t.Parallel()
	expectFailures(t, []badAnswer{
		{name: "401 fails the listing", answer: faults.Status(401), reason: client.ReasonUnauthorized, logged: "401 Unauthorized (out of order)", page: "the API key is not valid here, or no longer", requests: 1},
		{name: "403 fails the listing", answer: faults.Status(403), reason: client.ReasonForbidden, logged: "403 Forbidden (out of order)", page: "the API key may not list these tokens", requests: 1},
		{name: "404 fails the listing", answer: faults.Status(404), reason: client.ReasonClientError, logged: "404 Not Found (out of order)", page: "check the URL and the API prefix", requests: 1},
		{name: "409 fails the listing", answer: faults.Status(409), reason: client.ReasonClientError, logged: "409 Conflict (out of order)", requests: 1},
		{name: "400 is most likely about the page size", answer: faults.Status(400), reason: client.ReasonClientError, logged: "400 Bad Request (out of order)", page: "lower --truefoundry.page-size", requests: 1},
		{name: "422 is most likely about the page size", answer: faults.Status(422), reason: client.ReasonClientError, logged: "422 Unprocessable Entity (out of order)", page: "lower --truefoundry.page-size", requests: 1},
		{name: "429 is tried again, and fails the listing", answer: faults.Status(429), reason: client.ReasonRateLimited, logged: "429 Too Many Requests (out of order)", page: "scrape less often", requests: 3, retries: 2},
		{name: "429 with a Retry-After of 0 is tried again, and fails the listing", answer: faults.Status(429, "Retry-After", "0"), reason: client.ReasonRateLimited, logged: "429 Too Many Requests", requests: 3, retries: 2},
		{name: "429 with rubbish as Retry-After is tried again, and fails the listing", answer: faults.Status(429, "Retry-After", "soon"), reason: client.ReasonRateLimited, logged: "429 Too Many Requests", requests: 3, retries: 2},
		{name: "500 fails the listing", answer: faults.Status(500), reason: client.ReasonServerError, logged: "500 Internal Server Error (out of order)", page: "look at the control plane's logs", requests: 1},
		{name: "502 is tried again, and fails the listing", answer: faults.Status(502), reason: client.ReasonServerError, logged: "502 Bad Gateway (out of order)", requests: 3, retries: 2},
		{name: "503 is tried again, and fails the listing", answer: faults.Status(503), reason: client.ReasonServerError, logged: "503 Service Unavailable (out of order)", requests: 3, retries: 2},
		{name: "504 is tried again, and fails the listing", answer: faults.Status(504), reason: client.ReasonServerError, logged: "504 Gateway Timeout (out of order)", requests: 3, retries: 2},
		{name: "a failure of the last page only fails the listing", answer: faults.At(lastPage, faults.Status(500)), reason: client.ReasonServerError, logged: "500 Internal Server Error (out of order)"},
		{name: "a reset of the last page only fails the listing", answer: faults.At(lastPage, faults.ResetAfter(header+"\r\n"+body)), reason: client.ReasonConnection, logged: "the connection failed", retries: 2},
	})
}

// What stands in front of the control plane does not respond as the API does.
func TestResponsesOfSomethingElse(t *testing.T) {
	t.Parallel()
	const (
		who      = `, which did not come from the API (server proxy/1.0, title \"`
		notKey   = "the API key is not the problem"
		notThere = "something in front of the control plane cannot reach it"
	)
	expectFailures(t, []badAnswer{
		{name: "a page with 400 is of a port that expects TLS", answer: faults.Page(400), reason: client.ReasonClientError, logged: "400 Bad Request" + who, page: "the URL should start with https://", requests: 1},
		{name: "a page with 401 is no reason to replace the key", answer: faults.Page(401), reason: client.ReasonIntermediary, logged: "401 Unauthorized" + who, page: notKey, requests: 1},
		{name: "an empty 401 is no reason to replace the key", answer: faults.Text(401, ""), reason: client.ReasonIntermediary, logged: "401 Unauthorized, which did not come from the API: ", page: notKey, requests: 1},
		{name: "401 with JSON of another kind is no reason to replace the key", answer: faults.Text(401, `{"error":"invalid_token"}`), reason: client.ReasonIntermediary, logged: "401 Unauthorized, which did not come from the API: ", page: notKey, requests: 1},
		{name: "401 that wants a password is no reason to replace the key", answer: faults.Page(401, "WWW-Authenticate", `Basic realm="internal"`), reason: client.ReasonIntermediary, logged: `401 Unauthorized\", wants Basic)`, page: notKey, requests: 1},
		{name: "401 that wants a domain's account is no reason to replace the key", answer: faults.Page(401, "WWW-Authenticate", "Negotiate", "WWW-Authenticate", "NTLM"), reason: client.ReasonIntermediary, logged: "wants Negotiate, wants NTLM)", page: notKey, requests: 1},
		{name: "a page with 403 is no reason to replace the key", answer: faults.Page(403), reason: client.ReasonIntermediary, logged: "403 Forbidden" + who, page: notKey, requests: 1},
		{name: "an empty 403 is no reason to replace the key", answer: faults.Text(403, ""), reason: client.ReasonIntermediary, logged: "403 Forbidden, which did not come from the API: ", page: notKey, requests: 1},
		{name: "a page with 404 is of something else", answer: faults.Page(404), reason: client.ReasonClientError, logged: "404 Not Found" + who, page: "lead to something else than the control plane's API", requests: 1},
		{name: "a page with 407 is no reason to replace the key", answer: faults.Page(407, "Proxy-Authenticate", "Basic"), reason: client.ReasonIntermediary, logged: `title \"407 Proxy Authentication Required\", wants Basic)`, page: notKey, requests: 1},
		{name: "a page with 502 is of a proxy that cannot reach the control plane", answer: faults.Page(502), reason: client.ReasonServerError, logged: "502 Bad Gateway" + who, page: notThere, requests: 3, retries: 2},
		{name: "a page with 503 is of a proxy that cannot reach the control plane", answer: faults.Page(503), reason: client.ReasonServerError, logged: "503 Service Unavailable" + who, page: notThere, requests: 3, retries: 2},
		{name: "a page with 504 is of a proxy that cannot reach the control plane", answer: faults.Page(504), reason: client.ReasonServerError, logged: "504 Gateway Timeout" + who, page: notThere, requests: 3, retries: 2},
		{name: "a page with 200 is most likely that of a wrong prefix", answer: faults.Page(200), reason: client.ReasonBadResponse, logged: `instead of a list of tokens (server proxy/1.0, title \"200 OK\")`, page: "the response is an HTML page instead of a list of tokens", requests: 1},
		{name: "200 with nothing says so", answer: faults.Text(200, "", "Server", "proxy/1.0"), reason: client.ReasonBadResponse, logged: "the response is empty instead of a list of tokens (server proxy/1.0)", page: "the response is empty instead of a list of tokens", requests: 1},
	})
}

// A 502 of a proxy stays one if the time runs out while the exporter tries again.
func TestARetryThatIsTooLate(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for deadlines")
	}
	t.Parallel()
	for name, tt := range map[string]struct {
		first        controlplanetest.Fault
		reason       client.Reason
		logged, page string
	}{
		"a 502 before a response that never comes is the cause": {
			faults.Page(502), client.ReasonServerError, "502 Bad Gateway, which did not come from the API, and the scrape's deadline passed before a retry succeeded (server proxy/1.0",
			"something in front of the control plane cannot reach it",
		},
		"a reset before a response that never comes is the cause": {
			faults.ResetAfter(header), client.ReasonConnection, "the connection failed: ",
			"and the scrape's deadline passed before a retry succeeded",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := start(t)
			e.timeout = short
			first := faults.First(1, tt.first)
			e.controlPlane.answers(func(next http.Handler) http.Handler { return first(faults.Hang()(next)) })
			s := e.scrape()
			s.expectFailed(tt.reason)
			s.expectLog("level=error", "reason="+string(tt.reason), tt.logged)
			s.expectPage(tt.page)
			s.expectRetries(1)

			e.controlPlane.answers(nil)
			e.expectRecovery()
		})
	}
}

// A control plane that asks to be left alone for long is.
func TestRetryAfter(t *testing.T) {
	t.Parallel()
	inAnHour := time.Now().Add(time.Hour).UTC().Format(http.TimeFormat)
	for name, retryAfter := range map[string]string{
		"429 with a Retry-After of an hour is heeded for five minutes": "3600",
		"429 with a date as Retry-After is heeded for five minutes":    inAnHour,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := start(t)
			e.controlPlane.answers(faults.Status(429, "Retry-After", retryAfter))
			s := e.expectFailure(client.ReasonRateLimited, "429 Too Many Requests")
			s.expectRequests(1)

			e.controlPlane.answers(nil)
			s = e.scrape()
			s.expectFailed(client.ReasonRateLimited)
			s.expectLog()
			s.expectPage(`as the response "429 Too Many Requests" demanded with Retry-After`)
			s.expectRequests(0)

			e.set(5 * time.Minute)
			e.expectRecovery()
		})
	}

	t.Run("503 with a Retry-After of an hour stays the cause", func(t *testing.T) {
		t.Parallel()
		e := start(t)
		e.controlPlane.answers(faults.Page(503, "Retry-After", "3600"))
		s := e.scrape()
		s.expectFailed(client.ReasonServerError)
		s.expectLog("reason=server_error", "503 Service Unavailable, which did not come from the API (server proxy/1.0")
		s.expectRequests(1)

		e.controlPlane.answers(nil)
		s = e.scrape()
		s.expectFailed(client.ReasonRateLimited)
		s.expectLog("reason=rate_limited", `as the response \"503 Service Unavailable, which did not come from the API\" demanded with Retry-After`)
		s.expectPage(`as the response "503 Service Unavailable, which did not come from the API" demanded`)
		s.expectRequests(0)

		e.set(5 * time.Minute)
		e.expectRecovery()
	})

	t.Run("429 with a Retry-After of a second is tried again, and fails the listing", func(t *testing.T) {
		t.Parallel()
		e := start(t)
		e.controlPlane.answers(faults.Status(429, "Retry-After", "1"))
		s := e.expectFailure(client.ReasonRateLimited, "429 Too Many Requests")
		s.expectRequests(3)
		s.expectRetries(2)

		e.controlPlane.answers(nil)
		e.set(time.Second)
		e.expectRecovery()
	})

	t.Run("429 with a Retry-After of a second, once, costs that second", func(t *testing.T) {
		t.Parallel()
		e := start(t)
		e.controlPlane.answers(faults.First(1, faults.Status(429, "Retry-After", "1")))
		e.expectHealthy().expectRetries(1)
	})
}

func TestOneFailureAndThenSuccess(t *testing.T) {
	t.Parallel()
	for name, once := range map[string]controlplanetest.Fault{
		"one failure and then success costs nothing":                 faults.First(1, faults.Status(503)),
		"one failure of a later page and then success costs nothing": faults.At(pageSize, faults.First(1, faults.Status(502))),
		"one reset and then success costs nothing":                   faults.First(1, faults.ResetAfter(header)),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := start(t)
			e.controlPlane.answers(once)
			e.expectHealthy().expectRetries(1)
		})
	}
}

// What servers and proxies do to a good answer, and should not.
func TestUnusualAnswersCostNothing(t *testing.T) {
	t.Parallel()
	const mark = "\ufeff"
	for name, answer := range map[string]controlplanetest.Fault{
		"JSON after a byte order mark costs nothing": faults.Rewrite(func(a *faults.Answer) { a.Body = mark + a.Body }),
		"compressed JSON after a byte order mark costs nothing": faults.Rewrite(func(a *faults.Answer) {
			a.Header.Set("Content-Encoding", "gzip")
			a.Body = faults.Zipped(mark + a.Body)
		}),
		"a content encoding of x-gzip costs nothing": faults.Rewrite(func(a *faults.Answer) {
			a.Header.Set("Content-Encoding", "x-gzip")
			a.Body = faults.Zipped(a.Body)
		}),
		"a status of 203 costs nothing": faults.Rewrite(func(a *faults.Answer) { a.Status = http.StatusNonAuthoritativeInfo }),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := start(t)
			e.controlPlane.answers(answer)
			e.expectHealthy()
		})
	}

	t.Run("the API's own error after a byte order mark is one", func(t *testing.T) {
		t.Parallel()
		e := start(t)
		e.controlPlane.answers(faults.Rewrite(func(a *faults.Answer) {
			a.Status, a.Body = http.StatusUnauthorized, mark+`{"statusCode":401,"message":"out of order"}`
		}))
		e.expectFailure(client.ReasonUnauthorized, "401 Unauthorized (out of order)").expectRequests(1)
		e.controlPlane.answers(nil)
		e.expectRecovery()
	})
}

func TestBodies(t *testing.T) {
	t.Parallel()
	deep := strings.Repeat("[", 1_000_000)
	tests := []badAnswer{
		{name: "200 with HTML fails the listing", answer: faults.Body("<!DOCTYPE html><html><body>Sign in</body></html>"), logged: "the response is an HTML page instead of a list of tokens", page: "check the API prefix"},
		{name: "200 with an empty object fails the listing", answer: faults.Body(`{}`), logged: `there is no \"data\"`},
		{name: "200 with nothing fails the listing", answer: faults.Body(""), logged: "the response is empty instead of a list of tokens"},
		{name: "data that is null fails the listing", answer: faults.Body(`{"data":null,"pagination":{"total":45}}`), logged: `\"data\" is null`},
		{name: "data that is an object fails the listing", answer: faults.Body(`{"data":{"t0000":{}}}`), logged: "is not an array"},
		{name: "JSON that is cut off fails the listing", answer: faults.Body(body + `,{"id":"t00`), logged: "unexpected EOF"},
		{name: "JSON that is cut off on the last page fails the listing", answer: faults.At(lastPage, faults.Body(body+`,{"id":"t00`)), logged: "unexpected EOF"},
		{name: "a million nested brackets as the answer fail the listing", answer: faults.Body(deep), logged: "does not start with"},
		{name: "a million nested brackets as data fail the listing", answer: faults.Body(`{"data":` + deep), logged: "exceeded max depth"},
		{name: "a million nested brackets in an item fail the listing", answer: faults.Body(`{"data":[{"id":"t0000","manifest":` + deep), logged: "exceeded max depth"},
		{name: "a million nested brackets that are closed fail the listing", answer: faults.Body(`{"data":[],"meta":` + deep + strings.Repeat("]", 1_000_000) + "}"), logged: "exceeded max depth"},
	}
	for i := range tests {
		tests[i].reason = client.ReasonBadResponse
	}
	expectFailures(t, tests)

	t.Run("data that is null with a total of 0 is an empty list", func(t *testing.T) {
		t.Parallel()
		e := start(t)
		e.controlPlane.answers(faults.Body(`{"data":null,"pagination":{"total":0}}`))
		e.expectListing(0)
		e.controlPlane.answers(nil)
		e.expectHealthy()
	})

	t.Run("an endless error is cut off", func(t *testing.T) {
		t.Parallel()
		e := start(t)
		e.controlPlane.answers(faults.Endless("HTTP/1.1 404 Not Found\r\n\r\n"+`{"message":"`, "a"))
		s := e.expectFailure(client.ReasonClientError, "404 Not Found, which did not come from the API")
		s.expectRequests(1)
		s.expectAtMost("sent", s.sent, slack)
		e.controlPlane.answers(nil)
		e.expectRecovery()
	})
}

// These keep the machine busy for seconds, and so are alone and not repeated.
func TestHugeBodiesAreCutOff(t *testing.T) {
	for _, tt := range []struct {
		name            string
		answer          controlplanetest.Fault
		sent, allocated int64 // at most, in MiB
	}{
		{"a gzip bomb of a gibibyte is cut off", faults.GzipBomb(1024), slack, 512},
		{"an endless body is cut off", faults.Endless(header+"\r\n"+`{"data":[{"id":"t0000","name":"`, "a"), 64 + slack, 512},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e := start(t)
			e.controlPlane.answers(tt.answer)
			s := e.scrape()
			s.expectFailed(client.ReasonTooLarge)
			s.expectLog("level=error", "reason=too_large", fmt.Sprintf("a page of %d items is larger than 64 MiB", pageSize))
			s.expectPage("lower --truefoundry.page-size")
			s.expectRequests(1)
			s.expectAtMost("sent", s.sent, tt.sent)
			s.expectAtMost("allocated", s.allocated, tt.allocated)
			e.controlPlane.answers(nil)
			e.expectRecovery()
		})
	}
}

func TestPages(t *testing.T) {
	t.Parallel()
	const reported, duplicates = "truefoundry_listing_reported_tokens", "truefoundry_listing_duplicate_tokens"
	total := func(total any) controlplanetest.Fault { return faults.Total(func(int) any { return total }) }

	for _, tt := range []struct {
		name     string
		answer   controlplanetest.Fault
		reported float64
	}{
		{"a total of a trillion costs nothing", total(1e12), 1e12},
		{"a total that is too small costs nothing", total(1), 1},
		{"a total of 0 costs nothing", total(0), 0},
		{"pages that shrink while they are read cost nothing", faults.Shrink(pageSize, 1, 1), faultyTokens},
		{"an empty page in the middle, once, costs nothing", faults.At(pageSize, faults.First(1, faults.EmptyPage(pageSize))), faultyTokens},
		{"a limit that is clamped to 2 costs nothing", faults.Clamp(2), faultyTokens},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			e := start(t)
			e.controlPlane.answers(tt.answer)
			s := e.expectHealthy()
			s.expectListing(reported, tt.reported)
			s.expectListing(duplicates, 0)
			e.controlPlane.answers(nil)
			e.expectHealthy()
		})
	}

	t.Run("a negative total costs only itself", func(t *testing.T) {
		t.Parallel()
		e := start(t)
		e.controlPlane.answers(total(-1))
		s := e.expectLoss(faultyTokens, "pagination.total")
		s.expectSameTokens(e.before)
		e.controlPlane.answers(nil)
		e.expectRepair()
	})

	t.Run("a page that repeats for ever fails the listing", func(t *testing.T) {
		t.Parallel()
		e := start(t)
		e.controlPlane.answers(faults.IgnoreOffset())
		e.expectFailure(client.ReasonIncomplete, "the server repeats itself")
		e.controlPlane.answers(nil)
		e.expectRecovery()
	})

	t.Run("a list that shrinks while it is read is listed as it is then", func(t *testing.T) {
		t.Parallel()
		e := start(t)
		all := controlplanetest.Tokens(faultyTokens)
		var asked atomic.Int64
		e.controlPlane.listsEachTime(func() []any {
			if asked.Add(1) == 1 {
				return all
			}
			return all[2:8]
		})
		s := e.expectListing(6)
		for i := 2; i < 8; i++ {
			s.expectToken(controlplanetest.Token(i).ID, "info", 1)
		}
		e.controlPlane.listsItsTokens()
		e.expectHealthy()
	})

	t.Run("ids that repeat across pages are listed once", func(t *testing.T) {
		t.Parallel()
		e := start(t)
		all := controlplanetest.Tokens(faultyTokens)
		e.controlPlane.lists(append(all, all[:6]...)...)
		s := e.expectHealthy()
		s.expectListing(reported, faultyTokens+6)
		s.expectListing(duplicates, 6)
		e.controlPlane.listsItsTokens()
		e.expectHealthy()
	})

	t.Run("an empty page in the middle shows as a gap to the total", func(t *testing.T) {
		t.Parallel()
		e := start(t)
		e.controlPlane.answers(faults.EmptyPage(pageSize))
		s := e.expectListing(faultyTokens - pageSize)
		s.expectListing(reported, faultyTokens)
		s.expectListing(duplicates, 0)
		e.controlPlane.answers(nil)
		e.expectHealthy()
	})
}

func TestClocks(t *testing.T) {
	t.Parallel()
	for name, ahead := range map[string]time.Duration{
		"a clock that is an hour ahead costs nothing":  time.Hour,
		"a clock that is an hour behind costs nothing": -time.Hour,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := start(t)
			e.set(ahead)
			e.expectHealthy()
			e.set(0)
			e.expectHealthy()
		})
	}
}

// The log tells when a failure turns into another one, and of no repetition.
func TestTheLogTellsOfEachChangeOnce(t *testing.T) {
	t.Parallel()
	e := start(t)
	for _, step := range []struct {
		answer controlplanetest.Fault
		logged []string
	}{
		{nil, nil},
		{faults.Status(401), []string{"level=error", "reason=unauthorized", "401"}},
		{faults.Status(401), nil},
		{faults.Status(500), []string{"level=error", "reason=server_error", "500"}},
		{faults.Status(503), nil}, // the same to whoever reads the log
		{faults.Body("<html>"), []string{"level=error", "reason=bad_response"}},
		{faults.Body("<html>"), nil},
		{faults.At(pageSize, faults.Status(401)), []string{"level=error", "reason=unauthorized"}},
		{nil, []string{"level=info", `msg="listing works again"`}},
		{nil, nil},
		{faults.Status(401), []string{"level=error", "reason=unauthorized"}},
		{faults.Status(503, "Retry-After", "3600"), []string{"level=error", "reason=server_error"}},
		{nil, []string{"level=error", "reason=rate_limited", "nothing is sent until"}},
		{nil, nil},
	} {
		e.controlPlane.answers(step.answer)
		e.scrape().expectLog(step.logged...)
	}
}
