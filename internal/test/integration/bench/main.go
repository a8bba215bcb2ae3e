// Command bench measures what whole scrapes cost: of the exporter; of the floor,
// which fetches the same pages, scans them by hand and writes the same text by
// hand; of const metrics, as one writes a collector by the book; of the same in
// Python; and of curl and jq, which write a textfile. It prints tables, and whether
// the exporter holds its bounds. Python 3.11 with prometheus_client, curl and jq
// need not be there: then it says so, and measures the others.
//
// Each of them is a process of its own for each number of tokens and each
// latency, which are scraped in rounds: everything once in a round, in another
// order each time. Ratios are those within a round.
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

// serveArgument makes this binary a program under test.
const serveArgument = "serve"

func main() { os.Exit(run(os.Args[1:])) }

// run returns the exit code: an exit from here would skip what is deferred.
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

// options are those of a run.
type options struct {
	sizes                 []int
	latencies             []time.Duration
	rounds, largeEvery    int
	pageSize, concurrency int
	pages, profiles       string
	// python is the interpreter with prometheus_client, and textfile says that curl
	// and jq are there.
	python   string
	textfile bool
}

func parse(args []string, messages io.Writer) (*options, error) {
	o := &options{sizes: []int{100, 1000, bounded, large}, latencies: []time.Duration{0, 50 * time.Millisecond}}
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(messages)
	flags.Func("tokens", "numbers of tokens, with commas between them (default 100,1000,10000,100000)", each(&o.sizes, func(text string) (int, error) {
		n, err := strconv.Atoi(text)
		if err == nil && n < 1 {
			err = errors.New("must be at least 1")
		}
		return n, err
	}))
	flags.Func("latencies", "times that the control plane takes for a page (default 0s,50ms)", each(&o.latencies, time.ParseDuration))
	flags.IntVar(&o.rounds, "rounds", 15, "number of rounds; Python, and curl and jq, run in five of them at most")
	flags.IntVar(&o.largeEvery, "large-every", 15, "run what is slow and has no bounds in every so many rounds: at 100,000 tokens, const metrics, and all with a latency")
	flags.IntVar(&o.pageSize, "page-size", 1000, "tokens in a page")
	flags.IntVar(&o.concurrency, "concurrency", 4, "pages that the exporter asks for at a time")
	flags.StringVar(&o.pages, "pages", encodingGzip, "how the control plane sends pages: gzip, as all ask for, or identity")
	flags.StringVar(&o.profiles, "profiles", "", "measure nothing; write CPU and allocation profiles of the exporter into this folder")
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

// each parses a list with commas.
func each[T any](into *[]T, parse func(string) (T, error)) func(string) error {
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

// bench prints the tables on out, and how far it is on messages.
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
	o.findForeign(ctx, messages)
	r := &results{samples: map[cell]map[int]sample{}, peaks: map[place]uint64{}}
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
		p, err := start(ctx, serving{
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
