package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"slices"
	"time"
)

// variant is a program under test with a number of concurrent requests.
type variant struct {
	program     string
	concurrency int
}

// String returns the name of the variant.
func (v variant) String() string {
	if v.program == programExporter || v.program == programFloor {
		return fmt.Sprintf("%s, %d at a time", v.program, v.concurrency)
	}
	return v.program
}

// instance is a process: a variant for one latency and number of tokens.
type instance struct {
	variant

	latency time.Duration
	tokens  int
}

// scenario is measured once per round: a process with an encoding.
type scenario struct {
	instance

	encoding string
}

// job is a scenario to measure every so many rounds.
type job struct {
	scenario

	every int
}

// results holds the samples of each scenario by round, and the peak memory of each process
// in bytes.
type results struct {
	samples map[scenario]map[int]sample
	peaks   map[instance]uint64
}

// large is the number of tokens from which slow scenarios without bounds are measured in
// few rounds.
const large = 100_000

// jobs returns the jobs for a latency.
func (o *options) jobs(latency time.Duration) (jobs []job) {
	for _, n := range o.sizes {
		add := func(v variant, every int, encodings ...string) {
			for _, encoding := range encodings {
				jobs = append(jobs, job{scenario{instance{v, latency, n}, encoding}, every})
			}
		}
		every, everyConst := 1, 1
		if n >= large {
			everyConst = o.largeEvery
		}
		if n >= large && latency > 0 {
			every = o.largeEvery
		}
		add(variant{programExporter, o.concurrency}, every, encodingGzip, encodingIdentity)
		add(variant{programFloor, 1}, every, encodingGzip, encodingIdentity)
		add(variant{programConst, 1}, everyConst, encodingGzip, encodingIdentity)
		if latency == 0 {
			if n < large {
				everyExternal := (o.rounds + externalRounds - 1) / externalRounds
				if o.python != "" {
					add(variant{programPython, 1}, everyExternal, encodingGzip, encodingIdentity)
				}
				if o.textfile {
					add(variant{programTextfile, 1}, everyExternal, encodingIdentity)
				}
			}
			continue
		}
		add(variant{programFloor, o.concurrency}, every, encodingGzip, encodingIdentity)
		if n == o.tuningSize() {
			for _, concurrency := range concurrencies {
				if concurrency != o.concurrency {
					add(variant{programExporter, concurrency}, 1, encodingGzip)
				}
			}
		}
	}
	return jobs
}

// concurrencies are the compared values of --truefoundry.max-concurrency.
var concurrencies = []int{1, 2, 4, 8}

// tuningSize returns the number of tokens for that comparison: the largest size up to
// bounded.
func (o *options) tuningSize() (size int) {
	for _, n := range o.sizes {
		if n <= bounded {
			size = max(size, n)
		}
	}
	return size
}

// measure runs all rounds for one latency. The jobs of each round are in random order.
func (o *options) measure(ctx context.Context, url string, latency time.Duration, into *results, progress io.Writer) (err error) {
	jobs := o.jobs(latency)
	processes := map[instance]*process{}
	defer func() {
		for _, p := range processes {
			err = errors.Join(err, p.stop())
		}
	}()
	for _, j := range jobs {
		if processes[j.instance] != nil {
			continue
		}
		p, err := start(ctx, programConfig{
			Program: j.program, URL: url, Prefix: prefix(j.tokens, latency), PageSize: o.pageSize, Concurrency: j.concurrency, Python: o.python,
		})
		if err != nil {
			return err
		}
		processes[j.instance] = p
	}
	if err := compare(ctx, jobs, processes); err != nil {
		return err
	}
	order := rand.New(rand.NewPCG(1, uint64(latency))) //nolint:gosec // reproducible on purpose
	for round := range o.rounds {
		fmt.Fprintf(progress, "%s a page: round %d of %d\n", latency, round+1, o.rounds)
		order.Shuffle(len(jobs), func(i, j int) { jobs[i], jobs[j] = jobs[j], jobs[i] })
		for _, j := range jobs {
			if round%j.every != 0 {
				continue
			}
			s, err := processes[j.instance].scrape(ctx, j.encoding)
			if err != nil {
				return err
			}
			if into.samples[j.scenario] == nil {
				into.samples[j.scenario] = map[int]sample{}
			}
			into.samples[j.scenario][round] = s
		}
	}
	for at, p := range processes {
		used, err := p.usage(ctx)
		if err != nil {
			return err
		}
		into.peaks[at] = used.PeakRSSKibibytes << 10
	}
	return nil
}

// compare warms up each process. It returns an error if the processes do not serve the
// same series for the same tokens. Rare jobs are compared in one encoding only.
func compare(ctx context.Context, jobs []job, processes map[instance]*process) error {
	expected := map[int]content{}
	for _, j := range jobs {
		if j.every > 1 && j.encoding == encodingGzip {
			continue
		}
		got, err := processes[j.instance].content(ctx, j.encoding)
		if err != nil {
			return err
		}
		want, ok := expected[j.tokens]
		if !ok {
			want = content{}
			for _, s := range series {
				want[s.name] = metricContent{series: j.tokens, sum: got[s.name].sum}
			}
			expected[j.tokens] = want
		}
		for _, name := range slices.Sorted(maps.Keys(merged(got, want))) {
			if got[name] != want[name] {
				return fmt.Errorf("%s (%s) does not serve the same %s of %d tokens as the others: it has %d, and should have %d",
					j.variant, j.encoding, name, j.tokens, got[name].series, want[name].series)
			}
		}
	}
	return nil
}

func merged(a, b content) content {
	all := maps.Clone(a)
	maps.Copy(all, b)
	return all
}

// These return values of a sample, in milliseconds.
func wall(s sample) float64 { return s.wall.Seconds() * 1e3 }
func cpu(s sample) float64  { return s.cpu.Seconds() * 1e3 }

// check returns an error if the responses of a scenario differ in size: then a scrape was
// incomplete.
func (r *results) check() error {
	for at, samples := range r.samples {
		var least, most int64
		for _, s := range samples {
			if least == 0 || s.size < least {
				least = s.size
			}
			most = max(most, s.size)
		}
		if most-least > 1000+most/50 {
			return fmt.Errorf("%s at %d tokens responded with %d to %d bytes (%s)", at.variant, at.tokens, least, most, at.encoding)
		}
	}
	return nil
}

// median returns the median of a value of the scenario's samples. It returns false if there
// are none.
func (r *results) median(s scenario, value func(sample) float64) (float64, bool) {
	var values []float64
	for _, taken := range r.samples[s] {
		values = append(values, value(taken))
	}
	return median(values)
}

// ratio returns the median of a ÷ b over the rounds that have both.
func (r *results) ratio(a, b scenario, value func(sample) float64) (float64, bool) {
	var values []float64
	for round, s := range r.samples[a] {
		if other, ok := r.samples[b][round]; ok {
			values = append(values, value(s)/value(other))
		}
	}
	return median(values)
}

func median(values []float64) (float64, bool) {
	if len(values) == 0 {
		return 0, false
	}
	slices.Sort(values)
	middle := len(values) / 2
	if len(values)%2 == 1 {
		return values[middle], true
	}
	return (values[middle-1] + values[middle]) / 2, true
}
