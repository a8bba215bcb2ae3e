package faults_test

import (
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/truefoundry-community/truefoundry_exporter/client"
	"github.com/truefoundry-community/truefoundry_exporter/internal/controlplanetest"
	"github.com/truefoundry-community/truefoundry_exporter/internal/faults"
)

// lastPage is the offset of the last page that has tokens.
const lastPage = faultyTokens / pageSize * pageSize

func statuses() []upstreamTest {
	const again = "Retry-After"
	inAnHour := time.Now().Add(time.Hour).UTC().Format(http.TimeFormat)
	return []upstreamTest{
		{name: "401 fails the listing", fault: faults.Status(401), reason: client.ReasonUnauthorized, logged: "401 Unauthorized (out of order)", requests: 1},
		{name: "403 fails the listing", fault: faults.Status(403), reason: client.ReasonForbidden, logged: "403 Forbidden (out of order)", requests: 1},
		{name: "404 fails the listing", fault: faults.Status(404), reason: client.ReasonClientError, logged: "404 Not Found (out of order)", requests: 1},
		{name: "409 fails the listing", fault: faults.Status(409), reason: client.ReasonClientError, logged: "409 Conflict (out of order)", requests: 1},
		{name: "422 fails the listing", fault: faults.Status(422), reason: client.ReasonClientError, logged: "422 Unprocessable Entity (out of order)", requests: 1},
		{name: "429 is tried again, and fails the listing", fault: faults.Status(429), reason: client.ReasonRateLimited, logged: "429 Too Many Requests (out of order)", requests: 3, retries: 2},
		{name: "429 with a Retry-After of 0 is tried again, and fails the listing", fault: faults.Status(429, again, "0"), reason: client.ReasonRateLimited, logged: "429 Too Many Requests", requests: 3, retries: 2},
		{name: "429 with a Retry-After of a second is tried again, and fails the listing", fault: faults.Status(429, again, "1"), reason: client.ReasonRateLimited, logged: "429 Too Many Requests", requests: 3, retries: 2, ban: time.Second},
		{name: "429 with a Retry-After of an hour is heeded for five minutes", fault: faults.Status(429, again, "3600"), reason: client.ReasonRateLimited, logged: "429 Too Many Requests", requests: 1, ban: 5 * time.Minute},
		{name: "429 with a date as Retry-After is heeded for five minutes", fault: faults.Status(429, again, inAnHour), reason: client.ReasonRateLimited, logged: "429 Too Many Requests", requests: 1, ban: 5 * time.Minute},
		{name: "429 with rubbish as Retry-After is tried again, and fails the listing", fault: faults.Status(429, again, "soon"), reason: client.ReasonRateLimited, logged: "429 Too Many Requests", requests: 3, retries: 2},
		{name: "429 with a Retry-After of a second, once, costs that second", fault: faults.First(1, faults.Status(429, again, "1")), retries: 1},
		{name: "500 fails the listing", fault: faults.Status(500), reason: client.ReasonServerError, logged: "500 Internal Server Error (out of order)", requests: 1},
		{name: "502 is tried again, and fails the listing", fault: faults.Status(502), reason: client.ReasonServerError, logged: "502 Bad Gateway (out of order)", requests: 3, retries: 2},
		{name: "503 is tried again, and fails the listing", fault: faults.Status(503), reason: client.ReasonServerError, logged: "503 Service Unavailable (out of order)", requests: 3, retries: 2},
		{name: "504 is tried again, and fails the listing", fault: faults.Status(504), reason: client.ReasonServerError, logged: "504 Gateway Timeout (out of order)", requests: 3, retries: 2},
		{name: "one failure and then success costs nothing", fault: faults.First(1, faults.Status(503)), retries: 1},
		{name: "one failure of a later page and then success costs nothing", fault: faults.At(pageSize, faults.First(1, faults.Status(502))), retries: 1},
		{name: "one reset and then success costs nothing", fault: faults.First(1, faults.ResetAfter(header)), retries: 1},
		{name: "a failure of the last page only fails the listing", fault: faults.At(lastPage, faults.Status(500)), reason: client.ReasonServerError, logged: "500 Internal Server Error (out of order)"},
		{name: "a reset of the last page only fails the listing", fault: faults.At(lastPage, faults.ResetAfter(header+"\r\n"+body)), reason: client.ReasonConnection, logged: "the connection failed", retries: 2},
	}
}

func bodies() []upstreamTest {
	const mebi = 1 << 20
	deep := strings.Repeat("[", 1_000_000)
	bad := []upstreamTest{
		{name: "200 with HTML fails the listing", fault: faults.Body("<!DOCTYPE html><html><body>Sign in</body></html>"), logged: "the response is an HTML page instead of a list of tokens"},
		{name: "200 with an empty object fails the listing", fault: faults.Body(`{}`), logged: `there is no \"data\"`},
		{name: "200 with nothing fails the listing", fault: faults.Body(""), logged: "the response is empty instead of a list of tokens"},
		{name: "data that is null fails the listing", fault: faults.Body(`{"data":null,"pagination":{"total":45}}`), logged: `\"data\" is null`},
		{name: "data that is an object fails the listing", fault: faults.Body(`{"data":{"t0000":{}}}`), logged: "is not an array"},
		{name: "JSON that is cut off fails the listing", fault: faults.Body(body + `,{"id":"t00`), logged: "unexpected EOF"},
		{name: "JSON that is cut off on the last page fails the listing", fault: faults.At(lastPage, faults.Body(body+`,{"id":"t00`)), logged: "unexpected EOF"},
		{name: "a million nested brackets as the answer fail the listing", fault: faults.Body(deep), logged: "does not start with"},
		{name: "a million nested brackets as data fail the listing", fault: faults.Body(`{"data":` + deep), logged: "exceeded max depth"},
		{name: "a million nested brackets in an item fail the listing", fault: faults.Body(`{"data":[{"id":"t0000","manifest":` + deep), logged: "exceeded max depth"},
		{name: "a million nested brackets that are closed fail the listing", fault: faults.Body(`{"data":[],"meta":` + deep + strings.Repeat("]", 1_000_000) + "}"), logged: "exceeded max depth"},
	}
	for i := range bad {
		bad[i].reason = client.ReasonBadResponse
	}
	const large = `a page of 20 items is larger than 64 MiB`
	return append(bad,
		upstreamTest{name: "data that is null with a total of 0 is an empty list", fault: faults.Body(`{"data":null,"pagination":{"total":0}}`), tokens: new(0)},
		upstreamTest{name: "a gzip bomb of a gibibyte is cut off", fault: faults.GzipBomb(1024), reason: client.ReasonTooLarge, logged: large, requests: 1, allocated: 512 * mebi, dear: true},
		upstreamTest{name: "an endless body is cut off", fault: faults.Endless(header+"\r\n"+`{"data":[{"id":"t0000","name":"`, "a"), reason: client.ReasonTooLarge, logged: large, requests: 1, sent: (64 + slack) * mebi, dear: true},
		upstreamTest{name: "an endless error is cut off", fault: faults.Endless("HTTP/1.1 404 Not Found\r\n\r\n"+`{"message":"`, "a"), reason: client.ReasonClientError, logged: "404 Not Found, which did not come from the API: ", requests: 1, sent: slack * mebi},
	)
}

func pages() []upstreamTest {
	kind := string(client.PersonalAccessToken)
	// counts checks what is told of the listing.
	counts := func(reported, duplicates float64) func(*testing.T, *scrape) {
		return func(t *testing.T, s *scrape) {
			t.Helper()
			for name, want := range map[string]float64{"truefoundry_listing_reported_tokens": reported, "truefoundry_listing_duplicate_tokens": duplicates} {
				if got := s.Values(name, "kind", "target", faulty)[kind]; got != want {
					t.Errorf("%s is %v, want %v", name, got, want)
				}
			}
		}
	}
	total := func(total any) controlplanetest.Fault { return faults.Total(func(int) any { return total }) }
	all := controlplanetest.Tokens(faultyTokens)
	var asked atomic.Int64
	return []upstreamTest{
		{name: "a total of a trillion costs nothing", fault: total(1e12), check: counts(1e12, 0)},
		{name: "a total that is too small costs nothing", fault: total(1), check: counts(1, 0)},
		{name: "a total of 0 costs nothing", fault: total(0), check: counts(0, 0)},
		{name: "a negative total costs only itself", fault: total(-1), logged: "pagination.total"},
		{name: "a page that repeats for ever fails the listing", fault: faults.IgnoreOffset(), reason: client.ReasonIncomplete, logged: "the server repeats itself"},
		{name: "a list that shrinks while it is read is listed as it is then", items: func() []any {
			if asked.Add(1) == 1 {
				return all
			}
			return all[10:40]
		}, tokens: new(30), check: func(t *testing.T, s *scrape) {
			t.Helper()
			ids := s.Values("truefoundry_token_info", "token_id", "target", faulty)
			for i := 10; i < 40; i++ {
				if id := controlplanetest.Token(i).ID; ids[id] != 1 {
					t.Errorf("there is no %s", id)
				}
			}
		}},
		{name: "pages that shrink while they are read cost nothing", fault: faults.Shrink(pageSize, 5, 5), check: counts(45, 0)},
		{name: "ids that repeat across pages are listed once", items: controlplanetest.Always(append(all, all[:30]...)...), check: counts(75, 30)},
		{name: "an empty page in the middle shows as a gap to the total", fault: faults.EmptyPage(pageSize), tokens: new(faultyTokens - pageSize), check: counts(45, 0)},
		{name: "an empty page in the middle, once, costs nothing", fault: faults.At(pageSize, faults.First(1, faults.EmptyPage(pageSize))), check: counts(45, 0)},
		{name: "a limit that is clamped to 10 costs nothing", fault: faults.Clamp(10), check: counts(45, 0)},
	}
}

func clocks() []upstreamTest {
	by := func(ahead time.Duration) func(*testing.T, *stage) {
		return func(_ *testing.T, st *stage) {
			st.begin = func() { st.set(ahead) }
			st.end = func() { st.set(0) }
		}
	}
	return []upstreamTest{
		{name: "a clock that is an hour ahead costs nothing", arrange: by(time.Hour)},
		{name: "a clock that is an hour behind costs nothing", arrange: by(-time.Hour)},
	}
}
