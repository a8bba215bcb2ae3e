// Command bench measures whole scrapes of several programs:
//
//   - the exporter;
//   - the floor, which fetches the same pages and writes the same text, but scans the pages
//     with a hand-written scanner;
//   - const metrics, a typical collector in Go;
//   - a typical collector in Python;
//   - a script with curl and jq that writes a textfile.
//
// It prints tables, and whether the exporter is within its bounds. If Python 3.11 with
// prometheus_client, curl or jq is missing, bench says so and measures the other programs.
//
// There is a process for each program, number of tokens and latency. All processes are
// scraped once in each round, in random order. Ratios are computed within a round.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// serveArgument makes this binary run a program under test.
const serveArgument = "serve"

func main() { os.Exit(run(os.Args[1:])) }

// run returns the exit code. It does not exit, so that deferred functions run.
func run(args []string) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var err error
	if len(args) == 2 && args[0] == serveArgument {
		err = serve(args[1], os.Stdin, os.Stdout)
	} else {
		err = bench(ctx, args, os.Stdout, os.Stderr)
	}
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		fmt.Fprintln(os.Stderr, "bench:", err)
		return 1
	}
	return 0
}

// options are the options of a benchmark.
type options struct {
	sizes                 []int
	latencies             []time.Duration
	rounds, largeEvery    int
	pageSize, concurrency int
	pages, profiles       string
	// python is the Python interpreter with prometheus_client, or empty. textfile is true
	// if curl and jq are installed.
	python   string
	textfile bool
}

func parse(args []string, messages io.Writer) (*options, error) {
	o := &options{sizes: []int{100, 1000, bounded, large}, latencies: []time.Duration{0, 50 * time.Millisecond}}
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(messages)
	flags.Func("tokens", "comma-separated numbers of tokens (default 100,1000,10000,100000)", commaSeparated(&o.sizes, func(text string) (int, error) {
		n, err := strconv.Atoi(text)
		if err == nil && n < 1 {
			err = errors.New("must be at least 1")
		}
		return n, err
	}))
	flags.Func("latencies", "comma-separated latencies of the control plane per page (default 0s,50ms)", commaSeparated(&o.latencies, time.ParseDuration))
	flags.IntVar(&o.rounds, "rounds", 15, "number of rounds; Python, and curl and jq, run in at most five of them")
	flags.IntVar(&o.largeEvery, "large-every", 15, "run slow cases without bounds only every so many rounds: at 100,000 tokens, const metrics, and everything with a latency")
	flags.IntVar(&o.pageSize, "page-size", 1000, "tokens per page")
	flags.IntVar(&o.concurrency, "concurrency", 4, "concurrent requests of the exporter")
	flags.StringVar(&o.pages, "pages", encodingGzip, "content encoding of the control plane: gzip or identity")
	flags.StringVar(&o.profiles, "profiles", "", "write CPU and allocation profiles of the exporter into this directory, and measure nothing")
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	switch {
	case flags.NArg() > 0:
		return nil, fmt.Errorf("unexpected argument %q", flags.Arg(0))
	case o.rounds < 1 || o.largeEvery < 1 || o.pageSize < 1 || o.concurrency < 1:
		return nil, errors.New("all numbers must be at least 1")
	case o.pages != encodingGzip && o.pages != encodingIdentity:
		return nil, errors.New("-pages must be gzip or identity")
	}
	return o, nil
}

// commaSeparated returns a function that parses a comma-separated list.
func commaSeparated[T any](into *[]T, parse func(string) (T, error)) func(string) error {
	return func(text string) error {
		*into = nil
		for part := range strings.SplitSeq(text, ",") {
			value, err := parse(part)
			if err != nil {
				return err
			}
			*into = append(*into, value)
		}
		return nil
	}
}

// bench writes the tables to out, and its progress to messages.
func bench(ctx context.Context, args []string, out, messages io.Writer) (err error) {
	o, err := parse(args, messages)
	if err != nil {
		return err
	}
	begin := time.Now()
	if o.profiles != "" {
		o.sizes = []int{slices.Max(o.sizes)}
	}
	cp, err := newControlPlane(o.sizes, o.pageSize, o.pages == encodingGzip)
	if err != nil {
		return err
	}
	listener, err := listen()
	if err != nil {
		return err
	}
	srv := &http.Server{Handler: cp, ReadHeaderTimeout: time.Minute}
	served := goServe(srv, listener)
	defer func() { err = errors.Join(err, srv.Close(), <-served) }()
	url := "http://" + listener.Addr().String()

	if o.profiles != "" {
		return o.profile(ctx, url, messages)
	}
	o.findExternal(ctx, messages)
	r := &results{samples: map[scenario]map[int]sample{}, peaks: map[instance]uint64{}}
	for _, latency := range o.latencies {
		if err := o.measure(ctx, url, latency, r, messages); err != nil {
			return err
		}
	}
	if err := r.check(); err != nil {
		return err
	}
	o.report(ctx, out, r, cp.bytesPerToken())
	fmt.Fprintf(out, "\nThe run took %s.\n", time.Since(begin).Round(time.Second))
	return nil
}

// profile writes profiles of the exporter's scrapes.
func (o *options) profile(ctx context.Context, url string, messages io.Writer) error {
	for _, encoding := range []string{encodingGzip, encodingIdentity} {
		path, err := filepath.Abs(filepath.Join(o.profiles, encoding))
		if err != nil {
			return err
		}
		p, err := start(ctx, programConfig{
			Program: programExporter, URL: url, Prefix: prefix(o.sizes[0], o.latencies[0]), PageSize: o.pageSize, Concurrency: o.concurrency, Profile: path,
		})
		if err != nil {
			return err
		}
		for range o.rounds {
			if _, err = p.scrape(ctx, encoding); err != nil {
				break
			}
		}
		if err := errors.Join(err, p.stop()); err != nil {
			return err
		}
		fmt.Fprintf(messages, "%s.cpu.pprof and %s.allocs.pprof: %d scrapes of %d tokens\n", path, path, o.rounds, o.sizes[0])
	}
	return nil
}
