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

// endpoint is the path of the list below the prefix.
const endpoint = "/v1/personal-access-tokens"

// controlPlane serves lists of several sizes. The prefix of the path selects the size and
// the latency. All pages are prepared, so that requests take little CPU time.
type controlPlane struct {
	pageSize int
	lists    map[string]list // by the number of tokens
}

// list holds the pages of a list, with and without compression. The last page is the empty
// one after the end.
type list struct {
	tokens            int
	plain, compressed [][]byte
}

// prefix returns the API prefix for a list of n tokens with a latency per page.
func prefix(n int, latency time.Duration) string { return fmt.Sprintf("/%d/%s", n, latency) }

// newControlPlane returns a control plane with lists of the given sizes. It only compresses
// pages if compress is true.
func newControlPlane(sizes []int, pageSize int, compress bool) (*controlPlane, error) {
	cp := &controlPlane{pageSize: pageSize, lists: map[string]list{}}
	for _, n := range sizes {
		pages, err := makePages(n, pageSize)
		if err != nil {
			return nil, err
		}
		l := list{tokens: n, plain: pages}
		for _, page := range pages {
			if !compress {
				break
			}
			var compressed bytes.Buffer
			writer := gzip.NewWriter(&compressed)
			if _, err := writer.Write(page); err != nil {
				return nil, err
			}
			if err := writer.Close(); err != nil {
				return nil, err
			}
			l.compressed = append(l.compressed, compressed.Bytes())
		}
		cp.lists[strconv.Itoa(n)] = l
	}
	return cp, nil
}

// bytesPerToken returns the size of the longest list in JSON, per token.
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
	l, ok := cp.lists[size]
	query := r.URL.Query()
	offset, badOffset := strconv.Atoi(query.Get("offset"))
	index := len(l.plain) - 1
	if offset < l.tokens {
		index = offset / cp.pageSize
	}
	if !found || err != nil || !ok || badOffset != nil || query.Get("limit") != strconv.Itoa(cp.pageSize) ||
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
	if l.compressed != nil && strings.Contains(r.Header.Get("Accept-Encoding"), encodingGzip) {
		page = l.compressed[index]
		w.Header().Set("Content-Encoding", encodingGzip)
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.Header().Set("Content-Length", strconv.Itoa(len(page)))
	w.Write(page)
}
