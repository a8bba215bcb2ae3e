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

// variant is a program under test with a number of pages that it asks for at a
// time.
type variant struct {
	program     string
	concurrency int
}

// String names the variant.
func (v variant) String() string {
	if v.program == programExporter || v.program == programFloor {
		return fmt.Sprintf("%s, %d at a time", v.program, v.concurrency)
	}
	return v.program
}

// place is a process of its own.
type place struct {
	variant

	latency time.Duration
	tokens  int
}

// cell is what is measured once in a round.
type cell struct {
	place

	encoding string
}

// job is a cell to measure in each round whose number every divides.
type job struct {
	cell

	every int
}

// results has the samples of each cell by the number of their round, and the
// peak memory of each process in bytes.
type results struct {
	samples map[cell]map[int]sample
	peaks   map[place]uint64
}

// large is the number of tokens from which on what is slow and has no bounds is
// measured in few rounds only.
const large = 100_000

// jobs returns what to measure at a latency.
func (o *options) jobs(latency time.Duration) (jobs []job) {
	for _, n := range o.sizes {
		add := func(v variant, every int, encodings ...string) {
			for _, encoding := range encodings {
				jobs = append(jobs, job{cell{place{v, latency, n}, encoding}, every})
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
				everyForeign := (o.rounds + foreignRounds - 1) / foreignRounds
				if o.python != "" {
					add(variant{programPython, 1}, everyForeign, encodingGzip, encodingIdentity)
				}
				if o.textfile {
					add(variant{programTextfile, 1}, everyForeign, encodingIdentity)
				}
			}
			continue
		}
		add(variant{programFloor, o.concurrency}, every, encodingGzip, encodingIdentity)
		if n == o.tuningSize() {
			for _, concurrency := range tuned {
				if concurrency != o.concurrency {
					add(variant{programExporter, concurrency}, 1, encodingGzip)
				}
			}
		}
	}
	return jobs
}

// tuned are the values of --truefoundry.max-concurrency to compare.
var tuned = []int{1, 2, 4, 8}

// tuningSize is the number of tokens to compare them at: 10,000, or less where
// no list is as long.
func (o *options) tuningSize() (size int) {
	for _, n := range o.sizes {
		if n <= bounded {
			size = max(size, n)
		}
	}
	return size
}

// measure runs all rounds at one latency. Each round runs every job once, in an
// order of its own.
func (o *options) measure(ctx context.Context, url string, latency time.Duration, into *results, progress io.Writer) (err error) {
	jobs := o.jobs(latency)
	processes := map[place]*process{}
	defer func() {
		for _, p := range processes {
			err = errors.Join(err, p.stop())
		}
	}()
	for _, j := range jobs {
		if processes[j.place] != nil {
			continue
		}
		p, err := start(ctx, serving{
			Program: j.program, URL: url, Prefix: prefix(j.tokens, latency), PageSize: o.pageSize, Concurrency: j.concurrency, Python: o.python,
		})
		if err != nil {
			return err
		}
		processes[j.place] = p
	}
	if err := compare(ctx, jobs, processes); err != nil {
		return err
	}
	order := rand.New(rand.NewPCG(1, uint64(latency))) //nolint:gosec // the order is the same in each run
	for round := range o.rounds {
		fmt.Fprintf(progress, "%s a page: round %d of %d\n", latency, round+1, o.rounds)
		order.Shuffle(len(jobs), func(i, j int) { jobs[i], jobs[j] = jobs[j], jobs[i] })
		for _, j := range jobs {
			if round%j.every != 0 {
				continue
			}
			s, err := processes[j.place].scrape(ctx, j.encoding)
			if err != nil {
				return err
			}
			if into.samples[j.cell] == nil {
				into.samples[j.cell] = map[int]sample{}
			}
			into.samples[j.cell][round] = s
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

// compare warms each process up, and fails where they do not all serve the same
// series of the same tokens. What rarely runs is compared in one encoding only.
func compare(ctx context.Context, jobs []job, processes map[place]*process) error {
	expected := map[int]content{}
	for _, j := range jobs {
		if j.every > 1 && j.encoding == encodingGzip {
			continue
		}
		got, err := processes[j.place].content(ctx, j.encoding)
		if err != nil {
			return err
		}
		want, known := expected[j.tokens]
		if !known {
			want = content{}
			for _, s := range series {
				want[s.name] = contentOfMetric{series: j.tokens, sum: got[s.name].sum}
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

// What is compared of samples, in milliseconds.
func wall(s sample) float64 { return s.wall.Seconds() * 1e3 }
func cpu(s sample) float64  { return s.cpu.Seconds() * 1e3 }

// check fails where the answers of a cell differ in size: then one of the
// scrapes did not list everything.
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
			return fmt.Errorf("%s at %d tokens answers with %d to %d bytes (%s)", at.variant, at.tokens, least, most, at.encoding)
		}
	}
	return nil
}

// median returns the median of what of takes from a cell's samples, and false
// where there is none.
func (r *results) median(of cell, value func(sample) float64) (float64, bool) {
	var values []float64
	for _, s := range r.samples[of] {
		values = append(values, value(s))
	}
	return median(values)
}

// ratio returns the median of a ÷ b within the rounds that have both.
func (r *results) ratio(a, b cell, value func(sample) float64) (float64, bool) {
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
