package main

import (
	"context"
	_ "embed"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"time"
)

//go:embed python.py
var pythonScript string

//go:embed textfile.sh
var textfileScript string

// foreignRounds is in how many rounds, at most, the programs that are not in Go
// are measured.
const foreignRounds = 5

// findForeign finds out which of the programs that are not in Go can run, and
// tells on messages which cannot.
func (o *options) findForeign(ctx context.Context, messages io.Writer) {
	// The python3 that comes first may not be the one of the system's packages.
	for _, python := range []string{"python3", "/usr/bin/python3"} {
		check := exec.CommandContext(ctx, python, "-c", "import sys, prometheus_client; sys.exit(sys.version_info < (3, 11))") //nolint:gosec // it is one of the two
		if o.python == "" && check.Run() == nil {
			o.python = python
		}
	}
	if o.python == "" {
		fmt.Fprintln(messages, "not measured: Python, because there is no python3 (3.11 or later) with prometheus_client")
	}
	o.textfile = exec.CommandContext(ctx, "bash", "-c", "hash curl jq").Run() == nil
	if !o.textfile {
		fmt.Fprintln(messages, "not measured: curl and jq, because they or bash are not there")
	}
}

// arguments are what the scripts are told.
func (s *serving) arguments() ([]string, error) {
	host, err := hostOf(s.URL)
	return []string{s.URL + s.Prefix + endpoint, strconv.Itoa(s.PageSize), apiKey, host}, err
}

// newTextfile returns the script with curl and jq, which each scrape runs once.
// To send what it wrote is a small part of that.
func newTextfile(cfg serving) (http.Handler, error) {
	arguments, err := cfg.arguments()
	if err != nil {
		return nil, err
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		file, err := os.CreateTemp("", "bench-*.prom")
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		defer file.Close()
		// It is there as long as it is open.
		os.Remove(file.Name())
		cmd := exec.CommandContext(r.Context(), "bash", append([]string{"-c", textfileScript, "textfile.sh"}, arguments...)...) //nolint:gosec // it is the script of this folder
		cmd.Stdout, cmd.Stderr = file, os.Stderr
		if err := cmd.Run(); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		http.ServeContent(w, r, "", time.Time{}, file)
	}), nil
}
