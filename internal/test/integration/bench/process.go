package main

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

// Values of Accept-Encoding.
const (
	encodingGzip     = "gzip"
	encodingIdentity = "identity"
)

// process is a running program under test.
type process struct {
	cfg       programConfig
	url       string
	cmd       *exec.Cmd
	stdin     io.Closer
	transport *http.Transport
}

// command returns the command of a program under test: this binary, or Python.
func command(ctx context.Context, cfg programConfig) (*exec.Cmd, error) {
	if cfg.Program == programPython {
		arguments, err := cfg.arguments()
		return exec.CommandContext(ctx, cfg.Python, append([]string{"-c", pythonScript}, arguments...)...), err //nolint:gosec // the script is embedded
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	argument, err := json.Marshal(cfg)
	return exec.CommandContext(ctx, self, serveArgument, string(argument)), err //nolint:gosec // this is the same binary
}

// start starts the program under test.
func start(ctx context.Context, cfg programConfig) (*process, error) {
	cmd, err := command(ctx, cfg)
	if err != nil {
		return nil, err
	}
	p := &process{cfg: cfg, cmd: cmd, transport: &http.Transport{DisableCompression: true}}
	p.cmd.Stderr = os.Stderr
	if p.stdin, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s does not serve: %w", cfg.Program, err), p.stop())
	}
	p.url = strings.TrimSpace(line)
	return p, nil
}

// stop ends the program and waits for it.
func (p *process) stop() error {
	p.transport.CloseIdleConnections()
	return errors.Join(p.stdin.Close(), p.cmd.Wait())
}

// get requests a path of the program.
func (p *process) get(ctx context.Context, path, encoding string, read func(io.Reader) error) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.url+path, nil)
	if err != nil {
		return err
	}
	req.Header.Set("Accept", "text/plain;version=0.0.4")
	req.Header.Set("Accept-Encoding", encoding)
	resp, err := p.transport.RoundTrip(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if got := resp.Header.Get("Content-Encoding"); resp.StatusCode != http.StatusOK || (got == encodingGzip) != (encoding == encodingGzip) {
		return fmt.Errorf("%s responded with %s and the encoding %q, want %s", p.cfg.Program, resp.Status, got, encoding)
	}
	return read(resp.Body)
}

// usage returns the resource usage of the program.
func (p *process) usage(ctx context.Context) (used usage, err error) {
	err = p.get(ctx, usagePath, encodingIdentity, func(r io.Reader) error { return json.NewDecoder(r).Decode(&used) })
	return used, err
}

// sample is the measurement of one scrape.
type sample struct {
	wall, cpu      time.Duration
	mallocs, bytes uint64
	// size is the size of the response, in bytes.
	size int64
}

// scrape measures a scrape.
func (p *process) scrape(ctx context.Context, encoding string) (s sample, err error) {
	before, err := p.usage(ctx)
	if err != nil {
		return s, err
	}
	begin := time.Now()
	err = p.get(ctx, metricsPath, encoding, func(r io.Reader) error {
		s.size, err = io.Copy(io.Discard, r)
		return err
	})
	s.wall = time.Since(begin)
	if err != nil {
		return s, err
	}
	after, err := p.usage(ctx)
	s.cpu, s.mallocs, s.bytes = after.CPU-before.CPU, after.Mallocs-before.Mallocs, after.Bytes-before.Bytes
	return s, err
}

// content describes the token series of an exposition by metric, independent of their order.
type content map[string]metricContent

type metricContent struct {
	series int
	sum    uint64
}

var seed = maphash.MakeSeed()

// add adds a line of an exposition. Numbers are normalized, because programs format them
// differently.
func (c content) add(line []byte) {
	if !bytes.HasPrefix(line, []byte("truefoundry_token_")) {
		return
	}
	text := string(line)
	end := strings.LastIndexByte(text, ' ') + 1
	if value, err := strconv.ParseFloat(text[end:], 64); err == nil {
		text = text[:end] + strconv.FormatFloat(value, 'g', -1, 64)
	}
	metric, _, _ := strings.Cut(text, "{")
	m := c[metric]
	m.series++
	m.sum += maphash.String(seed, text)
	c[metric] = m
}

// content returns the content of a scrape.
func (p *process) content(ctx context.Context, encoding string) (c content, err error) {
	c = content{}
	err = p.get(ctx, metricsPath, encoding, func(r io.Reader) error {
		if encoding == encodingGzip {
			decompressed, err := gzip.NewReader(r)
			if err != nil {
				return err
			}
			r = decompressed
		}
		lines := bufio.NewScanner(r)
		for lines.Scan() {
			c.add(lines.Bytes())
		}
		return lines.Err()
	})
	return c, err
}
