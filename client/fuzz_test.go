package client

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"math"
	"math/big"
	"net/http"
	"path"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"
	"unicode"
	"unicode/utf8"
)

func FuzzParseTime(f *testing.F) {
	for _, seed := range []string{
		"", "T", "Z", "2025-08-01", "2025-08-01T", "2025-08-01T12:00", "2025-08-01T12:00:30", "2025-08-01T12:00Z",
		"2025-08-01T12:00+05:30", "2025-08-01T12:00:30.123456789Z", "2025-08-01T12:00:30,5-03:00", "2025-08-01T1:00:00Z",
		"2024-02-29", "2025-02-29", "2000-01-01T00:59:59+01:00", "9999-12-31T23:59:59.999999999Z", "9999-12-31T23:59:59-00:01",
		"1970-01-01T00:00:00Z", "0001-01-01T00:00:00Z", "2025-06-30T23:59:60Z", "2025-08-01T24:00:00Z", "2025-08-01t12:00:00z",
		"2025-08-01 12:00:00", "20250801T120000Z", "2025-W31-5", "2025-213", "1754049600", "Fri, 01 Aug 2025 12:00:00 GMT",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got, dateOnly, ok := parseTime(text)
		if !ok {
			if !got.IsZero() || dateOnly {
				t.Errorf("%q is invalid, but returned %v (%t)", text, got, dateOnly)
			}
			if want, err := time.Parse(time.RFC3339, text); err == nil && !want.Before(earliest) && !want.After(latest) {
				t.Errorf("%q is RFC 3339, but was rejected", text)
			}
			return
		}
		if got.Before(earliest) || got.After(latest) || got.Location() != time.UTC {
			t.Errorf("%q is %v, which is out of range or not UTC", text, got)
		}
		if want, err := time.Parse(time.RFC3339, text); err == nil && (!got.Equal(want) || dateOnly) {
			t.Errorf("%q is %v (%t), want %v", text, got, dateOnly, want)
		}
		if dateOnly != (len(text) == len(time.DateOnly)) || dateOnly && got.Format(time.DateOnly) != text {
			t.Errorf("%q is %v (%t)", text, got, dateOnly)
		}
		again, dateOnly, ok := parseTime(got.Format(time.RFC3339Nano))
		if !ok || dateOnly || !again.Equal(got) {
			t.Errorf("%q is %v, which is parsed as %v (%t, %t)", text, got, again, dateOnly, ok)
		}
	})
}

func FuzzKeyExpiry(f *testing.F) {
	for _, seed := range []string{
		"", "..", "tfy_va_ci_5ecret", "e30.e30.e30", `{"exp":1790000000}`, `{"exp":1790000000.5}`, `{"exp":1.79e9}`,
		`{"exp":"1790000000"}`, `{"exp":null}`, `{"exp":-1}`, `{"exp":1e300}`, `{"exp":946684799}`, `{"exp":253402300800}`,
		`{"exp":[1790000000]}`, `{"exp":1790000000,"exp":1}`, `{"EXP":1790000000}`, `[]`, `null`, "\xff",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		check := func(secret string) time.Time {
			got := jwtExpiry(secret)
			if !got.IsZero() && (got.Before(earliest) || got.After(latest) || got.Location() != time.UTC) {
				t.Errorf("%q expires at %v, which is out of range or not UTC", secret, got)
			}
			return got
		}
		check(text)
		got := check("e30." + base64.RawURLEncoding.EncodeToString([]byte(text)) + ".c2ln")
		if !json.Valid([]byte(text)) && !got.IsZero() {
			t.Errorf("%q is not JSON, but expires at %v", text, got)
		}
		var claims struct {
			Exp *int64 `json:"exp"`
		}
		if json.Unmarshal([]byte(text), &claims) != nil || claims.Exp == nil {
			return // not an integer
		}
		want := time.Unix(*claims.Exp, 0)
		if inRange := !want.Before(earliest) && !want.After(latest); got.IsZero() == inRange || inRange && !got.Equal(want) {
			t.Errorf("%q expires at %v, want %v", text, got, want)
		}
	})
}

// checkItem compares a decoded item with the result of encoding/json.
func checkItem(t *testing.T, raw []byte) {
	t.Helper()
	var value any
	if err := json.Unmarshal(raw, &value); err != nil {
		t.Fatal(err)
	}
	at := func(field Field) any { return lookup(value, strings.Split(string(field), ".")) }
	text := func(field Field) string { s, _ := at(field).(string); return s }
	parsed := func(v any) time.Time {
		s, _ := v.(string)
		at, _, _ := parseTime(s)
		return at
	}
	d := newDecoder(bytes.NewReader(raw))
	var it item
	decodeItem(d, &it)
	got := []string{
		it.ID, it.Name, it.Type, it.TenantName, it.CreatedBy, it.CreatedBySubject.ID, it.CreatedBySubject.Type,
		it.CreatedBySubject.Slug, it.CreatedBySubject.DisplayName, it.CreatedBySubject.ExternalIdentitySlug, it.CreatedBySubject.ControllerName,
		it.JWTID, it.Manifest.Name, it.Manifest.TokenType, it.Manifest.OwnedBy.Team,
	}
	want := []string{
		text("id"), text("name"), text("type"), text("tenantName"), text("createdBy"), text("createdBySubject.subjectId"), text("createdBySubject.subjectType"),
		text("createdBySubject.subjectSlug"), text("createdBySubject.subjectDisplayName"), text("createdBySubject.subjectExternalIdentitySlug"), text("createdBySubject.subjectControllerName"),
		text("jwtId"), text("manifest.name"), text("manifest.token_type"), text("manifest.ownedBy.team"),
	}
	gotTimes := []time.Time{it.CreatedAt.Time, it.LastAccessedAt.Time, it.NextScheduledRotation.Time, it.Manifest.ExpirationDate.Time}
	wantTimes := []time.Time{
		parsed(text("createdAt")), parsed(text("lastAccessedAt")), parsed(text("nextScheduledRotation")), parsed(text("manifest.expiration_date")),
	}
	jwts, _ := at(FieldJWTs).([]any)
	if want := min(len(jwts), maxJWTs); want != len(it.JWTs) {
		t.Fatalf("%s has %d JWTs, want %d", raw, len(it.JWTs), want)
	}
	for i, j := range it.JWTs {
		member := func(name string) any { return lookup(jwts[i], []string{name}) }
		id, _ := member("id").(string)
		tokenType, _ := member("tokenType").(string)
		got, want = append(got, j.ID, j.TokenType), append(want, id, tokenType)
		gotTimes, wantTimes = append(gotTimes, j.Expiry.Time, j.CreatedAt.Time), append(wantTimes, parsed(member("expiry")), parsed(member("createdAt")))
	}
	if !slices.Equal(got, want) || !slices.EqualFunc(gotTimes, wantTimes, time.Time.Equal) {
		t.Errorf("%s has\n%q %v, want\n%q %v", raw, got, gotTimes, want, wantTimes)
	}
	if expired, ok := at("isExpired").(bool); ok != (it.IsExpired != nil) || ok && *it.IsExpired != expired {
		t.Errorf("%s: isExpired is %v", raw, it.IsExpired)
	}
}

// lookup returns the value at a path of names, or nil if there is none.
func lookup(v any, names []string) any {
	for _, name := range names {
		members, _ := v.(map[string]any)
		v = members[name]
	}
	return v
}

func FuzzDecodePage(f *testing.F) {
	for _, seed := range []string{
		``, `{}`, `null`, `[]`, `<html>`, `{"data":[]}`, `{"data":null,"pagination":{"total":0}}`, `{"data":null}`,
		`{"data":{},"pagination":[]}`, `{"data":[{"id":"a"}],"pagination":{"total":1,"offset":0,"limit":1000}}`,
		`{"data":[null,5,"x",[],{},{"id":5},{"id":""},{"id":"a","name":5},{"id":"b"}]}`,
		`{"data":[{"id":"a","isExpired":"no","jwts":[{"id":"j","expiry":5},7,null],"manifest":{"auto_rotate":{"grace_period":-1}}} , {"id":"b","type":{}}]}`,
		`{"data":[{"id":"a","jwtId":"j2","jwts":[{"id":"j1","expiry":"2025-07-01T00:00:00Z","createdAt":"2025-01-02T03:04:05Z"},{"id":"j2","expiry":null,"createdAt":"2025-06-01","tokenType":"opaque"}],"nextScheduledRotation":"2026-05-02"}]}`,
		`{"data":[{"id":"a","name":"\ud83d\u0000","createdBySubject":{"subjectId":"u","subjectType":"user","subjectSlug":"a@b","subjectDisplayName":"A","subjectExternalIdentitySlug":"x@b","subjectControllerName":"c"},"createdBy":"u","manifest":{"name":"m","ownedBy":{"team":"t"},"expiration_date":"2025-08-01T12:00","token_type":"jwt"}}]}`,
		`{"data":[{"id":"a","createdAt":"","lastAccessedAt":"","jwts":[{"expiry":"","createdAt":""}],"nextScheduledRotation":"","manifest":{"expiration_date":""}}]}`,
		`{"data":[{"id":"` + strings.Repeat("🔑", 100) + `","tenantName":"` + strings.Repeat("é", 200) + `"}]}`,
		"{\"data\":[{\"id\":\"\xff\xfe\"}]} \n", `{"data":[{"id":"a"}],"data":[{"id":"b","name":1}]}`, `{"data":[{"id":"a"`, `{"data":[]}x`,
		`{"data":[{"id":"a","name":1,"type":1,"tenantName":1,"createdBy":1,"createdBySubject":{"subjectId":1,"subjectType":1,"subjectSlug":1,"subjectDisplayName":1,"subjectExternalIdentitySlug":1,"subjectControllerName":1},"createdAt":1,"lastAccessedAt":1,"isExpired":1,"jwtId":1,"jwts":[1,{"id":1,"expiry":1,"createdAt":1,"tokenType":1}],"nextScheduledRotation":1,"manifest":{"name":1,"token_type":1,"expiration_date":1,"auto_rotate":{"auto_rotate_interval":"1","grace_period":"1"},"ownedBy":{"team":1}}}]}`,
		`{"data":[{"id":"a","createdBySubject":1,"jwts":1,"manifest":1},{"id":"b","manifest":{"auto_rotate":1,"ownedBy":1}}]}`,
		`{"data":[],"pagination":{"total":-1}}`, `{"meta":{"data":[1,{"a":[]}]},"data":[{"ID":"a"}]}`, `{"data":[` + strings.Repeat(`[`, 20_000),
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		const offset = 3000
		p, err := decodePage(bytes.NewReader(body), offset, DefaultMaxTokens)
		slow, slowErr := decodePage(iotest.OneByteReader(bytes.NewReader(body)), offset, DefaultMaxTokens)
		if (err == nil) != (slowErr == nil) || !reflect.DeepEqual(p, slow) {
			t.Errorf("%q is %+v, %v; byte by byte %+v, %v", body, p, err, slow, slowErr)
		}
		if err != nil {
			return
		}
		if !json.Valid(body) {
			t.Errorf("%q is not JSON, but was decoded", body)
		}
		for _, token := range p.tokens {
			for i, text := range []string{
				token.ID, token.Name, token.Tenant, token.Team, token.Type, token.Creator.ID, token.Creator.Type,
				token.Creator.Name,
			} {
				if len(text) > maxText || !utf8.ValidString(text) || i < 2 && text == "" {
					t.Errorf("%q has the text %q", body, text)
				}
			}
		}
		for _, u := range p.Examples {
			switch {
			case u.Field == FieldTotal || u.Field == FieldLimit:
				if u.ID != "" || u.Offset != -1 {
					t.Errorf("%q: a pagination value is %+v", body, u)
				}
				continue
			case u.Field == "":
			case u.ID == "" || !slices.Contains(Fields(), u.Field):
				t.Errorf("%q: %+v has no ID or no known field", body, u)
			}
			if u.Offset < offset || u.Offset >= offset+p.length {
				t.Errorf("%q: %+v is outside of the %d items", body, u, p.length)
			}
		}
		if p.InvalidItems+len(p.tokens) != p.length {
			t.Errorf("%q has %d items, but %d tokens and %d invalid items", body, p.length, len(p.tokens), p.InvalidItems)
		}
		if p.total < -1 {
			t.Errorf("%q has a total of %d", body, p.total)
		}
		var page map[string]json.RawMessage // a struct would ignore the case of names
		var items []json.RawMessage
		if json.Unmarshal(body, &page) == nil && json.Unmarshal(page["data"], &items) == nil {
			for _, raw := range items {
				checkItem(t, raw)
			}
		}
	})
}

func FuzzRetryAfter(f *testing.F) {
	now := time.Date(2026, 1, 20, 12, 0, 0, 0, time.UTC)
	for _, seed := range []string{
		"", "0", "1", "007", "3600", "2147483647", "2147483648", strings.Repeat("9", 30), "-1", "+1", "1.5", "1e3", " 1", "1 ", "0x10", "1_0", "soon",
		"Tue, 20 Jan 2026 12:00:30 GMT", "Tuesday, 20-Jan-26 13:00:00 GMT", "Tue Jan 20 12:00:01 2026", "Tue, 20 Jan 2026 11:59:59 GMT",
		"Tue, 20 Jan 2026 12:00:30 CET", "Fri, 31 Dec 9999 23:59:59 GMT", "Mon, 01 Jan 0000 00:00:00 GMT", "2026-01-20T12:00:30Z",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, header string) {
		want := time.Duration(0)
		if seconds, ok := new(big.Int).SetString(header, 10); ok && !strings.ContainsFunc(header, func(r rune) bool { return r < '0' || r > '9' }) {
			want = math.MaxInt32 * time.Second
			if seconds.Cmp(big.NewInt(math.MaxInt32)) < 0 {
				want = time.Duration(seconds.Int64()) * time.Second
			}
		} else if at, err := http.ParseTime(header); err == nil && at.After(now) {
			want = at.Sub(now)
		}
		if got := parseRetryAfter(header, now); got != want {
			t.Errorf("%q is %v, want %v", header, got, want)
		}
	})
}

// canary is part of secrets that must not appear in errors.
const canary = "s3cret"

// recorder is a transport that records the request. It returns resp, or an error if resp is
// nil.
type recorder struct {
	resp *http.Response
	sent bytes.Buffer
}

// RoundTrip implements http.RoundTripper.
func (r *recorder) RoundTrip(req *http.Request) (*http.Response, error) {
	if err := req.Write(&r.sent); err != nil {
		return nil, err
	}
	if r.resp == nil {
		return nil, io.ErrUnexpectedEOF
	}
	r.resp.Request = req
	return r.resp, nil
}

// getPage requests a page of virtual accounts.
func getPage(t *testing.T, c *Client) error {
	t.Helper()
	credential, err := c.Credential(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	slot := c.cfg.Limiter.acquire(t.Context())
	defer slot.release()
	_, failure := c.get(t.Context(), pageRequest{credential: credential, kind: VirtualAccount, offset: 20, maxItems: 1000}, slot)
	if failure != nil {
		return failure
	}
	return nil
}

// Valid URLs, prefixes and keys result in a request for the list and nothing else.
func FuzzRequest(f *testing.F) {
	for _, text := range []string{
		"https://acme.truefoundry.cloud", "http://localhost:3000/", "https://example.com/a/b//", "http://[::1]:80/%2F%2e%2e/x", "http://[fe80::1%25en0]/",
		"https://b\u00fccher.example/\u00fc", "HTTPS://Example.COM", "http://h/..", "http://h/a/../..", "http://h:0", "http://h:99999", "http://h:", "//h", "h:80",
		"https://me:s3cret@h", "https://h/?s3cret", "https://h/#s3cret", "https://s3cret\x7f", "https://h/?", "https://h/a b", "https://h/;a=b", "http://h\r\nX: y",
		"http://%68", "http://h%00", "http://[::1", "ftp://h", "http:h", "http:///h", "",
	} {
		f.Add(text, "/api/svc", "tfy_va_ci_s3cret")
	}
	for _, prefix := range []string{"", "/", "/api/svc/", "api", "/a b", "/a?b", "/a#b", "/%2e%2e", "/../x", "/a/./b", "//a", "/a//", "/\u00fc", `/\..`, "/a\r\nX: y", "/s3cret%"} {
		f.Add("https://h/a", prefix, "e30.e30.c2ln")
	}
	for _, key := range []string{"", " ", "a b", "a\r\nX-S: s3cret", `"s3cret"`, "TFY_API_KEY=s3cret", "{s3cret}", "<s3cret>", "Bearer s3cret", "\xff", "k\u00e9", "a=", "=", "\x7f", "~!"} {
		f.Add("https://h/a", "/api", key)
	}
	f.Fuzz(func(t *testing.T, address, prefix, secret string) {
		checkError := func(err error) {
			if strings.Contains(err.Error(), canary) || oneLine(err.Error()) != err.Error() {
				t.Errorf("the error is %q", err)
			}
		}
		u, err := ParseURL(address)
		if err != nil {
			checkError(err)
			return
		}
		prefix, err = ParseAPIPrefix(prefix)
		if err != nil {
			checkError(err)
			prefix = DefaultAPIPrefix
		}
		if err := CheckKey(secret); err != nil {
			checkError(err)
			secret = "a"
		}
		transport := new(recorder)
		c, err := New(Config{URL: u, APIPrefix: prefix, PageSize: 10, Credentials: StaticKey(secret, "test"), Transport: transport, UserAgent: "test"})
		if err != nil {
			t.Fatal(err)
		}
		if err := getPage(t, c); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Fatalf("no request can be sent to %q: %v", u, err)
		}
		sent := bufio.NewReader(&transport.sent)
		req, err := http.ReadRequest(sent)
		if err != nil {
			t.Fatalf("the request to %q with %q is invalid: %v", u, secret, err)
		}
		if more, _ := io.ReadAll(sent); len(more) > 0 || req.ContentLength != 0 {
			t.Errorf("there is more than one request: %q", more)
		}
		list := strings.TrimSuffix(prefix, "/") + "/v1/virtual-accounts"
		if req.Method != http.MethodGet || req.URL.RawQuery != "limit=10&offset=20" || !strings.HasSuffix(req.URL.Path, list) || !strings.HasSuffix(path.Clean(req.URL.Path), list) {
			t.Errorf("the request is %s %s, below %q", req.Method, req.RequestURI, prefix)
		}
		want := http.Header{
			"Authorization": {"Bearer " + secret}, "Accept": {"application/json"}, "Accept-Encoding": {"gzip"}, "User-Agent": {"test"},
		}
		// A host that is not ASCII may have no ASCII form.
		if !reflect.DeepEqual(req.Header, want) || req.Host == "" && !strings.ContainsFunc(u.Host, func(r rune) bool { return r >= utf8.RuneSelf }) {
			t.Errorf("the request is for the host %q, with the header %q", req.Host, req.Header)
		}
	})
}

// For any response, the error is a printable line without the key, and only its Detail
// contains text of the response.
func FuzzResponse(f *testing.F) {
	const key = "tfy_va_ci_5ecret"
	for status := 100; status < 600; status++ {
		if http.StatusText(status) != "" {
			f.Add(status, "application/json", "", "https://elsewhere.example/a", `{"statusCode":400,"message":"out of order"}`)
		}
	}
	for _, location := range []string{
		"", "/other", "//h", "https://control-plane/x", "https://control-plane:444", "https://me:" + key + "@h", "https://" + key + ".example", "https://h/" + key,
		"mailto:a", "http://[::1", "https://h\u2028x", "https://\xff", "javascript:alert(1)", "https://" + canary + ".example/",
	} {
		f.Add(302, "", "", location, "")
	}
	for _, body := range []string{
		`{"message":"no ` + key + `"}`, `{"message":"a\nlevel=error\u0000\u202e\u001b[31m"}`, `{"message":5}`, `{"message":"` + strings.Repeat("\u00e9", 1000) + `"}`,
		`{"message":"` + strings.Repeat("x", 390) + key + `"}`, `{"MESSAGE":"a"}`, `[]`, "\xff", `{"` + key + `":}`, `{"data":{}}`, `{"data":[{"id":"a"}]}`,
		`<html><title>` + canary + key + `</title>`, `{"message":"` + canary + `"}`,
	} {
		f.Add(403, "text/html", "", "", body)
		f.Add(200, "text/"+key, "", "", body)
		f.Add(200, canary, key, "", body)
		f.Add(500, "", canary, "", body)
	}
	f.Fuzz(func(t *testing.T, status int, contentType, encoding, location, body string) {
		u, err := ParseURL("https://control-plane/")
		if err != nil {
			t.Fatal(err)
		}
		transport := &recorder{resp: &http.Response{
			StatusCode: status, Body: io.NopCloser(strings.NewReader(body)), ContentLength: -1,
			Header: http.Header{"Content-Type": {contentType}, "Content-Encoding": {encoding}, "Location": {location}, "Server": {contentType}, "Www-Authenticate": {location}},
		}}
		c, err := New(Config{URL: u, PageSize: 10, Credentials: StaticKey(key, "test"), Transport: transport})
		if err != nil {
			t.Fatal(err)
		}
		err = getPage(t, c)
		if err == nil {
			return
		}
		failure, ok := errors.AsType[*Error](err)
		if !ok {
			t.Fatalf("the error is %T", err)
		}
		if !slices.Contains(Reasons(), failure.Reason) || failure.Summary == "" || failure.Advice == "" || failure.Status != status {
			t.Errorf("the error is %#v", failure)
		}
		text := failure.Error()
		if utf8.RuneCountInString(failure.Detail) > maxDetail || !utf8.ValidString(text) || strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) {
			t.Errorf("the error is not a printable line: %q", text)
		}
		if strings.Contains(text, key) {
			t.Errorf("the error contains the key: %q", text)
		}
		if strings.Contains(failure.Summary+failure.Advice, canary) {
			t.Errorf("the error contains text of the response outside of its detail: %#v", failure)
		}
	})
}
