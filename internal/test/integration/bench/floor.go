package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	kgzip "github.com/klauspost/compress/gzip"
)

// floor is the lower bound for the cost of a scrape: it fetches the pages, scans them for
// the values in their known order, and writes the text. It validates and escapes nothing.
type floor struct {
	cfg       programConfig
	transport *http.Transport
	host      string
}

// pageBuffer holds the reusable memory for a page.
type pageBuffer struct {
	body       bytes.Buffer
	gzipReader gzip.Reader
}

var (
	pageBuffers = sync.Pool{New: func() any { return new(pageBuffer) }}
	// gzipWriters use the same package and level as the exporter.
	gzipWriters = sync.Pool{New: func() any {
		writer, err := kgzip.NewWriterLevel(nil, kgzip.BestSpeed)
		if err != nil {
			panic(err) // the level is valid
		}
		return writer
	}}
)

func newFloor(cfg programConfig) (http.Handler, error) {
	host, err := hostOf(cfg.URL)
	if err != nil {
		return nil, err
	}
	transport := &http.Transport{MaxIdleConnsPerHost: cfg.Concurrency}
	return &floor{cfg: cfg, transport: transport, host: host}, nil
}

// ServeHTTP implements http.Handler.
func (f *floor) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	pages, err := f.list(r.Context())
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	if !strings.Contains(r.Header.Get("Accept-Encoding"), encodingGzip) {
		_ = write(w, pages) // fails if the client has disconnected
		return
	}
	w.Header().Set("Content-Encoding", encodingGzip)
	writer, _ := gzipWriters.Get().(*kgzip.Writer)
	defer gzipWriters.Put(writer)
	writer.Reset(w)
	_ = errors.Join(write(writer, pages), writer.Close()) // as above
}

// list reads the first page, and then the others up to the total concurrently. The last
// one is partial or empty.
func (f *floor) list(ctx context.Context) ([][]token, error) {
	first, total, err := f.page(ctx, 0)
	if err != nil || len(first) < f.cfg.PageSize {
		return [][]token{first}, err
	}
	pages := make([][]token, total/f.cfg.PageSize+1)
	pages[0] = first
	indexes := make(chan int, len(pages))
	for i := 1; i < len(pages); i++ {
		indexes <- i
	}
	close(indexes)
	failures := make([]error, f.cfg.Concurrency)
	var wait sync.WaitGroup
	for worker := range failures {
		wait.Go(func() {
			for i := range indexes {
				var err error
				pages[i], _, err = f.page(ctx, i*f.cfg.PageSize)
				failures[worker] = errors.Join(failures[worker], err)
			}
		})
	}
	wait.Wait()
	return pages, errors.Join(failures...)
}

// page fetches and scans one page.
func (f *floor) page(ctx context.Context, offset int) (tokens []token, total int, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, f.cfg.page(offset), nil)
	if err != nil {
		return nil, 0, err
	}
	req.Header.Set("Authorization", "Bearer "+apiKey)
	req.Header.Set("Accept-Encoding", encodingGzip)
	resp, err := f.transport.RoundTrip(req)
	if err != nil {
		return nil, 0, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, 0, fmt.Errorf("the control plane responded with %s", resp.Status)
	}
	buffer, _ := pageBuffers.Get().(*pageBuffer)
	defer pageBuffers.Put(buffer)
	var body io.Reader = resp.Body
	if resp.Header.Get("Content-Encoding") == encodingGzip {
		if err := buffer.gzipReader.Reset(resp.Body); err != nil {
			return nil, 0, err
		}
		body = &buffer.gzipReader
	}
	buffer.body.Reset()
	if _, err := buffer.body.ReadFrom(body); err != nil {
		return nil, 0, err
	}
	tokens, total = f.scan(buffer.body.Bytes())
	return tokens, total, nil
}

// token holds the labels of a token, in the text format, and its values.
type token struct {
	labels, creatorType, tokenType []byte
	// creatorEnd is the position of creator_type in labels.
	creatorEnd int
	values     [len(series)]float64
}

// scan decodes a page.
func (f *floor) scan(page []byte) (tokens []token, total int) {
	tokens = make([]token, 0, f.cfg.PageSize)
	// All strings of a page share one allocation.
	kept := make([]byte, 0, len(page)/4)
	s := scanner{page}
	for s.skip(`{"id":"`) {
		id := s.text()
		name := s.member(`"name":"`)
		tenant := s.member(`"tenantName":"`)
		creatorType := s.member(`"subjectType":"`)
		creator := s.member(`"subjectSlug":"`)
		createdAt := s.member(`"createdAt":"`)
		lastAccessedAt := s.member(`"lastAccessedAt":"`)
		s.skip(`"isExpired":`)
		isExpired := s.rest[0] == 't'
		s.skip(`"jwts":[`)
		expiresAt := s.member(`"expiry":"`)
		issuedAt := s.member(`"createdAt":"`)
		tokenType := s.member(`"tokenType":"`)
		rotatesAt := s.member(`"nextScheduledRotation":"`)
		team := s.member(`"team":"`)

		start := len(kept)
		kept = append(append(kept, `{control_plane="`...), f.host...)
		kept = append(append(kept, `",creator="`...), creator...)
		creatorEnd := len(kept) + len(`",`) - start
		kept = append(append(kept, `",kind="`+kindName+`",owner_team="`...), team...)
		kept = append(append(kept, `",target="`+targetName+`",tenant="`...), tenant...)
		kept = append(append(kept, `",token_id="`...), id...)
		kept = append(append(kept, `",token_name="`...), name...)
		kept = append(kept, `"`...)
		labelsEnd := len(kept)
		kept = append(kept, creatorType...)
		creatorTypeEnd := len(kept)
		kept = append(kept, tokenType...)

		t := token{labels: kept[start:labelsEnd], creatorType: kept[labelsEnd:creatorTypeEnd], tokenType: kept[creatorTypeEnd:], creatorEnd: creatorEnd}
		t.values[created] = scanTime(createdAt)
		t.values[expired] = boolean(isExpired)
		t.values[expiry] = scanTime(expiresAt)
		t.values[hasExpiry] = 1
		t.values[info] = 1
		t.values[issued] = scanTime(issuedAt)
		t.values[lastAccessed] = scanTime(lastAccessedAt)
		t.values[nextRotation] = scanTime(rotatesAt)
		t.values[replaced] = 0 // no two tokens here have the same name
		tokens = append(tokens, t)
	}
	s.skip(`"total":`)
	for len(s.rest) > 0 && s.rest[0] >= '0' && s.rest[0] <= '9' {
		total = total*10 + int(s.rest[0]-'0')
		s.rest = s.rest[1:]
	}
	return tokens, total
}

// scanner searches JSON forward.
type scanner struct{ rest []byte }

// skip skips the next occurrence of text. It returns false if there is none.
func (s *scanner) skip(text string) bool {
	i := bytes.Index(s.rest, []byte(text))
	if i < 0 {
		return false
	}
	s.rest = s.rest[i+len(text):]
	return true
}

// text returns the text up to the next quote, and skips the quote.
func (s *scanner) text() []byte {
	end := bytes.IndexByte(s.rest, '"')
	text := s.rest[:end]
	s.rest = s.rest[end+1:]
	return text
}

// member returns the text after the next occurrence of name.
func (s *scanner) member(name string) []byte {
	s.skip(name)
	return s.text()
}

// scanTime parses a time like 2026-01-01T00:00:00.123Z.
func scanTime(text []byte) float64 {
	number := func(from, to int) (n int) {
		for _, digit := range text[from:to] {
			n = n*10 + int(digit-'0')
		}
		return n
	}
	at := time.Date(number(0, 4), time.Month(number(5, 7)), number(8, 10), number(11, 13), number(14, 16), number(17, 19), 0, time.UTC)
	nanoseconds := 0
	if end := len(text) - 1; end > len("2026-01-01T00:00:00.") {
		nanoseconds = number(20, end)
		for range 9 - (end - 20) {
			nanoseconds *= 10
		}
	}
	return float64(at.Unix()) + float64(nanoseconds)/1e9
}

// flushAt is the minimum size of a write, in bytes.
const flushAt = 32 << 10

// write writes the exposition.
func write(w io.Writer, pages [][]token) error {
	text := make([]byte, 0, flushAt+4<<10)
	for i, s := range series {
		text = append(text, "# HELP "+s.name+" "+s.help+"\n# TYPE "+s.name+" gauge\n"...)
		for _, page := range pages {
			for j := range page {
				t := &page[j]
				text = append(text, s.name...)
				if i == info {
					text = append(text, t.labels[:t.creatorEnd]...)
					text = append(append(text, `creator_type="`...), t.creatorType...)
					text = append(append(text, `",`...), t.labels[t.creatorEnd:]...)
					text = append(append(text, `,token_type="`...), t.tokenType...)
					text = append(text, `"} `...)
				} else {
					text = append(append(text, t.labels...), `} `...)
				}
				if value := t.values[i]; value == 0 || value == 1 {
					text = append(text, '0'+byte(value))
				} else {
					text = strconv.AppendFloat(text, value, 'g', -1, 64)
				}
				if text = append(text, '\n'); len(text) >= flushAt {
					if _, err := w.Write(text); err != nil {
						return err
					}
					text = text[:0]
				}
			}
		}
	}
	_, err := w.Write(text)
	return err
}
