package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// bounded is the number of tokens for most bounds.
const bounded = 10_000

const mebibyte = 1 << 20

// report writes the tables in Markdown.
func (o *options) report(ctx context.Context, out io.Writer, r *results, bytesPerToken int) {
	fmt.Fprintf(out, "%s; commit %s; %s %s/%s, GOMAXPROCS %d; %s; %s.\n", time.Now().UTC().Format(time.DateOnly), commit(ctx),
		runtime.Version(), runtime.GOOS, runtime.GOARCH, runtime.GOMAXPROCS(0), cpuModel(), system())
	fmt.Fprintf(out, "%d B of JSON and %d series a token; pages of %d, sent as %s. Medians of n rounds, in each of which everything runs once.\n",
		bytesPerToken, len(series), o.pageSize, o.pages)
	for _, latency := range o.latencies {
		fmt.Fprintf(out, "\n## %s a page\n\n", latency)
		o.scrapes(out, r, latency)
	}
	o.growth(out, r)
	o.tuning(out, r)
	o.bounds(out, r)
}

// at returns a scenario of a variant.
func at(v variant, latency time.Duration, tokens int, encoding string) scenario {
	return scenario{instance{v, latency, tokens}, encoding}
}

func (o *options) exporter() variant { return variant{programExporter, o.concurrency} }

func (o *options) variants() []variant {
	return []variant{{programFloor, 1}, {programFloor, o.concurrency}, o.exporter(), {programConst, 1}, {programPython, 1}, {programTextfile, 1}}
}

// scrapes writes the table of whole scrapes.
func (o *options) scrapes(out io.Writer, r *results, latency time.Duration) {
	row(out, "tokens", "encoding", "program", "n", "wall ms", "CPU ms", "allocations a token", "bytes a token", "peak RSS MiB",
		"× floor", fmt.Sprintf("× floor, %d at a time", o.concurrency), "const metrics ÷ this")
	row(out, "--:", "---", "---", "--:", "--:", "--:", "--:", "--:", "--:", "--:", "--:", "--:")
	for _, n := range o.sizes {
		for _, encoding := range []string{encodingGzip, encodingIdentity} {
			for _, v := range o.variants() {
				this := at(v, latency, n, encoding)
				if r.samples[this] == nil {
					continue
				}
				perToken := func(value func(sample) uint64) (float64, bool) {
					perToken, ok := r.median(this, func(s sample) float64 { return float64(value(s)) / float64(n) })
					return perToken, ok && v.program != programPython && v.program != programTextfile
				}
				shown := encoding
				if v.program == programTextfile {
					shown = "–" // it is always uncompressed
				}
				row(out, strconv.Itoa(n), shown, v.String(), strconv.Itoa(len(r.samples[this])),
					number(1)(r.median(this, wall)),
					number(1)(r.median(this, cpu)),
					number(1)(perToken(func(s sample) uint64 { return s.mallocs })),
					number(0)(perToken(func(s sample) uint64 { return s.bytes })),
					number(0)(r.peak(this.instance)),
					number(2)(r.ratio(this, at(variant{programFloor, 1}, latency, n, encoding), wall)),
					number(2)(r.ratio(this, at(variant{programFloor, o.concurrency}, latency, n, encoding), wall)),
					number(2)(r.ratio(at(variant{programConst, 1}, latency, n, encoding), this, wall)))
			}
		}
	}
}

// growth writes the table of the time per token for lists of different lengths.
func (o *options) growth(out io.Writer, r *results) {
	fmt.Fprintf(out, "\n## Time per token at %d ÷ at %d, no latency\n\n", large, bounded)
	row(out, "program", encodingGzip, encodingIdentity)
	row(out, "---", "--:", "--:")
	for _, v := range o.variants() {
		if r.samples[at(v, 0, large, encodingGzip)] != nil {
			row(out, v.String(), number(2)(r.growth(v, encodingGzip, wall)), number(2)(r.growth(v, encodingIdentity, wall)))
		}
	}
}

func (r *results) growth(v variant, encoding string, value func(sample) float64) (float64, bool) {
	ratio, ok := r.ratio(at(v, 0, large, encoding), at(v, 0, bounded, encoding), value)
	return ratio * bounded / large, ok
}

// peak returns the peak memory of a process in MiB.
func (r *results) peak(at instance) (float64, bool) {
	return float64(r.peaks[at]) / mebibyte, r.peaks[at] > 0
}

// tuning writes the table for --truefoundry.max-concurrency.
func (o *options) tuning(out io.Writer, r *results) {
	n := o.tuningSize()
	for _, latency := range o.latencies {
		if latency == 0 {
			continue
		}
		fmt.Fprintf(out, "\n## --truefoundry.max-concurrency at %d tokens, %s a page, gzip\n\n", n, latency)
		row(out, "pages at a time", "wall ms", "÷ one at a time")
		row(out, "--:", "--:", "--:")
		for _, concurrency := range concurrencies {
			this := at(variant{programExporter, concurrency}, latency, n, encodingGzip)
			row(out, strconv.Itoa(concurrency),
				number(0)(r.median(this, wall)),
				number(2)(r.ratio(this, at(variant{programExporter, 1}, latency, n, encodingGzip), wall)))
		}
	}
}

// bounds writes the table of the bounds.
func (o *options) bounds(out io.Writer, r *results) {
	fmt.Fprint(out, "\n## Bounds\n\n")
	row(out, "exporter", "goal", "never above", "measured", "")
	row(out, "---", "--:", "--:", "--:", "---")
	o.floorBounds(out, r)
	bytes, ok := r.median(at(o.exporter(), 0, bounded, encodingGzip), func(s sample) float64 { return float64(s.bytes) / bounded })
	bound{fmt.Sprintf("%d tokens, gzip, no latency: bytes allocated per token", bounded), 2400, 2800}.print(out, bytes, ok)
	for _, encoding := range encodings {
		growth, ok := r.growth(o.exporter(), encoding, wall)
		bound{fmt.Sprintf("time per token at %d ÷ at %d, %s", large, bounded, encoding), 1.1, 1.2}.print(out, growth, ok)
	}
	o.memoryBound(out, r, bounded, 52, 60)
	o.memoryBound(out, r, large, 260, 330)
	for _, encoding := range encodings {
		o.faster(out, r, programConst, encoding, 6)
	}
	for _, encoding := range encodings {
		o.faster(out, r, programPython, encoding, 7)
	}
	o.faster(out, r, programTextfile, encodingIdentity, 14)
}

var encodings = []string{encodingGzip, encodingIdentity}

// floorBounds writes the bounds relative to the floor.
func (o *options) floorBounds(out io.Writer, r *results) {
	compare := func(what string, tokens int, latency time.Duration, encoding string, concurrency int, value func(sample) float64, goal, limit float64) {
		ratio, ok := r.ratio(at(o.exporter(), latency, tokens, encoding), at(variant{programFloor, concurrency}, latency, tokens, encoding), value)
		bound{fmt.Sprintf("%d tokens, %s, %s a page: %s", tokens, encoding, latency, what), goal, limit}.print(out, ratio, ok)
	}
	compare("× floor", bounded, 0, encodingGzip, 1, wall, 1.5, 1.8)
	compare("CPU time × floor", bounded, 0, encodingGzip, 1, cpu, 1.7, 2.1)
	compare("× floor", bounded, 0, encodingIdentity, 1, wall, 1.9, 2.4)
	for _, latency := range o.latencies {
		if latency == 0 {
			continue
		}
		for _, encoding := range encodings {
			compare(fmt.Sprintf("× floor, %d at a time", o.concurrency), bounded, latency, encoding, o.concurrency, wall, 1.2, 1.4)
		}
		for _, encoding := range encodings {
			compare("× floor", 100, latency, encoding, 1, wall, 1.1, 1.2)
		}
	}
}

// memoryBound writes the bound for the exporter's memory.
func (o *options) memoryBound(out io.Writer, r *results, tokens int, goal, limit float64) {
	var most float64
	for _, latency := range o.latencies {
		peak, _ := r.peak(instance{o.exporter(), latency, tokens})
		most = max(most, peak)
	}
	bound{fmt.Sprintf("%d tokens: peak RSS in MiB", tokens), goal, limit}.print(out, most, most > 0)
}

// faster writes by which factor the exporter is faster than another program. The goal is
// the minimum.
func (o *options) faster(out io.Writer, r *results, program, encoding string, goal float64) {
	faster, ok := r.ratio(at(variant{program, 1}, 0, bounded, encoding), at(o.exporter(), 0, bounded, encoding), wall)
	verdict := "held"
	if !ok {
		verdict = "not measured"
	} else if faster < goal {
		verdict = "the goal missed"
	}
	row(out, fmt.Sprintf("%d tokens, %s, no latency: × faster than %s", bounded, encoding, program), "at least "+number(2)(goal, true), "–",
		number(2)(faster, ok), verdict)
}

// bound is an upper bound for a measured value of the exporter. A value above the goal is
// acceptable up to the limit.
type bound struct {
	what        string
	goal, limit float64
}

// print writes the bound and the measured value.
func (b bound) print(out io.Writer, measured float64, ok bool) {
	row(out, b.what, number(2)(b.goal, true), number(2)(b.limit, true), number(2)(measured, ok), b.verdict(measured, ok))
}

func (b bound) verdict(measured float64, ok bool) string {
	switch {
	case !ok:
		return "not measured"
	case measured > b.limit:
		return "**not held**"
	case measured > b.goal:
		return "held, the goal missed"
	}
	return "held"
}

func row(out io.Writer, columns ...string) {
	fmt.Fprintf(out, "| %s |\n", strings.Join(columns, " | "))
}

// number returns a function that formats numbers. It returns a dash if ok is false.
func number(decimals int) func(value float64, ok bool) string {
	return func(value float64, ok bool) string {
		if !ok {
			return "–"
		}
		return strconv.FormatFloat(value, 'f', decimals, 64)
	}
}

// commit returns the current commit, if it is known.
func commit(ctx context.Context) string {
	name, err := exec.CommandContext(ctx, "git", "describe", "--always", "--dirty", "--abbrev=12").Output()
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(name))
}

// cpuModel returns the name of the CPU, if it is known.
func cpuModel() string {
	file, err := os.Open("/proc/cpuinfo")
	if err != nil {
		return "unknown CPU"
	}
	defer file.Close()
	for lines := bufio.NewScanner(file); lines.Scan(); {
		if name, model, found := strings.Cut(lines.Text(), ":"); found && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(model)
		}
	}
	return "unknown CPU"
}

// system returns the name of the operating system.
func system() string {
	release, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		return runtime.GOOS
	}
	return "Linux " + strings.TrimSpace(string(release))
}
