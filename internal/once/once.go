// Package once scrapes the exporter a single time without a server, to test a
// configuration or to run the exporter by cron.
package once

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/truefoundry-community/truefoundry_exporter/collector"
)

// Scrape sends a GET request without headers to the handler and writes the body of the
// response to w.
func Scrape(ctx context.Context, handler http.Handler, path string, w io.Writer) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, path, nil)
	if err != nil {
		return err
	}
	resp := &response{w: w, header: http.Header{}, status: http.StatusOK}
	handler.ServeHTTP(resp, req)
	if resp.err == nil && resp.status != http.StatusOK {
		return fmt.Errorf("the metrics cannot be made: %d %s", resp.status, http.StatusText(resp.status))
	}
	return resp.err
}

// response is an http.ResponseWriter that writes the body to w.
type response struct {
	w      io.Writer
	header http.Header
	status int
	err    error // the first error of w
}

// Header implements http.ResponseWriter.
func (r *response) Header() http.Header { return r.header }

// WriteHeader implements http.ResponseWriter.
func (r *response) WriteHeader(status int) { r.status = status }

// Write implements http.ResponseWriter.
func (r *response) Write(p []byte) (int, error) {
	n, err := r.w.Write(p)
	if r.err == nil {
		r.err = err
	}
	return n, err
}

// Report writes a line for each target to w. It returns true if all listings succeeded.
func Report(w io.Writer, targets []collector.TargetStatus) (ok bool) {
	ok = true
	for _, target := range targets {
		var listed, failed []string
		for _, l := range target.Listings {
			switch {
			case l.Failing:
				failed = append(failed, fmt.Sprintf("%s: %v", l.Kind, l.Failure))
			case l.LastSuccess.IsZero():
				failed = append(failed, fmt.Sprintf("%s: it was not listed to the end", l.Kind))
			default:
				listed = append(listed, fmt.Sprintf("%d (%s)", l.Tokens, l.Kind))
			}
		}
		if len(failed) > 0 {
			ok = false
			fmt.Fprintf(w, "target %q failed: %s\n", target.Name, strings.Join(failed, "; "))
			continue
		}
		fmt.Fprintf(w, "target %q works: tokens listed: %s\n", target.Name, strings.Join(listed, ", "))
	}
	return ok
}
