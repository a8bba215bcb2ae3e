package server_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"github.com/go-kit/log"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/truefoundry-community/truefoundry_exporter/client"
	"github.com/truefoundry-community/truefoundry_exporter/collector"
	"github.com/truefoundry-community/truefoundry_exporter/internal/config"
	"github.com/truefoundry-community/truefoundry_exporter/internal/connect"
	"github.com/truefoundry-community/truefoundry_exporter/internal/server"
	"github.com/truefoundry-community/truefoundry_exporter/internal/test/controlplanetest"
	"github.com/truefoundry-community/truefoundry_exporter/internal/test/fakecontrolplane"
	"github.com/truefoundry-community/truefoundry_exporter/internal/test/metricstest"
)

// Bits of the behaviour of a rawServer.
const (
	pieces    = 3 // the number of pieces of a response minus 1
	keepsOpen = 4 // does not close the connection
	repeats   = 8 // sends the same response for each page
)

// rawServer is a server that responds with arbitrary bytes.
type rawServer struct {
	net.Listener
	raw      []byte
	behavior byte
	conns    sync.WaitGroup
}

func (s *rawServer) serve() {
	for {
		conn, err := s.Accept()
		if err != nil {
			return
		}
		s.conns.Go(func() {
			defer conn.Close()
			s.respond(conn)
		})
	}
}

func (s *rawServer) respond(conn io.ReadWriter) {
	requests := bufio.NewReader(conn)
	for {
		req, err := http.ReadRequest(requests)
		if err != nil {
			return
		}
		raw := s.raw
		if s.behavior&repeats == 0 && req.URL.Query().Get("offset") != "0" {
			raw = []byte(newResponse(`{"data":[]}`))
		}
		n := int(s.behavior&pieces) + 1
		for piece := range slices.Chunk(raw, max(1, (len(raw)+n-1)/n)) {
			if _, err := conn.Write(piece); err != nil {
				return
			}
		}
		if s.behavior&keepsOpen == 0 {
			return
		}
	}
}

// expectation is the expected result of a listing.
type expectation struct {
	// up is true if the list is complete. If ambiguous is true, the exporter may be
	// stricter.
	up, ambiguous bool
	// tokens is the number of tokens, or -1 if it is ambiguous.
	tokens int
}

// parseResponse parses a response in another way than the exporter does.
func parseResponse(raw []byte, behavior byte) expectation {
	none := expectation{tokens: -1}
	var from io.Reader = bytes.NewReader(raw)
	if behavior&keepsOpen != 0 {
		from = io.MultiReader(from, iotest.ErrReader(errors.New("no more data")))
	}
	in := bufio.NewReader(from)
	resp, err := http.ReadResponse(in, nil)
	for err == nil && resp.StatusCode/100 == 1 && resp.StatusCode != http.StatusSwitchingProtocols {
		resp, err = http.ReadResponse(in, nil)
	}
	if err != nil || resp.StatusCode != http.StatusOK && resp.StatusCode != http.StatusNonAuthoritativeInfo {
		return none
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return none
	}
	switch encoding := strings.ToLower(resp.Header.Get("Content-Encoding")); encoding {
	case "", "identity":
	case "gzip", "x-gzip":
		const limit = 64 << 20
		uncompressed, err := gzip.NewReader(bytes.NewReader(body))
		if err != nil {
			return none
		}
		if body, err = io.ReadAll(io.LimitReader(uncompressed, limit+1)); err != nil || len(body) > limit {
			return none
		}
	default:
		return none
	}
	body = bytes.TrimPrefix(body, []byte("\ufeff"))
	var page map[string]json.RawMessage
	if json.Unmarshal(body, &page) != nil || page["data"] == nil {
		return none
	}
	_, err = in.Peek(1)
	// Clients may or may not accept trailing data and duplicate members.
	ambiguous := err == nil || countMembers(body) != len(page)
	var items []json.RawMessage
	if json.Unmarshal(page["data"], &items) != nil {
		return expectation{ambiguous: ambiguous, tokens: -1}
	}
	if items == nil { // null
		var pagination struct{ Total *int64 }
		if json.Unmarshal(page["pagination"], &pagination) != nil || pagination.Total == nil || *pagination.Total != 0 {
			return expectation{ambiguous: ambiguous, tokens: -1}
		}
	}
	up := behavior&repeats == 0 || len(items) == 0 || isCompleteByTotal(page["pagination"], len(items))
	return expectation{up: up, ambiguous: ambiguous, tokens: countIDs(items)}
}

// isCompleteByTotal reports whether a page of n items is the complete list according to its
// pagination.
func isCompleteByTotal(raw json.RawMessage, n int) bool {
	var pagination map[string]json.RawMessage
	var total, limit int64
	if json.Unmarshal(raw, &pagination) != nil || json.Unmarshal(pagination["total"], &total) != nil || json.Unmarshal(pagination["limit"], &limit) != nil {
		return false
	}
	return n < client.MaxPageSize && total == int64(n) && limit >= client.MaxPageSize
}

// countMembers counts the members of an object.
func countMembers(object []byte) (n int) {
	dec := json.NewDecoder(bytes.NewReader(object))
	dec.Token()
	for dec.More() {
		dec.Token()
		dec.Decode(new(json.RawMessage))
		n++
	}
	return n
}

// countIDs counts the distinct IDs, or returns -1 if an item has no plain ID.
func countIDs(items []json.RawMessage) int {
	const maxLength = 256
	ids := map[string]bool{}
	for _, raw := range items {
		var item map[string]json.RawMessage
		var id string
		if json.Unmarshal(raw, &item) != nil || item["id"] == nil || json.Unmarshal(item["id"], &id) != nil || id == "" || len(id) > maxLength || countMembers(raw) != len(item) {
			return -1
		}
		for name := range item {
			if name != "id" && strings.EqualFold(name, "id") {
				return -1
			}
		}
		ids[id] = true
	}
	return len(ids)
}

// newResponse returns a response with a body and header fields.
func newResponse(body string, header ...string) string {
	return "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n" + strings.Join(append(header, ""), "\r\n") +
		fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(body), body)
}

// seed is a response with the known result.
type seed struct {
	raw      string
	behavior byte
	up       bool
	tokens   int
}

// fuzzSeeds returns valid and invalid responses.
func fuzzSeeds(f *testing.F) (all []seed) {
	f.Helper()
	text, err := json.Marshal(map[string]any{"data": controlplanetest.Tokens(3), "pagination": map[string]int{"total": 3, "offset": 0, "limit": 1000}})
	if err != nil {
		f.Fatal(err)
	}
	page := string(text)
	var compressed bytes.Buffer
	gz := gzip.NewWriter(&compressed)
	gz.Write(text)
	gz.Close()
	chunked := fmt.Sprintf("%x\r\n%s\r\n%x;a=b\r\n%s\r\n0\r\n\r\n", 10, page[:10], len(page)-10, page[10:])
	const ok, chunks = "HTTP/1.1 200 OK\r\n", "Transfer-Encoding: chunked\r\n"
	valid := newResponse(page)
	for _, raw := range []string{
		valid,
		"HTTP/1.0 200 \r\n\r\n" + page,
		ok + chunks + "\r\n" + chunked,
		ok + chunks + "Trailer: X-A\r\n\r\n" + strings.TrimSuffix(chunked, "\r\n") + "X-A: b\r\n\r\n",
		newResponse(compressed.String(), "Content-Encoding: gzip"),
		newResponse(compressed.String(), "Content-Encoding: X-Gzip"),
		newResponse("\ufeff" + page),
		strings.Replace(valid, "200 OK", "203 Non-Authoritative Information", 1),
		newResponse(page, "Connection: close", "Content-Encoding: Identity"),
		"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + valid,
		newResponse(page, "X-Long: "+strings.Repeat("a", 100_000)),
		newResponse(page, strings.Split(strings.Repeat("Set-Cookie: a=b\n", 1000), "\n")[:1000]...),
		newResponse(" \n" + strings.Replace(page, `"total":3`, `"total":1000000000000`, 1) + "\t"),
		newResponse(strings.Replace(page, `"total":3`, `"total":-1`, 1)),
		newResponse(strings.Replace(page, `"total":3`, `"total":"many"`, 1)),
		newResponse(`{"meta":` + strings.Repeat("[", 9000) + strings.Repeat("]", 9000) + "," + page[1:]),
		newResponse(`{"data":[{"id":"a"},{"id":"b"},{"id":"c","name":"\u0000\ud800\"\\\n","expiry":5,"jwts":7},{"id":"a"}]}`),
	} {
		all = append(all, seed{raw, 0, true, 3}, seed{raw, 2, true, 3})
		if !strings.HasPrefix(raw, "HTTP/1.0") {
			all = append(all, seed{raw, 1 + keepsOpen, true, 3})
		}
	}
	for _, body := range []string{`{"data":[]}`, `{"data":null,"pagination":{"total":0}}`, `{"pagination":{},"data":[]}`} {
		all = append(all, seed{newResponse(body), 0, true, 0}, seed{newResponse(body), repeats + keepsOpen, true, 0})
	}
	var bad []string
	for status := 100; status < 600; status++ {
		if text := http.StatusText(status); text != "" && status != http.StatusOK && status != http.StatusNonAuthoritativeInfo {
			bad = append(bad, strings.Replace(valid, "200 OK", fmt.Sprint(status, " ", text), 1))
		}
	}
	for _, n := range []int{0, 1, 9, 17, 40, len(valid) - len(page), len(valid) - 1} {
		bad = append(bad, valid[:n])
	}
	bad = append(
		bad,
		ok+chunks+"\r\n"+strings.TrimSuffix(chunked, "0\r\n\r\n"), ok+chunks+"\r\n"+strings.Replace(chunked, "0\r\n", "-1\r\n", 1),
		ok+"Content-Length: 5\r\nContent-Length: 6\r\n\r\n"+page, ok+"Content-Length: -1\r\n\r\n"+page,
		newResponse(compressed.String()[:compressed.Len()-1], "Content-Encoding: gzip"), newResponse(compressed.String()+"x", "Content-Encoding: gzip"),
		newResponse(compressed.String()), newResponse(page, "Content-Encoding: br"), newResponse(page, "Content-Encoding: gzip"),
		newResponse(""), newResponse("null"), newResponse("[]"), newResponse("{}"), newResponse("<html>"), newResponse(page+page), newResponse(page[:len(page)-1]), newResponse("\ufeff"), newResponse("\ufeff\ufeff"+page),
		newResponse(`{"data":null}`), newResponse(`{"data":{}}`), newResponse(`{"Data":[]}`), newResponse(`{"data":[],}`), newResponse(strings.Repeat("[", 100_000)),
		strings.Replace(valid, "200 OK", "302 Found\r\nLocation: https://me:"+controlplanetest.Key+"@elsewhere.example/?"+controlplanetest.Key, 1),
		strings.Replace(newResponse(`{"message":"no `+controlplanetest.Key+`"}`), "200 OK", "401 No\r\nRetry-After: "+strings.Repeat("9", 50), 1),
		strings.Replace(newResponse(""), "200 OK", "503 No\r\nRetry-After: Fri, 31 Dec 9999 23:59:59 GMT", 1),
		strings.Replace(valid, "200 OK", "20000 OK", 1), "\x15\x03\x01\x00\x02\x02\x46", "HTTP/1.1 101 Switching Protocols\r\nUpgrade: a\r\n\r\n"+valid,
	)
	for _, raw := range bad {
		all = append(all, seed{raw, 0, false, -1}, seed{raw, 1 + keepsOpen, false, -1})
	}
	all = append(all, seed{"HTTP/1.1 200 OK\r\n\r\n" + page, keepsOpen, false, -1}, seed{valid, repeats, true, 3}, seed{valid, repeats + keepsOpen, true, 3})
	for _, pagination := range []string{`{"total":3,"limit":999}`, `{"total":4,"limit":1000}`, `{"limit":1000}`, `{"total":3}`, `{"total":3,"limit":"1000"}`} {
		all = append(all, seed{newResponse(`{"data":[{"id":"a"},{"id":"b"},{"id":"c"}],"pagination":` + pagination + "}"), repeats, false, 3})
	}
	return all
}

// fuzzOffset is the TimeoutOffset of the exporter.
const fuzzOffset = 200 * time.Millisecond

// FuzzResponse compares how the exporter and parseResponse interpret arbitrary responses of
// a control plane.
func FuzzResponse(f *testing.F) {
	for _, s := range fuzzSeeds(f) {
		f.Add([]byte(s.raw), s.behavior)
		if got := parseResponse([]byte(s.raw), s.behavior); got.ambiguous || got.up != s.up || got.tokens != s.tokens && s.up {
			f.Errorf("%.200q (%d): got %+v, want %t with %d tokens", s.raw, s.behavior, got, s.up, s.tokens)
		}
	}
	f.Fuzz(func(t *testing.T, raw []byte, behavior byte) {
		t.Parallel() // many inputs wait for the timeout
		want := parseResponse(raw, behavior)
		// Complete lists get a long timeout, in case the machine is busy. The other timeouts
		// are too short for retries.
		timeout := 2 * fuzzOffset
		switch {
		case want.ambiguous:
			timeout = 2 * time.Second
		case want.up:
			timeout = time.Minute
		}
		families, logged := scrapeRaw(t, raw, behavior, timeout)

		up := valueOf(families, "truefoundry_up") == 1
		if up != want.up && (up || !want.ambiguous) {
			t.Errorf("up is %t, want %t", up, want.up)
		}
		if success := valueOf(families, "truefoundry_listing_success") == 1; success != up {
			t.Errorf("up is %t, listing_success is %t", up, success)
		}
		if failed := valueOf(families, "truefoundry_listing_errors_total") == 1; failed == up || strings.Count(logged, "listing failed") == 1 == up {
			t.Errorf("up is %t, failed is %t, and the log is %s", up, failed, logged)
		}
		tokens := len(families["truefoundry_token_info"].GetMetric())
		if listed := valueOf(families, "truefoundry_listing_tokens"); listed != float64(tokens) || up && !want.ambiguous && want.tokens >= 0 && tokens != want.tokens {
			t.Errorf("got %d tokens and listing_tokens %v, want %d", tokens, listed, want.tokens)
		}
		for name := range families {
			if !up && (strings.HasPrefix(name, "truefoundry_token_") || strings.HasPrefix(name, "truefoundry_listing_tokens")) {
				t.Errorf("%s is exposed for a failed listing", name)
			}
		}
		metricstest.Absent(t, logged, controlplanetest.Key)
	})
}

// scrapeRaw returns the metrics and the log of an exporter whose control plane is a
// rawServer. All connections must be closed in the end.
func scrapeRaw(t *testing.T, raw []byte, behavior byte, timeout time.Duration) (map[string]*dto.MetricFamily, string) {
	t.Helper()
	const maxWait = 30 * time.Second
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &rawServer{Listener: listener, raw: raw, behavior: behavior}
	var accepting sync.WaitGroup
	accepting.Go(s.serve)
	u, err := client.ParseURL("http://" + listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	logged := new(metricstest.Log)
	logger := log.NewLogfmtLogger(logged)
	c, err := collector.New(collector.Options{Logger: logger})
	if err != nil {
		t.Fatal(err)
	}
	set := connect.NewSet(c, connect.Settings{PageSize: client.MaxPageSize, UserAgent: "test", MaxConcurrency: 4, Now: time.Now, Logger: logger})
	set.Replace([]config.Target{{
		Name: "acme", URL: u, APIPrefix: fakecontrolplane.Prefix, Kinds: []client.Kind{client.PersonalAccessToken},
		Credentials: config.Credentials{Key: controlplanetest.Key, KeySource: "inline"}, HTTP: config.DefaultHTTP(),
	}})
	handler, err := server.New(server.Config{
		Collector: c, Registry: prometheus.NewRegistry(), TelemetryPath: "/metrics", TimeoutOffset: fuzzOffset, Now: time.Now, Logger: logger,
	})
	if err != nil {
		t.Fatal(err)
	}
	exporter := httptest.NewServer(handler)

	ctx, cancel := context.WithTimeout(t.Context(), timeout+maxWait)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, exporter.URL+"/metrics", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set(timeoutHeader, fmt.Sprint(timeout.Seconds()))
	transport := &http.Transport{DisableKeepAlives: true}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Errorf("status %s, parsing the exposition: %v", resp.Status, err)
	}

	exporter.Close()
	set.Close()
	listener.Close()
	accepting.Wait()
	closed := make(chan struct{})
	go func() {
		s.conns.Wait()
		close(closed)
	}()
	select {
	case <-closed:
	case <-time.After(maxWait):
		t.Fatal("the exporter did not close a connection")
	}
	return families, logged.String()
}

// valueOf returns the sum of a family's values.
func valueOf(families map[string]*dto.MetricFamily, name string) (sum float64) {
	for _, metric := range families[name].GetMetric() {
		sum += metric.GetGauge().GetValue() + metric.GetCounter().GetValue()
	}
	return sum
}

// An accepted path serves the metrics and does not affect other pages.
func FuzzTelemetryPath(f *testing.F) {
	for _, at := range []string{
		"/metrics", "/", "/a/", "/a/b.txt", "/a&b", "/~a", "/-/x", "/-/ready", "/-/ready/", "/...", "/a/..", "//", "/{x}", "/{$}", "/a{$}", "/a b", "/a\n", "/%61", "/\u00fc", "", "metrics", "GET /a", "h/a",
	} {
		f.Add(at)
	}
	c := newCollector(f, time.Now)
	f.Fuzz(func(t *testing.T, at string) {
		handler, err := server.New(server.Config{
			Collector: c, Registry: prometheus.NewRegistry(), TelemetryPath: at, InstrumentHandler: true, Now: time.Now, Logger: log.NewNopLogger(),
		})
		if err != nil {
			metricstest.Present(t, err.Error(), fmt.Sprintf("%q", at))
			return
		}
		for path, want := range map[string]string{at: "promhttp_metric_handler_requests_in_flight 1", "/-/healthy": "is healthy", "/-/ready": "is ready"} {
			response := httptest.NewRecorder()
			handler.ServeHTTP(response, httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil))
			if response.Code != http.StatusOK || !strings.Contains(response.Body.String(), want) {
				t.Errorf("with the metrics at %q, %q returns %d: %s", at, path, response.Code, response.Body)
			}
		}
		response := httptest.NewRecorder()
		handler.ServeHTTP(response, httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/-/reload", nil))
		if response.Code != http.StatusForbidden {
			t.Errorf("with the metrics at %q, a reload returns %d", at, response.Code)
		}
	})
}
