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

// externalRounds is the maximum number of rounds for the programs that are not in Go.
const externalRounds = 5

// findExternal checks which of the programs that are not in Go can run, and writes the
// others to messages.
func (o *options) findExternal(ctx context.Context, messages io.Writer) {
	// The first python3 in PATH may lack the packages of the system's python3.
	for _, python := range []string{"python3", "/usr/bin/python3"} {
		check := exec.CommandContext(ctx, python, "-c", "import sys, prometheus_client; sys.exit(sys.version_info < (3, 11))") //nolint:gosec // the command is constant
		if o.python == "" && check.Run() == nil {
			o.python = python
		}
	}
	if o.python == "" {
		fmt.Fprintln(messages, "not measured: Python, because there is no python3 (3.11 or later) with prometheus_client")
	}
	o.textfile = exec.CommandContext(ctx, "bash", "-c", "hash curl jq").Run() == nil
	if !o.textfile {
		fmt.Fprintln(messages, "not measured: curl and jq, because they or bash are not installed")
	}
}

// arguments returns the arguments of the scripts.
func (s *programConfig) arguments() ([]string, error) {
	host, err := hostOf(s.URL)
	return []string{s.URL + s.Prefix + endpoint, strconv.Itoa(s.PageSize), apiKey, host}, err
}

// newTextfile returns a handler that runs the script with curl and jq for each scrape.
// Most of the time is spent in the script.
func newTextfile(cfg programConfig) (http.Handler, error) {
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
		// The open file remains readable.
		os.Remove(file.Name())
		cmd := exec.CommandContext(r.Context(), "bash", append([]string{"-c", textfileScript, "textfile.sh"}, arguments...)...) //nolint:gosec // the script is embedded
		cmd.Stdout, cmd.Stderr = file, os.Stderr
		if err := cmd.Run(); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		http.ServeContent(w, r, "", time.Time{}, file)
	}), nil
}
