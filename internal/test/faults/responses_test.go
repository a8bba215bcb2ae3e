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

// failureTest is a fault that fails the listing.
type failureTest struct {
	name   string
	fault  controlplanetest.Fault
	reason client.Reason
	// logged and page are parts of the log and of the landing page.
	logged, page string
	// requests is the number of requests to the control plane, or 0 if it varies.
	requests int
	retries  float64
}

// expectFailures checks that each fault fails the listing until it ends.
func expectFailures(t *testing.T, tests []failureTest) {
	t.Helper()
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			e := start(t)
			e.controlPlane.setFault(tt.fault)
			s := e.expectFailure(tt.reason, tt.logged)
			s.expectPage(tt.page)
			s.expectRetries(tt.retries)
			if tt.requests > 0 {
				s.expectRequests(tt.requests)
			}
			e.controlPlane.setFault(nil)
			e.expectRecovery()
		})
	}
}

func TestStatuses(t *testing.T) {
	t.Parallel()
	expectFailures(t, []failureTest{
		{name: "401 fails the listing", fault: faults.Status(401), reason: client.ReasonUnauthorized, logged: "401 Unauthorized (out of order)", page: "the API key is not valid here, or no longer", requests: 1},
		{name: "403 fails the listing", fault: faults.Status(403), reason: client.ReasonForbidden, logged: "403 Forbidden (out of order)", page: "the API key may not list these tokens", requests: 1},
		{name: "404 fails the listing", fault: faults.Status(404), reason: client.ReasonClientError, logged: "404 Not Found (out of order)", page: "check the URL and the API prefix", requests: 1},
		{name: "409 fails the listing", fault: faults.Status(409), reason: client.ReasonClientError, logged: "409 Conflict (out of order)", requests: 1},
		{name: "the advice for 400 is about the page size", fault: faults.Status(400), reason: client.ReasonClientError, logged: "400 Bad Request (out of order)", page: "lower --truefoundry.page-size", requests: 1},
		{name: "the advice for 422 is about the page size", fault: faults.Status(422), reason: client.ReasonClientError, logged: "422 Unprocessable Entity (out of order)", page: "lower --truefoundry.page-size", requests: 1},
		{name: "429 is retried, and fails the listing", fault: faults.Status(429), reason: client.ReasonRateLimited, logged: "429 Too Many Requests (out of order)", page: "scrape less often", requests: 3, retries: 2},
		{name: "429 with a Retry-After of 0 is retried, and fails the listing", fault: faults.Status(429, "Retry-After", "0"), reason: client.ReasonRateLimited, logged: "429 Too Many Requests", requests: 3, retries: 2},
		{name: "429 with an invalid Retry-After is retried, and fails the listing", fault: faults.Status(429, "Retry-After", "soon"), reason: client.ReasonRateLimited, logged: "429 Too Many Requests", requests: 3, retries: 2},
		{name: "500 fails the listing", fault: faults.Status(500), reason: client.ReasonServerError, logged: "500 Internal Server Error (out of order)", page: "look at the control plane's logs", requests: 1},
		{name: "502 is retried, and fails the listing", fault: faults.Status(502), reason: client.ReasonServerError, logged: "502 Bad Gateway (out of order)", requests: 3, retries: 2},
		{name: "503 is retried, and fails the listing", fault: faults.Status(503), reason: client.ReasonServerError, logged: "503 Service Unavailable (out of order)", requests: 3, retries: 2},
		{name: "504 is retried, and fails the listing", fault: faults.Status(504), reason: client.ReasonServerError, logged: "504 Gateway Timeout (out of order)", requests: 3, retries: 2},
		{name: "500 for the last page fails the listing", fault: faults.At(lastPage, faults.Status(500)), reason: client.ReasonServerError, logged: "500 Internal Server Error (out of order)"},
		{name: "a reset in the last page fails the listing", fault: faults.At(lastPage, faults.ResetAfter(header+"\r\n"+body)), reason: client.ReasonConnection, logged: "the connection failed", retries: 2},
	})
}

// Something in front of the control plane responds.
func TestResponsesThatAreNotFromTheAPI(t *testing.T) {
	t.Parallel()
	const (
		sender   = `, which did not come from the API (server proxy/1.0, title \"`
		notKey   = "the API key is not the problem"
		notThere = "something in front of the control plane cannot reach it"
	)
	expectFailures(t, []failureTest{
		{name: "the advice for a page with 400 is to use HTTPS", fault: faults.ErrorPage(400), reason: client.ReasonClientError, logged: "400 Bad Request" + sender, page: "the URL should start with https://", requests: 1},
		{name: "a page with 401 does not mean that the key is invalid", fault: faults.ErrorPage(401), reason: client.ReasonIntermediary, logged: "401 Unauthorized" + sender, page: notKey, requests: 1},
		{name: "an empty 401 does not mean that the key is invalid", fault: faults.Text(401, ""), reason: client.ReasonIntermediary, logged: "401 Unauthorized, which did not come from the API: ", page: notKey, requests: 1},
		{name: "401 with other JSON does not mean that the key is invalid", fault: faults.Text(401, `{"error":"invalid_token"}`), reason: client.ReasonIntermediary, logged: "401 Unauthorized, which did not come from the API: ", page: notKey, requests: 1},
		{name: "401 with a Basic challenge does not mean that the key is invalid", fault: faults.ErrorPage(401, "WWW-Authenticate", `Basic realm="internal"`), reason: client.ReasonIntermediary, logged: `401 Unauthorized\", wants Basic)`, page: notKey, requests: 1},
		{name: "401 with two challenges does not mean that the key is invalid", fault: faults.ErrorPage(401, "WWW-Authenticate", "Negotiate", "WWW-Authenticate", "NTLM"), reason: client.ReasonIntermediary, logged: "wants Negotiate, wants NTLM)", page: notKey, requests: 1},
		{name: "a page with 403 does not mean that the key is invalid", fault: faults.ErrorPage(403), reason: client.ReasonIntermediary, logged: "403 Forbidden" + sender, page: notKey, requests: 1},
		{name: "an empty 403 does not mean that the key is invalid", fault: faults.Text(403, ""), reason: client.ReasonIntermediary, logged: "403 Forbidden, which did not come from the API: ", page: notKey, requests: 1},
		{name: "the advice for a page with 404 is to check the URL", fault: faults.ErrorPage(404), reason: client.ReasonClientError, logged: "404 Not Found" + sender, page: "lead to something other than the control plane's API", requests: 1},
		{name: "a page with 407 does not mean that the key is invalid", fault: faults.ErrorPage(407, "Proxy-Authenticate", "Basic"), reason: client.ReasonIntermediary, logged: `title \"407 Proxy Authentication Required\", wants Basic)`, page: notKey, requests: 1},
		{name: "a page with 502 means that a proxy cannot reach the control plane", fault: faults.ErrorPage(502), reason: client.ReasonServerError, logged: "502 Bad Gateway" + sender, page: notThere, requests: 3, retries: 2},
		{name: "a page with 503 means that a proxy cannot reach the control plane", fault: faults.ErrorPage(503), reason: client.ReasonServerError, logged: "503 Service Unavailable" + sender, page: notThere, requests: 3, retries: 2},
		{name: "a page with 504 means that a proxy cannot reach the control plane", fault: faults.ErrorPage(504), reason: client.ReasonServerError, logged: "504 Gateway Timeout" + sender, page: notThere, requests: 3, retries: 2},
		{name: "a page with 200 fails the listing", fault: faults.ErrorPage(200), reason: client.ReasonBadResponse, logged: `instead of a list of tokens (server proxy/1.0, title \"200 OK\")`, page: "the response is an HTML page instead of a list of tokens", requests: 1},
		{name: "an empty 200 fails the listing", fault: faults.Text(200, "", "Server", "proxy/1.0"), reason: client.ReasonBadResponse, logged: "the response is empty instead of a list of tokens (server proxy/1.0)", page: "the response is empty instead of a list of tokens", requests: 1},
	})
}

// If the deadline passes during a retry, the error is that of the first attempt.
func TestRetriesThatTimeOut(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for deadlines")
	}
	t.Parallel()
	for name, tt := range map[string]struct {
		first        controlplanetest.Fault
		reason       client.Reason
		logged, page string
	}{
		"after a 502": {
			faults.ErrorPage(502), client.ReasonServerError, "502 Bad Gateway, which did not come from the API, and the scrape's deadline passed before a retry succeeded (server proxy/1.0",
			"something in front of the control plane cannot reach it",
		},
		"after a reset": {
			faults.ResetAfter(header), client.ReasonConnection, "the connection failed: ",
			"and the scrape's deadline passed before a retry succeeded",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := start(t)
			e.timeout = shortTimeout
			first := faults.First(1, tt.first)
			e.controlPlane.setFault(func(next http.Handler) http.Handler { return first(faults.Hang()(next)) })
			s := e.scrape()
			s.expectFailed(tt.reason)
			s.expectLog("level=error", "reason="+string(tt.reason), tt.logged)
			s.expectPage(tt.page)
			s.expectRetries(1)

			e.controlPlane.setFault(nil)
			e.expectRecovery()
		})
	}
}

// Nothing is sent until the end of a long Retry-After, but at most for five minutes.
func TestRetryAfter(t *testing.T) {
	t.Parallel()
	inAnHour := time.Now().Add(time.Hour).UTC().Format(http.TimeFormat)
	for name, retryAfter := range map[string]string{
		"429 with a Retry-After of an hour is respected for five minutes": "3600",
		"429 with a date as Retry-After is respected for five minutes":    inAnHour,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := start(t)
			e.controlPlane.setFault(faults.Status(429, "Retry-After", retryAfter))
			s := e.expectFailure(client.ReasonRateLimited, "429 Too Many Requests")
			s.expectRequests(1)

			e.controlPlane.setFault(nil)
			s = e.scrape()
			s.expectFailed(client.ReasonRateLimited)
			s.expectLog()
			s.expectPage(`because of the Retry-After of the response "429 Too Many Requests"`)
			s.expectRequests(0)

			e.set(5 * time.Minute)
			e.expectRecovery()
		})
	}

	t.Run("503 with a Retry-After of an hour is respected for five minutes", func(t *testing.T) {
		t.Parallel()
		e := start(t)
		e.controlPlane.setFault(faults.ErrorPage(503, "Retry-After", "3600"))
		s := e.scrape()
		s.expectFailed(client.ReasonServerError)
		s.expectLog("reason=server_error", "503 Service Unavailable, which did not come from the API (server proxy/1.0")
		s.expectRequests(1)

		e.controlPlane.setFault(nil)
		s = e.scrape()
		s.expectFailed(client.ReasonRateLimited)
		s.expectLog("reason=rate_limited", `because of the Retry-After of the response \"503 Service Unavailable, which did not come from the API\"`)
		s.expectPage(`because of the Retry-After of the response "503 Service Unavailable, which did not come from the API"`)
		s.expectRequests(0)

		e.set(5 * time.Minute)
		e.expectRecovery()
	})

	t.Run("429 with a Retry-After of a second is retried, and fails the listing", func(t *testing.T) {
		t.Parallel()
		e := start(t)
		e.controlPlane.setFault(faults.Status(429, "Retry-After", "1"))
		s := e.expectFailure(client.ReasonRateLimited, "429 Too Many Requests")
		s.expectRequests(3)
		s.expectRetries(2)

		e.controlPlane.setFault(nil)
		e.set(time.Second)
		e.expectRecovery()
	})

	t.Run("one 429 with a Retry-After of a second does not fail the listing", func(t *testing.T) {
		t.Parallel()
		e := start(t)
		e.controlPlane.setFault(faults.First(1, faults.Status(429, "Retry-After", "1")))
		e.expectHealthy().expectRetries(1)
	})
}

func TestOneFailureIsRetried(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]controlplanetest.Fault{
		"one 503 does not fail the listing":                  faults.First(1, faults.Status(503)),
		"one 502 for a later page does not fail the listing": faults.At(pageSize, faults.First(1, faults.Status(502))),
		"one reset does not fail the listing":                faults.First(1, faults.ResetAfter(header)),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := start(t)
			e.controlPlane.setFault(fault)
			e.expectHealthy().expectRetries(1)
		})
	}
}

// These responses are valid, although servers and proxies should not send them.
func TestUnusualResponsesAreAccepted(t *testing.T) {
	t.Parallel()
	const mark = "\ufeff"
	for name, fault := range map[string]controlplanetest.Fault{
		"JSON after a byte order mark": faults.Rewrite(func(r *faults.Response) { r.Body = mark + r.Body }),
		"compressed JSON after a byte order mark": faults.Rewrite(func(r *faults.Response) {
			r.Header.Set("Content-Encoding", "gzip")
			r.Body = faults.Gzip(mark + r.Body)
		}),
		"the content encoding x-gzip": faults.Rewrite(func(r *faults.Response) {
			r.Header.Set("Content-Encoding", "x-gzip")
			r.Body = faults.Gzip(r.Body)
		}),
		"the status 203": faults.Rewrite(func(r *faults.Response) { r.Status = http.StatusNonAuthoritativeInfo }),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := start(t)
			e.controlPlane.setFault(fault)
			e.expectHealthy()
		})
	}

	t.Run("an error of the API after a byte order mark", func(t *testing.T) {
		t.Parallel()
		e := start(t)
		e.controlPlane.setFault(faults.Rewrite(func(r *faults.Response) {
			r.Status, r.Body = http.StatusUnauthorized, mark+`{"statusCode":401,"message":"out of order"}`
		}))
		e.expectFailure(client.ReasonUnauthorized, "401 Unauthorized (out of order)").expectRequests(1)
		e.controlPlane.setFault(nil)
		e.expectRecovery()
	})
}

func TestBodies(t *testing.T) {
	t.Parallel()
	deep := strings.Repeat("[", 1_000_000)
	tests := []failureTest{
		{name: "HTML fails the listing", fault: faults.Body("<!DOCTYPE html><html><body>Sign in</body></html>"), logged: "the response is an HTML page instead of a list of tokens", page: "check the API prefix"},
		{name: "an empty object fails the listing", fault: faults.Body(`{}`), logged: `there is no \"data\"`},
		{name: "an empty body fails the listing", fault: faults.Body(""), logged: "the response is empty instead of a list of tokens"},
		{name: "data that is null fails the listing", fault: faults.Body(`{"data":null,"pagination":{"total":45}}`), logged: `\"data\" is null`},
		{name: "data that is an object fails the listing", fault: faults.Body(`{"data":{"t0000":{}}}`), logged: "is not an array"},
		{name: "truncated JSON fails the listing", fault: faults.Body(body + `,{"id":"t00`), logged: "unexpected EOF"},
		{name: "truncated JSON on the last page fails the listing", fault: faults.At(lastPage, faults.Body(body+`,{"id":"t00`)), logged: "unexpected EOF"},
		{name: "a million nested arrays fail the listing", fault: faults.Body(deep), logged: "does not start with"},
		{name: "a million nested arrays as data fail the listing", fault: faults.Body(`{"data":` + deep), logged: "exceeded max depth"},
		{name: "a million nested arrays in an item fail the listing", fault: faults.Body(`{"data":[{"id":"t0000","manifest":` + deep), logged: "exceeded max depth"},
		{name: "a million complete nested arrays fail the listing", fault: faults.Body(`{"data":[],"meta":` + deep + strings.Repeat("]", 1_000_000) + "}"), logged: "exceeded max depth"},
	}
	for i := range tests {
		tests[i].reason = client.ReasonBadResponse
	}
	expectFailures(t, tests)

	t.Run("data that is null with a total of 0 is an empty list", func(t *testing.T) {
		t.Parallel()
		e := start(t)
		e.controlPlane.setFault(faults.Body(`{"data":null,"pagination":{"total":0}}`))
		e.expectListing(0)
		e.controlPlane.setFault(nil)
		e.expectHealthy()
	})

	t.Run("an endless error response is not read to its end", func(t *testing.T) {
		t.Parallel()
		e := start(t)
		e.controlPlane.setFault(faults.Endless("HTTP/1.1 404 Not Found\r\n\r\n"+`{"message":"`, "a"))
		s := e.expectFailure(client.ReasonClientError, "404 Not Found, which did not come from the API")
		s.expectRequests(1)
		s.expectSent(socketBuffers)
		e.controlPlane.setFault(nil)
		e.expectRecovery()
	})
}

// These tests are not parallel, since they take seconds of CPU time and measure allocations.
func TestHugeBodiesAreNotReadToTheirEnd(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds of CPU time")
	}
	for _, tt := range []struct {
		name            string
		fault           controlplanetest.Fault
		sent, allocated int64 // at most, in MiB
	}{
		{"a gzip bomb of a gibibyte", faults.GzipBomb(1024), socketBuffers, 512},
		{"an endless body", faults.Endless(header+"\r\n"+`{"data":[{"id":"t0000","name":"`, "a"), 64 + socketBuffers, 512},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e := start(t)
			e.controlPlane.setFault(tt.fault)
			s := e.scrape()
			s.expectFailed(client.ReasonTooLarge)
			s.expectLog("level=error", "reason=too_large", fmt.Sprintf("a page of %d items is larger than 64 MiB", pageSize))
			s.expectPage("lower --truefoundry.page-size")
			s.expectRequests(1)
			s.expectSent(tt.sent)
			s.expectAllocated(tt.allocated)
			e.controlPlane.setFault(nil)
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
		fault    controlplanetest.Fault
		reported float64
	}{
		{"a total of a trillion does not matter", total(1e12), 1e12},
		{"a total that is too small does not matter", total(1), 1},
		{"a total of 0 does not matter", total(0), 0},
		{"pages that become shorter do not matter", faults.Shrink(pageSize, 1, 1), faultyTokens},
		{"one empty page in the middle is read again", faults.At(pageSize, faults.First(1, faults.EmptyPage(pageSize))), faultyTokens},
		{"a limit of 2 does not matter", faults.Clamp(2), faultyTokens},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			e := start(t)
			e.controlPlane.setFault(tt.fault)
			s := e.expectHealthy()
			s.expectListing(reported, tt.reported)
			s.expectListing(duplicates, 0)
			e.controlPlane.setFault(nil)
			e.expectHealthy()
		})
	}

	t.Run("a negative total is ignored", func(t *testing.T) {
		t.Parallel()
		e := start(t)
		e.controlPlane.setFault(total(-1))
		s := e.expectDecodeErrors(faultyTokens, "pagination.total")
		s.expectSameTokens(e.before)
		e.controlPlane.setFault(nil)
		e.expectDecodeErrorsEnd()
	})

	t.Run("a page that is repeated forever fails the listing", func(t *testing.T) {
		t.Parallel()
		e := start(t)
		e.controlPlane.setFault(faults.IgnoreOffset())
		e.expectFailure(client.ReasonIncomplete, "the server repeats itself")
		e.controlPlane.setFault(nil)
		e.expectRecovery()
	})

	t.Run("a list that shrinks while it is read is read again", func(t *testing.T) {
		t.Parallel()
		e := start(t)
		all := controlplanetest.Tokens(faultyTokens)
		var requests atomic.Int64
		e.controlPlane.setItemsFunc(func() []any {
			if requests.Add(1) == 1 {
				return all
			}
			return all[2:8]
		})
		s := e.expectListing(6)
		for i := 2; i < 8; i++ {
			s.expectToken(controlplanetest.Token(i).ID, "info", 1)
		}
		e.controlPlane.resetItems()
		e.expectHealthy()
	})

	t.Run("tokens that occur twice are listed once", func(t *testing.T) {
		t.Parallel()
		e := start(t)
		all := controlplanetest.Tokens(faultyTokens)
		e.controlPlane.setItems(append(all, all[:6]...)...)
		s := e.expectHealthy()
		s.expectListing(reported, faultyTokens+6)
		s.expectListing(duplicates, 6)
		e.controlPlane.resetItems()
		e.expectHealthy()
	})

	t.Run("an empty page in the middle is visible in the reported total", func(t *testing.T) {
		t.Parallel()
		e := start(t)
		e.controlPlane.setFault(faults.EmptyPage(pageSize))
		s := e.expectListing(faultyTokens - pageSize)
		s.expectListing(reported, faultyTokens)
		s.expectListing(duplicates, 0)
		e.controlPlane.setFault(nil)
		e.expectHealthy()
	})
}

func TestClocks(t *testing.T) {
	t.Parallel()
	for name, offset := range map[string]time.Duration{
		"a clock that is an hour ahead does not matter":  time.Hour,
		"a clock that is an hour behind does not matter": -time.Hour,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := start(t)
			e.set(offset)
			e.expectHealthy()
			e.set(0)
			e.expectHealthy()
		})
	}
}

func TestEachChangeIsLoggedOnce(t *testing.T) {
	t.Parallel()
	e := start(t)
	for _, step := range []struct {
		fault  controlplanetest.Fault
		logged []string
	}{
		{nil, nil},
		{faults.Status(401), []string{"level=error", "reason=unauthorized", "401"}},
		{faults.Status(401), nil},
		{faults.Status(500), []string{"level=error", "reason=server_error", "500"}},
		{faults.Status(503), nil}, // has the same reason as 500
		{faults.Body("<html>"), []string{"level=error", "reason=bad_response"}},
		{faults.Body("<html>"), nil},
		{faults.At(pageSize, faults.Status(401)), []string{"level=error", "reason=unauthorized"}},
		{nil, []string{"level=info", `msg="listing works again"`}},
		{nil, nil},
		{faults.Status(401), []string{"level=error", "reason=unauthorized"}},
		{faults.Status(503, "Retry-After", "3600"), []string{"level=error", "reason=server_error"}},
		{nil, []string{"level=error", "reason=rate_limited", "no request is sent before"}},
		{nil, nil},
	} {
		e.controlPlane.setFault(step.fault)
		e.scrape().expectLog(step.logged...)
	}
}
