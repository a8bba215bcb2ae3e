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

// How a peer answers, beside the number of pieces, which are the lowest bits.
const (
	pieces  = 3
	holds   = 4 // it leaves the connection open
	repeats = 8 // it sends the same for each page
)

// peer is a server that answers with any bytes.
type peer struct {
	net.Listener
	raw   []byte
	how   byte
	conns sync.WaitGroup
}

func (p *peer) serve() {
	for {
		conn, err := p.Accept()
		if err != nil {
			return
		}
		p.conns.Go(func() {
			defer conn.Close()
			p.answer(conn)
		})
	}
}

func (p *peer) answer(conn io.ReadWriter) {
	requests := bufio.NewReader(conn)
	for {
		req, err := http.ReadRequest(requests)
		if err != nil {
			return
		}
		raw := p.raw
		if p.how&repeats == 0 && req.URL.Query().Get("offset") != "0" {
			raw = []byte(answerOf(`{"data":[]}`))
		}
		n := int(p.how&pieces) + 1
		for piece := range slices.Chunk(raw, max(1, (len(raw)+n-1)/n)) {
			if _, err := conn.Write(piece); err != nil {
				return
			}
		}
		if p.how&holds == 0 {
			return
		}
	}
}

// reading is what an answer is, to somebody who reads it another way.
type reading struct {
	// up tells whether the list that consists of this page is whole; where doubtful,
	// that is what it has to be at least, and no more is said.
	up, doubtful bool
	// tokens is their number, -1 where that is doubtful.
	tokens int
}

func readAnswer(raw []byte, how byte) reading {
	none := reading{tokens: -1}
	var from io.Reader = bytes.NewReader(raw)
	if how&holds != 0 {
		from = io.MultiReader(from, iotest.ErrReader(errors.New("nothing more comes")))
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
		unzipped, err := gzip.NewReader(bytes.NewReader(body))
		if err != nil {
			return none
		}
		if body, err = io.ReadAll(io.LimitReader(unzipped, limit+1)); err != nil || len(body) > limit {
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
	// What follows an answer, or stands there twice, is a matter of taste.
	doubtful := err == nil || members(body) != len(page)
	var items []json.RawMessage
	if json.Unmarshal(page["data"], &items) != nil {
		return reading{doubtful: doubtful, tokens: -1}
	}
	if items == nil { // null
		var pagination struct{ Total *int64 }
		if json.Unmarshal(page["pagination"], &pagination) != nil || pagination.Total == nil || *pagination.Total != 0 {
			return reading{doubtful: doubtful, tokens: -1}
		}
	}
	up := how&repeats == 0 || len(items) == 0 || saysItIsAll(page["pagination"], len(items))
	return reading{up: up, doubtful: doubtful, tokens: distinct(items)}
}

// saysItIsAll tells whether a page of n items is the whole list by its own word, and
// was not clamped.
func saysItIsAll(raw json.RawMessage, n int) bool {
	var pagination map[string]json.RawMessage
	var total, limit int64
	if json.Unmarshal(raw, &pagination) != nil || json.Unmarshal(pagination["total"], &total) != nil || json.Unmarshal(pagination["limit"], &limit) != nil {
		return false
	}
	return n < client.MaxPageSize && total == int64(n) && limit >= client.MaxPageSize
}

// members counts those of an object.
func members(object []byte) (n int) {
	dec := json.NewDecoder(bytes.NewReader(object))
	dec.Token()
	for dec.More() {
		dec.Token()
		dec.Decode(new(json.RawMessage))
		n++
	}
	return n
}

// distinct counts the ids, if all items have a plain one.
func distinct(items []json.RawMessage) int {
	const long = 256
	ids := map[string]bool{}
	for _, raw := range items {
		var item map[string]json.RawMessage
		var id string
		if json.Unmarshal(raw, &item) != nil || item["id"] == nil || json.Unmarshal(item["id"], &id) != nil || id == "" || len(id) > long || members(raw) != len(item) {
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

// answerOf is an answer with the body, and with more of a header.
func answerOf(body string, header ...string) string {
	return "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n" + strings.Join(append(header, ""), "\r\n") +
		fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(body), body)
}

// seed is an answer of which is known what it is.
type seed struct {
	raw    string
	how    byte
	up     bool
	tokens int
}

func seeds(f *testing.F) (all []seed) {
	f.Helper()
	text, err := json.Marshal(map[string]any{"data": controlplanetest.Tokens(3), "pagination": map[string]int{"total": 3, "offset": 0, "limit": 1000}})
	if err != nil {
		f.Fatal(err)
	}
	page := string(text)
	var zipped bytes.Buffer
	zip := gzip.NewWriter(&zipped)
	zip.Write(text)
	zip.Close()
	chunked := fmt.Sprintf("%x\r\n%s\r\n%x;a=b\r\n%s\r\n0\r\n\r\n", 10, page[:10], len(page)-10, page[10:])
	const ok, chunks = "HTTP/1.1 200 OK\r\n", "Transfer-Encoding: chunked\r\n"
	fine := answerOf(page)
	for _, raw := range []string{
		fine,
		"HTTP/1.0 200 \r\n\r\n" + page,
		ok + chunks + "\r\n" + chunked,
		ok + chunks + "Trailer: X-A\r\n\r\n" + strings.TrimSuffix(chunked, "\r\n") + "X-A: b\r\n\r\n",
		answerOf(zipped.String(), "Content-Encoding: gzip"),
		answerOf(zipped.String(), "Content-Encoding: X-Gzip"),
		answerOf("\ufeff" + page),
		strings.Replace(fine, "200 OK", "203 Non-Authoritative Information", 1),
		answerOf(page, "Connection: close", "Content-Encoding: Identity"),
		"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + fine,
		answerOf(page, "X-Long: "+strings.Repeat("a", 100_000)),
		answerOf(page, strings.Split(strings.Repeat("Set-Cookie: a=b\n", 1000), "\n")[:1000]...),
		answerOf(" \n" + strings.Replace(page, `"total":3`, `"total":1000000000000`, 1) + "\t"),
		answerOf(strings.Replace(page, `"total":3`, `"total":-1`, 1)),
		answerOf(strings.Replace(page, `"total":3`, `"total":"many"`, 1)),
		answerOf(`{"meta":` + strings.Repeat("[", 9000) + strings.Repeat("]", 9000) + "," + page[1:]),
		answerOf(`{"data":[{"id":"a"},{"id":"b"},{"id":"c","name":"\u0000\ud800\"\\\n","expiry":5,"jwts":7},{"id":"a"}]}`),
	} {
		all = append(all, seed{raw, 0, true, 3}, seed{raw, 2, true, 3})
		if !strings.HasPrefix(raw, "HTTP/1.0") {
			all = append(all, seed{raw, 1 + holds, true, 3})
		}
	}
	for _, body := range []string{`{"data":[]}`, `{"data":null,"pagination":{"total":0}}`, `{"pagination":{},"data":[]}`} {
		all = append(all, seed{answerOf(body), 0, true, 0}, seed{answerOf(body), repeats + holds, true, 0})
	}
	var bad []string
	for status := 100; status < 600; status++ {
		if text := http.StatusText(status); text != "" && status != http.StatusOK && status != http.StatusNonAuthoritativeInfo {
			bad = append(bad, strings.Replace(fine, "200 OK", fmt.Sprint(status, " ", text), 1))
		}
	}
	for _, n := range []int{0, 1, 9, 17, 40, len(fine) - len(page), len(fine) - 1} {
		bad = append(bad, fine[:n])
	}
	bad = append(
		bad,
		ok+chunks+"\r\n"+strings.TrimSuffix(chunked, "0\r\n\r\n"), ok+chunks+"\r\n"+strings.Replace(chunked, "0\r\n", "-1\r\n", 1),
		ok+"Content-Length: 5\r\nContent-Length: 6\r\n\r\n"+page, ok+"Content-Length: -1\r\n\r\n"+page,
		answerOf(zipped.String()[:zipped.Len()-1], "Content-Encoding: gzip"), answerOf(zipped.String()+"x", "Content-Encoding: gzip"),
		answerOf(zipped.String()), answerOf(page, "Content-Encoding: br"), answerOf(page, "Content-Encoding: gzip"),
		answerOf(""), answerOf("null"), answerOf("[]"), answerOf("{}"), answerOf("<html>"), answerOf(page+page), answerOf(page[:len(page)-1]), answerOf("\ufeff"), answerOf("\ufeff\ufeff"+page),
		answerOf(`{"data":null}`), answerOf(`{"data":{}}`), answerOf(`{"Data":[]}`), answerOf(`{"data":[],}`), answerOf(strings.Repeat("[", 100_000)),
		strings.Replace(fine, "200 OK", "302 Found\r\nLocation: https://me:"+controlplanetest.Key+"@elsewhere.example/?"+controlplanetest.Key, 1),
		strings.Replace(answerOf(`{"message":"no `+controlplanetest.Key+`"}`), "200 OK", "401 No\r\nRetry-After: "+strings.Repeat("9", 50), 1),
		strings.Replace(answerOf(""), "200 OK", "503 No\r\nRetry-After: Fri, 31 Dec 9999 23:59:59 GMT", 1),
		strings.Replace(fine, "200 OK", "20000 OK", 1), "\x15\x03\x01\x00\x02\x02\x46", "HTTP/1.1 101 Switching Protocols\r\nUpgrade: a\r\n\r\n"+fine,
	)
	for _, raw := range bad {
		all = append(all, seed{raw, 0, false, -1}, seed{raw, 1 + holds, false, -1})
	}
	all = append(all, seed{"HTTP/1.1 200 OK\r\n\r\n" + page, holds, false, -1}, seed{fine, repeats, true, 3}, seed{fine, repeats + holds, true, 3})
	for _, pagination := range []string{`{"total":3,"limit":999}`, `{"total":4,"limit":1000}`, `{"limit":1000}`, `{"total":3}`, `{"total":3,"limit":"1000"}`} {
		all = append(all, seed{answerOf(`{"data":[{"id":"a"},{"id":"b"},{"id":"c"}],"pagination":` + pagination + "}"), repeats, false, 3})
	}
	return all
}

// fuzzOffset is the time to answer within the scraper's timeout.
const fuzzOffset = 200 * time.Millisecond

// FuzzResponse lets a control plane answer with any bytes, and compares what the
// exporter makes of them with another reading of them.
func FuzzResponse(f *testing.F) {
	for _, s := range seeds(f) {
		f.Add([]byte(s.raw), s.how)
		if got := readAnswer([]byte(s.raw), s.how); got.doubtful || got.up != s.up || got.tokens != s.tokens && s.up {
			f.Errorf("%.200q (%d) is read as %+v, which is not what it is: %t with %d tokens", s.raw, s.how, got, s.up, s.tokens)
		}
	}
	f.Fuzz(func(t *testing.T, raw []byte, how byte) {
		want := readAnswer(raw, how)
		// Only where the list is whole does it matter that a busy machine has time
		// enough. The others are too short for any retry.
		timeout := 2 * fuzzOffset
		switch {
		case want.doubtful:
			timeout = 2 * time.Second
		case want.up:
			timeout = time.Minute
		}
		families, logged := scrapeOf(t, raw, how, timeout)

		up := valueOf(families, "truefoundry_up") == 1
		if up != want.up && (up || !want.doubtful) {
			t.Errorf("up is %t, want %t", up, want.up)
		}
		if success := valueOf(families, "truefoundry_listing_success") == 1; success != up {
			t.Errorf("up is %t, and the listing's success %t", up, success)
		}
		if failed := valueOf(families, "truefoundry_listing_errors_total") == 1; failed == up || strings.Count(logged, "listing failed") == 1 == up {
			t.Errorf("up is %t, failed %t, and this is logged: %s", up, failed, logged)
		}
		tokens := len(families["truefoundry_token_info"].GetMetric())
		if listed := valueOf(families, "truefoundry_listing_tokens"); listed != float64(tokens) || up && !want.doubtful && want.tokens >= 0 && tokens != want.tokens {
			t.Errorf("%d tokens, of which %v are listed; want %d", tokens, listed, want.tokens)
		}
		for name := range families {
			if !up && (strings.HasPrefix(name, "truefoundry_token_") || strings.HasPrefix(name, "truefoundry_listing_tokens")) {
				t.Errorf("%s is shown of a listing that failed", name)
			}
		}
		metricstest.Absent(t, logged, controlplanetest.Key)
	})
}

// scrapeOf returns what the exporter shows and logs when a peer answers it, and
// checks that nothing of that is left.
func scrapeOf(t *testing.T, raw []byte, how byte, timeout time.Duration) (map[string]*dto.MetricFamily, string) {
	t.Helper()
	const patience = 30 * time.Second
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &peer{Listener: listener, raw: raw, how: how}
	var accepting sync.WaitGroup
	accepting.Go(p.serve)
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

	ctx, cancel := context.WithTimeout(t.Context(), timeout+patience)
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
		t.Errorf("%s, with the exposition: %v", resp.Status, err)
	}

	exporter.Close()
	set.Close()
	listener.Close()
	accepting.Wait()
	closed := make(chan struct{})
	go func() {
		p.conns.Wait()
		close(closed)
	}()
	select {
	case <-closed:
	case <-time.After(patience):
		t.Fatal("the exporter leaves a connection open")
	}
	return families, logged.String()
}

// valueOf is the sum of a family's values, 0 where there is none.
func valueOf(families map[string]*dto.MetricFamily, name string) (sum float64) {
	for _, metric := range families[name].GetMetric() {
		sum += metric.GetGauge().GetValue() + metric.GetCounter().GetValue()
	}
	return sum
}

// A path is refused, or the metrics are there and all else is where it was.
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
			answer := httptest.NewRecorder()
			handler.ServeHTTP(answer, httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil))
			if answer.Code != http.StatusOK || !strings.Contains(answer.Body.String(), want) {
				t.Errorf("with the metrics at %q, %q answers %d: %s", at, path, answer.Code, answer.Body)
			}
		}
		answer := httptest.NewRecorder()
		handler.ServeHTTP(answer, httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/-/reload", nil))
		if answer.Code != http.StatusForbidden {
			t.Errorf("with the metrics at %q, a reload answers %d", at, answer.Code)
		}
	})
}
