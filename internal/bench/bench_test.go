package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestMain makes the test binary a program under test where bench starts it as
// one.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == serveArgument {
		os.Exit(run(os.Args[1:]))
	}
	os.Exit(m.Run())
}

// The run itself checks that all programs serve the same series: of a list of one
// page, of one that ends with a full page, and of one that ends with a short page.
func TestBench(t *testing.T) {
	for _, pages := range []string{encodingGzip, encodingIdentity} {
		var out bytes.Buffer
		args := []string{"-tokens=10,100,110", "-page-size=20", "-latencies=0s,1ms", "-rounds=1", "-pages=" + pages}
		if err := bench(t.Context(), args, &out, t.Output()); err != nil {
			t.Fatal(err)
		}
		t.Log(out.String())
		// 8 series a token, in rows for two encodings, and for three programs or four.
		for text, want := range map[string]int{"| 110 | gzip |": 7, "| 100 | identity |": 7, "8 series a token": 1, "peak RSS in MiB": 3} {
			if got := strings.Count(out.String(), text); got != want {
				t.Errorf("%q is there %d times, not %d", text, got, want)
			}
		}
	}
}

func TestProfiles(t *testing.T) {
	dir := t.TempDir()
	if err := bench(t.Context(), []string{"-tokens=100", "-rounds=1", "-profiles=" + dir}, t.Output(), t.Output()); err != nil {
		t.Fatal(err)
	}
	if files, err := filepath.Glob(filepath.Join(dir, "*.pprof")); err != nil || len(files) != 4 {
		t.Errorf("wrote %q, %v", files, err)
	}
}

func TestBadArguments(t *testing.T) {
	for _, args := range [][]string{{"-tokens=0"}, {"-tokens=x"}, {"-latencies=50"}, {"-rounds=0"}, {"-pages=br"}, {"x"}} {
		if err := bench(t.Context(), args, t.Output(), t.Output()); err == nil {
			t.Errorf("%q is accepted", args)
		}
	}
}

// TestContent checks what the comparison of the programs stands on.
func TestContent(t *testing.T) {
	of := func(lines ...string) (c content) {
		for _, line := range lines {
			c.add([]byte(line))
		}
		return c
	}
	one, two := `truefoundry_token_info{id="1"} 1`, `truefoundry_token_info{id="2"} 1`
	if of(one, two) != of("# HELP truefoundry_token_info", two, "truefoundry_up 1", one) {
		t.Error("the order counts, or lines that are not of tokens")
	}
	if of(`truefoundry_token_x{id="1"} 1.7672256e+09`, `truefoundry_token_x{id="2"} 1`) != of(`truefoundry_token_x{id="1"} 1767225600.0`, `truefoundry_token_x{id="2"} 1.0`) {
		t.Error("it counts how a number is written")
	}
	for _, other := range [][]string{{one}, {one, one}, {one, two, two}, {one, `truefoundry_token_info{id="2"} 0`}} {
		if of(one, two) == of(other...) {
			t.Errorf("%q is taken for the same", other)
		}
	}
}

func TestMedian(t *testing.T) {
	for _, c := range []struct {
		values []float64
		want   float64
		ok     bool
	}{{nil, 0, false}, {[]float64{3}, 3, true}, {[]float64{9, 1, 2}, 2, true}, {[]float64{4, 1, 3, 2}, 2.5, true}} {
		if got, ok := median(c.values); got != c.want || ok != c.ok {
			t.Errorf("median of %v is %v, %v", c.values, got, ok)
		}
	}
}
