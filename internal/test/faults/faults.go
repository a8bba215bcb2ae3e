// Package faults puts faults around a control plane, for tests.
package faults

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/truefoundry-community/truefoundry_exporter/internal/test/controlplanetest"
)

// Clamp grants at most limit items at a time, whatever was asked for.
func Clamp(limit int) controlplanetest.Fault {
	return query(func(name string, value int) int {
		if name == "limit" {
			return min(limit, value)
		}
		return value
	})
}

// Shrink grants at most limit items at first, and fewer with each request, down
// to least.
func Shrink(limit, by, least int) controlplanetest.Fault {
	var seen atomic.Int64
	return query(func(name string, value int) int {
		if name == "limit" {
			return min(value, max(least, limit-by*int(seen.Add(1)-1)))
		}
		return value
	})
}

// IgnoreOffset answers each request with the first page.
func IgnoreOffset() controlplanetest.Fault {
	return query(func(name string, value int) int {
		if name == "offset" {
			return 0
		}
		return value
	})
}

func query(change func(name string, value int) int) controlplanetest.Fault {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			changed := r.Clone(r.Context())
			values := changed.URL.Query()
			for name := range values {
				if value, err := strconv.Atoi(values.Get(name)); err == nil {
					values.Set(name, strconv.Itoa(change(name, value)))
				}
			}
			changed.URL.RawQuery = values.Encode()
			next.ServeHTTP(w, changed)
		})
	}
}

// Total tells another total than the true one; nil tells none.
func Total(change func(total int) any) controlplanetest.Fault {
	return page(func(_ int, data []any, pagination map[string]any) []any {
		if total := change(int(pagination["total"].(float64))); total != nil {
			pagination["total"] = total
		} else {
			delete(pagination, "total")
		}
		return data
	})
}

// EmptyPage answers the request for the offset with an empty page.
func EmptyPage(offset int) controlplanetest.Fault {
	return page(func(at int, data []any, _ map[string]any) []any {
		if at == offset {
			return []any{}
		}
		return data
	})
}

func page(change func(offset int, data []any, pagination map[string]any) []any) controlplanetest.Fault {
	return rewrite(func(r *http.Request, answer *Answer) {
		var page struct {
			Data       []any          `json:"data"`
			Pagination map[string]any `json:"pagination"`
		}
		if answer.Status != http.StatusOK || json.Unmarshal([]byte(answer.Body), &page) != nil {
			panic("a fault in pages needs a page: " + answer.Body)
		}
		offset, _ := strconv.Atoi(r.URL.Query().Get("offset"))
		page.Data = change(offset, page.Data, page.Pagination)
		body, err := json.Marshal(page)
		if err != nil {
			panic(err)
		}
		answer.Body = string(body)
	})
}

// Answer is an answer that is about to be sent.
type Answer struct {
	Status int
	Header http.Header
	Body   string
}

// Rewrite changes each answer, whose body is not compressed.
func Rewrite(change func(*Answer)) controlplanetest.Fault {
	return rewrite(func(_ *http.Request, answer *Answer) { change(answer) })
}

func rewrite(change func(*http.Request, *Answer)) controlplanetest.Fault {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			plain := r.Clone(r.Context())
			plain.Header.Del("Accept-Encoding")
			recorded := httptest.NewRecorder()
			next.ServeHTTP(recorded, plain)
			answer := &Answer{recorded.Code, recorded.Header(), recorded.Body.String()}
			change(r, answer)
			maps.Copy(w.Header(), answer.Header)
			w.WriteHeader(answer.Status)
			fmt.Fprint(w, answer.Body)
		})
	}
}

// First lets the fault answer the first n requests.
func First(n int64, fault controlplanetest.Fault) controlplanetest.Fault {
	var seen atomic.Int64
	return when(func(*http.Request) bool { return seen.Add(1) <= n }, fault)
}

// At lets the fault answer the requests for the offset.
func At(offset int, fault controlplanetest.Fault) controlplanetest.Fault {
	return when(func(r *http.Request) bool { return r.URL.Query().Get("offset") == strconv.Itoa(offset) }, fault)
}

// Switchable is a fault that changes while the control plane serves.
type Switchable struct {
	fault atomic.Pointer[controlplanetest.Fault]
}

// Switch returns a Switchable that is no fault yet.
func Switch() *Switchable { return new(Switchable) }

// Set makes it this fault; nil is none.
func (s *Switchable) Set(fault controlplanetest.Fault) { s.fault.Store(&fault) }

// Wrap puts it around a handler.
func (s *Switchable) Wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if fault := s.fault.Load(); fault != nil && *fault != nil {
			(*fault)(next).ServeHTTP(w, r)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func when(applies func(*http.Request) bool, fault controlplanetest.Fault) controlplanetest.Fault {
	return func(next http.Handler) http.Handler {
		faulty := fault(next)
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if applies(r) {
				faulty.ServeHTTP(w, r)
				return
			}
			next.ServeHTTP(w, r)
		})
	}
}

// Status answers with an error as the API does. header is of names and values.
func Status(code int, header ...string) controlplanetest.Fault {
	return Text(code, fmt.Sprintf(`{"statusCode":%d,"message":"out of order"}`, code), header...)
}

// Page answers with an error as a proxy does: in HTML, with a title that names the
// status. header is of names and values.
func Page(code int, header ...string) controlplanetest.Fault {
	title := fmt.Sprint(code, " ", http.StatusText(code))
	return Text(code, "<html><head><title>"+title+"</title></head><body><h1>"+title+"</h1></body></html>", append(header, "Server", "proxy/1.0")...)
}

// Text answers with a status and the text. header is of names and values.
func Text(code int, text string, header ...string) controlplanetest.Fault {
	return instead(func(w http.ResponseWriter, _ *http.Request) {
		for i := 0; i < len(header); i += 2 {
			w.Header().Add(header[i], header[i+1])
		}
		w.WriteHeader(code)
		fmt.Fprint(w, text)
	})
}

// Redirect leads to the same path of another server, whose URL begins with base.
func Redirect(code int, base string) controlplanetest.Fault {
	return instead(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Location", base+r.URL.RequestURI())
		w.WriteHeader(code)
	})
}

// Body answers 200 with the text.
func Body(text string) controlplanetest.Fault { return Text(http.StatusOK, text) }

// Hang does not answer until the client goes away.
func Hang() controlplanetest.Fault {
	return instead(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
}

// Drip answers 200 with the text, a byte at a time.
func Drip(text string, every time.Duration) controlplanetest.Fault {
	return instead(func(w http.ResponseWriter, r *http.Request) {
		ticker := time.NewTicker(every)
		defer ticker.Stop()
		for i := range len(text) {
			fmt.Fprint(w, text[i:i+1])
			http.NewResponseController(w).Flush()
			select {
			case <-ticker.C:
			case <-r.Context().Done():
				return
			}
		}
	})
}

// GzipBomb answers 200 with a list of blanks, packed to a thousandth.
func GzipBomb(mebibytes int) controlplanetest.Fault {
	blanks := Zipped(strings.Repeat(" ", 1<<20))
	return instead(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		fmt.Fprint(w, Zipped(`{"data":[`))
		for range mebibytes {
			if _, err := fmt.Fprint(w, blanks); err != nil {
				return
			}
		}
		fmt.Fprint(w, Zipped(`]}`))
	})
}

// Zipped is text as gzip packs it.
func Zipped(text string) string {
	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	fmt.Fprint(w, text)
	w.Close()
	return packed.String()
}

// Reset resets the connection instead of answering.
func Reset() controlplanetest.Fault { return ResetAfter("") }

// ResetAfter writes the text to the connection instead of an answer, and resets
// it. That may overtake the end of a long text.
func ResetAfter(text string) controlplanetest.Fault {
	return onConnection(func(conn net.Conn) {
		fmt.Fprint(conn, text)
		// What is in memory cannot be reset.
		if tcp, ok := conn.(interface{ SetLinger(seconds int) error }); ok {
			tcp.SetLinger(0)
		}
	})
}

// CloseAfter writes the text to the connection instead of an answer, and closes
// it.
func CloseAfter(text string) controlplanetest.Fault {
	return onConnection(func(conn net.Conn) { fmt.Fprint(conn, text) })
}

// Endless writes the text to the connection instead of an answer, and then the
// other one until the client goes away.
func Endless(text, forEver string) controlplanetest.Fault {
	block := []byte(strings.Repeat(forEver, 1+(64<<10)/len(forEver)))
	return onConnection(func(conn net.Conn) {
		_, err := fmt.Fprint(conn, text)
		for err == nil {
			_, err = conn.Write(block)
		}
	})
}

// onConnection does it instead of an answer, and closes the connection.
func onConnection(do func(net.Conn)) controlplanetest.Fault {
	return instead(func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			panic(err)
		}
		do(conn)
		conn.Close()
	})
}

// Hold closes begun when it is asked, which may be once, and lets the request go
// on when finish is closed.
func Hold(begun chan<- struct{}, finish <-chan struct{}) controlplanetest.Fault {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			close(begun)
			select {
			case <-finish:
				next.ServeHTTP(w, r)
			case <-r.Context().Done():
			}
		})
	}
}

func instead(answer http.HandlerFunc) controlplanetest.Fault {
	return func(http.Handler) http.Handler { return answer }
}

// Pagination changes what a page of so many items says about the list.
func Pagination(change func(length int, pagination map[string]any)) controlplanetest.Fault {
	return page(func(_ int, data []any, pagination map[string]any) []any {
		change(len(data), pagination)
		return data
	})
}
