// Package faults provides faults of control planes, for tests.
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

// Clamp limits the page size.
func Clamp(limit int) controlplanetest.Fault {
	return rewriteQuery(func(name string, value int) int {
		if name == "limit" {
			return min(limit, value)
		}
		return value
	})
}

// Shrink limits the page size: to limit for the first request, and to fewer items for each
// further request, but at least to least.
func Shrink(limit, by, least int) controlplanetest.Fault {
	var requests atomic.Int64
	return rewriteQuery(func(name string, value int) int {
		if name == "limit" {
			return min(value, max(least, limit-by*int(requests.Add(1)-1)))
		}
		return value
	})
}

// IgnoreOffset responds with the first page to each request.
func IgnoreOffset() controlplanetest.Fault {
	return rewriteQuery(func(name string, value int) int {
		if name == "offset" {
			return 0
		}
		return value
	})
}

// rewriteQuery changes the numbers in the query of each request.
func rewriteQuery(change func(name string, value int) int) controlplanetest.Fault {
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

// Total changes the total of each page. If change returns nil, there is no total.
func Total(change func(total int) any) controlplanetest.Fault {
	return rewritePage(func(_ int, data []any, pagination map[string]any) []any {
		if total := change(int(pagination["total"].(float64))); total != nil {
			pagination["total"] = total
		} else {
			delete(pagination, "total")
		}
		return data
	})
}

// EmptyPage responds with an empty page at an offset.
func EmptyPage(offset int) controlplanetest.Fault {
	return rewritePage(func(at int, data []any, _ map[string]any) []any {
		if at == offset {
			return []any{}
		}
		return data
	})
}

// rewritePage changes the data and the pagination of each page.
func rewritePage(change func(offset int, data []any, pagination map[string]any) []any) controlplanetest.Fault {
	return rewrite(func(r *http.Request, resp *Response) {
		var page struct {
			Data       []any          `json:"data"`
			Pagination map[string]any `json:"pagination"`
		}
		if resp.Status != http.StatusOK || json.Unmarshal([]byte(resp.Body), &page) != nil {
			panic("not a page: " + resp.Body)
		}
		offset, _ := strconv.Atoi(r.URL.Query().Get("offset"))
		page.Data = change(offset, page.Data, page.Pagination)
		body, err := json.Marshal(page)
		if err != nil {
			panic(err)
		}
		resp.Body = string(body)
	})
}

// Response is a response that is about to be sent.
type Response struct {
	Status int
	Header http.Header
	Body   string
}

// Rewrite changes each response. The body is not compressed.
func Rewrite(change func(*Response)) controlplanetest.Fault {
	return rewrite(func(_ *http.Request, resp *Response) { change(resp) })
}

func rewrite(change func(*http.Request, *Response)) controlplanetest.Fault {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			plain := r.Clone(r.Context())
			plain.Header.Del("Accept-Encoding")
			recorder := httptest.NewRecorder()
			next.ServeHTTP(recorder, plain)
			resp := &Response{recorder.Code, recorder.Header(), recorder.Body.String()}
			change(r, resp)
			maps.Copy(w.Header(), resp.Header)
			w.WriteHeader(resp.Status)
			fmt.Fprint(w, resp.Body)
		})
	}
}

// First applies the fault to the first n requests.
func First(n int64, fault controlplanetest.Fault) controlplanetest.Fault {
	var requests atomic.Int64
	return when(func(*http.Request) bool { return requests.Add(1) <= n }, fault)
}

// At applies the fault to requests for an offset.
func At(offset int, fault controlplanetest.Fault) controlplanetest.Fault {
	return when(func(r *http.Request) bool { return r.URL.Query().Get("offset") == strconv.Itoa(offset) }, fault)
}

// Switchable is a fault that can be changed while the control plane is served.
type Switchable struct {
	fault atomic.Pointer[controlplanetest.Fault]
}

// Switch returns a Switchable without a fault.
func Switch() *Switchable { return new(Switchable) }

// Set sets the fault. nil is no fault.
func (s *Switchable) Set(fault controlplanetest.Fault) { s.fault.Store(&fault) }

// Wrap is a controlplanetest.Fault.
func (s *Switchable) Wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if fault := s.fault.Load(); fault != nil && *fault != nil {
			(*fault)(next).ServeHTTP(w, r)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// when applies the fault to some requests.
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

// Status responds with an error of the API. header has pairs of names and values.
func Status(code int, header ...string) controlplanetest.Fault {
	return Text(code, fmt.Sprintf(`{"statusCode":%d,"message":"out of order"}`, code), header...)
}

// ErrorPage responds with an error of a proxy: an HTML page with the status in its title.
// header has pairs of names and values.
func ErrorPage(code int, header ...string) controlplanetest.Fault {
	title := fmt.Sprint(code, " ", http.StatusText(code))
	return Text(code, "<html><head><title>"+title+"</title></head><body><h1>"+title+"</h1></body></html>", append(header, "Server", "proxy/1.0")...)
}

// Text responds with a status and a text. header has pairs of names and values.
func Text(code int, text string, header ...string) controlplanetest.Fault {
	return instead(func(w http.ResponseWriter, _ *http.Request) {
		for i := 0; i < len(header); i += 2 {
			w.Header().Add(header[i], header[i+1])
		}
		w.WriteHeader(code)
		fmt.Fprint(w, text)
	})
}

// Redirect redirects to the same path and query at another base URL.
func Redirect(code int, base string) controlplanetest.Fault {
	return instead(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Location", base+r.URL.RequestURI())
		w.WriteHeader(code)
	})
}

// Body responds with the status 200 and a text.
func Body(text string) controlplanetest.Fault { return Text(http.StatusOK, text) }

// Hang does not respond until the client disconnects.
func Hang() controlplanetest.Fault {
	return instead(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
}

// Drip responds with the status 200 and a text, one byte at a time.
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

// GzipBomb responds with a page that has a huge unknown member. It is compressed to a
// thousandth. The member is a list of strings, because a decoder with the race detector is slow
// with a single large value.
func GzipBomb(mebibytes int) controlplanetest.Fault {
	text := `"` + strings.Repeat("a", 1021) + `",`
	block := Gzip(strings.Repeat(text, 1<<20/len(text)))
	return instead(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		fmt.Fprint(w, Gzip(`{"meta":[`))
		for range mebibytes {
			if _, err := fmt.Fprint(w, block); err != nil {
				return
			}
		}
		fmt.Fprint(w, Gzip(`""],"data":[]}`))
	})
}

// Gzip returns the compressed text.
func Gzip(text string) string {
	var compressed bytes.Buffer
	w := gzip.NewWriter(&compressed)
	fmt.Fprint(w, text)
	w.Close()
	return compressed.String()
}

// Reset resets the connection instead of responding.
func Reset() controlplanetest.Fault { return ResetAfter("") }

// ResetAfter writes a text to the connection instead of a response, and then resets it. The
// client may not receive the end of a long text.
func ResetAfter(text string) controlplanetest.Fault {
	return onConnection(func(conn net.Conn) {
		fmt.Fprint(conn, text)
		// Connections in memory can only be closed.
		if tcp, ok := conn.(interface{ SetLinger(seconds int) error }); ok {
			tcp.SetLinger(0)
		}
	})
}

// CloseAfter writes a text to the connection instead of a response, and then closes it.
func CloseAfter(text string) controlplanetest.Fault {
	return onConnection(func(conn net.Conn) { fmt.Fprint(conn, text) })
}

// Endless writes a text to the connection instead of a response, and then repeats another
// one until the client disconnects.
func Endless(text, repeated string) controlplanetest.Fault {
	block := []byte(strings.Repeat(repeated, 1+(64<<10)/len(repeated)))
	return onConnection(func(conn net.Conn) {
		_, err := fmt.Fprint(conn, text)
		for err == nil {
			_, err = conn.Write(block)
		}
	})
}

// onConnection calls a function with the connection instead of responding, and then closes
// the connection.
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

// Hold closes begun when the request arrives, and responds when finish is closed. It is for
// a single request.
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

// instead calls a handler instead of the control plane.
func instead(respond http.HandlerFunc) controlplanetest.Fault {
	return func(http.Handler) http.Handler { return respond }
}

// Pagination changes the pagination of each page. length is the number of items of the page.
func Pagination(change func(length int, pagination map[string]any)) controlplanetest.Fault {
	return rewritePage(func(_ int, data []any, pagination map[string]any) []any {
		change(len(data), pagination)
		return data
	})
}
