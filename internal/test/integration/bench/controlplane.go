package main

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// endpoint is the list that all programs read, below their prefix.
const endpoint = "/v1/personal-access-tokens"

// controlPlane serves lists of several sizes, each at the latencies that the
// prefix of the request's path names. All is prepared, so that it costs little.
type controlPlane struct {
	pageSize int
	lists    map[string]list // by the number of tokens
}

// list has each page twice. The last page is the empty one beyond the end.
type list struct {
	tokens        int
	plain, zipped [][]byte
}

// prefix is the path of the API where a list of n tokens takes so long a page.
func prefix(n int, latency time.Duration) string { return fmt.Sprintf("/%d/%s", n, latency) }

// newControlPlane makes the lists. Where zip is false, the control plane ignores
// that its clients accept gzip.
func newControlPlane(sizes []int, pageSize int, zip bool) (*controlPlane, error) {
	cp := &controlPlane{pageSize: pageSize, lists: map[string]list{}}
	for _, n := range sizes {
		pages, err := makePages(n, pageSize)
		if err != nil {
			return nil, err
		}
		made := list{tokens: n, plain: pages}
		for _, page := range pages {
			if !zip {
				break
			}
			var zipped bytes.Buffer
			zipper := gzip.NewWriter(&zipped)
			if _, err := zipper.Write(page); err != nil {
				return nil, err
			}
			if err := zipper.Close(); err != nil {
				return nil, err
			}
			made.zipped = append(made.zipped, zipped.Bytes())
		}
		cp.lists[strconv.Itoa(n)] = made
	}
	return cp, nil
}

// bytesPerToken is the size of the longest list's JSON.
func (cp *controlPlane) bytesPerToken() int {
	var longest list
	for _, l := range cp.lists {
		if l.tokens > longest.tokens {
			longest = l
		}
	}
	return len(bytes.Join(longest.plain, nil)) / max(1, longest.tokens)
}

// ServeHTTP implements http.Handler.
func (cp *controlPlane) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path, found := strings.CutSuffix(r.URL.Path, endpoint)
	size, wait, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	latency, err := time.ParseDuration(wait)
	l, known := cp.lists[size]
	query := r.URL.Query()
	offset, badOffset := strconv.Atoi(query.Get("offset"))
	index := len(l.plain) - 1
	if offset < l.tokens {
		index = offset / cp.pageSize
	}
	if !found || err != nil || !known || badOffset != nil || query.Get("limit") != strconv.Itoa(cp.pageSize) ||
		offset < l.tokens && offset%cp.pageSize != 0 {
		http.Error(w, "there is no such page", http.StatusNotFound)
		return
	}
	if latency > 0 {
		timer := time.NewTimer(latency)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-r.Context().Done():
			return
		}
	}
	page := l.plain[index]
	if l.zipped != nil && strings.Contains(r.Header.Get("Accept-Encoding"), encodingGzip) {
		page = l.zipped[index]
		w.Header().Set("Content-Encoding", encodingGzip)
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.Header().Set("Content-Length", strconv.Itoa(len(page)))
	w.Write(page)
}
