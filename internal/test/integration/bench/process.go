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

// What a scraper accepts.
const (
	encodingGzip     = "gzip"
	encodingIdentity = "identity"
)

// process is a program under test at work.
type process struct {
	cfg       serving
	url       string
	cmd       *exec.Cmd
	stdin     io.Closer
	transport *http.Transport
}

// command is the command of a program under test: this binary once more, or
// Python.
func command(ctx context.Context, cfg serving) (*exec.Cmd, error) {
	if cfg.Program == programPython {
		arguments, err := cfg.arguments()
		return exec.CommandContext(ctx, cfg.Python, append([]string{"-c", pythonScript}, arguments...)...), err //nolint:gosec // it is the script of this folder
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	argument, err := json.Marshal(cfg)
	return exec.CommandContext(ctx, self, serveArgument, string(argument)), err //nolint:gosec // it is this very binary
}

// start starts the program under test.
func start(ctx context.Context, cfg serving) (*process, error) {
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

// stop ends the program and waits for its end.
func (p *process) stop() error {
	p.transport.CloseIdleConnections()
	return errors.Join(p.stdin.Close(), p.cmd.Wait())
}

// get asks for a page of the program.
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
		return fmt.Errorf("%s answers %s with the encoding %q, asked for %s", p.cfg.Program, resp.Status, got, encoding)
	}
	return read(resp.Body)
}

// usage asks the program what it has used.
func (p *process) usage(ctx context.Context) (used usage, err error) {
	err = p.get(ctx, usagePath, encodingIdentity, func(r io.Reader) error { return json.NewDecoder(r).Decode(&used) })
	return used, err
}

// sample is what one scrape has cost.
type sample struct {
	wall, cpu      time.Duration
	mallocs, bytes uint64
	// size is that of the answer in bytes, as it was sent.
	size int64
}

// scrape scrapes once.
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

// content has the series of tokens of an exposition by their metric, in whatever
// order.
type content map[string]contentOfMetric

type contentOfMetric struct {
	series int
	sum    uint64
}

var seed = maphash.MakeSeed()

// add adds a line of an exposition. Programs write the same number in more than
// one way.
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
	of := c[metric]
	of.series++
	of.sum += maphash.String(seed, text)
	c[metric] = of
}

// content scrapes once, and reads what comes.
func (p *process) content(ctx context.Context, encoding string) (c content, err error) {
	c = content{}
	err = p.get(ctx, metricsPath, encoding, func(r io.Reader) error {
		if encoding == encodingGzip {
			unzipped, err := gzip.NewReader(r)
			if err != nil {
				return err
			}
			r = unzipped
		}
		lines := bufio.NewScanner(r)
		for lines.Scan() {
			c.add(lines.Bytes())
		}
		return lines.Err()
	})
	return c, err
}
