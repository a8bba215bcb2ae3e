package main

import (
	"bytes"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestMain runs a program under test if bench starts the test binary as one.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == serveArgument {
		os.Exit(run(os.Args[1:]))
	}
	os.Exit(m.Run())
}

// The benchmark itself checks that all programs serve the same series: for a list of one
// page, a list that ends with a full page, and a list that ends with a partial page.
func TestBench(t *testing.T) {
	python := count(t, "/usr/bin/python3", "-c", "import prometheus_client, tomllib") // tomllib requires Python 3.11
	textfile := count(t, "sh", "-c", "bash --version && curl --version && jq --version")
	for _, pages := range []string{encodingGzip, encodingIdentity} {
		var out bytes.Buffer
		args := []string{"-tokens=10,100,110", "-page-size=20", "-latencies=0s,1ms", "-rounds=1", "-pages=" + pages}
		if err := bench(t.Context(), args, &out, t.Output()); err != nil {
			t.Fatal(err)
		}
		t.Log(out.String())
		// These are the numbers of rows: the Python and shell programs only run without latency.
		for text, want := range map[string]int{
			"| 110 | gzip |": 7 + python, "| 100 | identity |": 7 + python, "| 10 | gzip | Python |": python, "| 100 | – | curl and jq |": textfile,
			"9 series a token": 1, "peak RSS in MiB": 2,
		} {
			if got := strings.Count(out.String(), text); got != want {
				t.Errorf("%q occurs %d times, want %d", text, got, want)
			}
		}
	}
}

// count returns 1 if a command succeeds, and 0 otherwise.
func count(t *testing.T, name string, args ...string) int {
	t.Helper()
	if err := exec.CommandContext(t.Context(), name, args...).Run(); err != nil {
		t.Logf("not tested: %s %q: %v", name, args, err)
		return 0
	}
	return 1
}

func TestMissingProgramsAreReportedAndNotMeasured(t *testing.T) {
	modules := t.TempDir()
	if err := os.WriteFile(filepath.Join(modules, "prometheus_client.py"), []byte("raise ImportError"), 0o600); err != nil {
		t.Fatal(err)
	}
	commands := t.TempDir()
	if bash, err := exec.LookPath("bash"); err == nil { // only curl and jq are missing
		if err := os.Symlink(bash, filepath.Join(commands, "bash")); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PYTHONPATH", modules)
	t.Setenv("PATH", commands)
	var out, messages bytes.Buffer
	if err := bench(t.Context(), []string{"-tokens=10", "-latencies=0s", "-rounds=1"}, &out, &messages); err != nil {
		t.Fatal(err)
	}
	for _, program := range []string{programPython, programTextfile} {
		if got := strings.Count(messages.String(), "not measured: "+program+","); got != 1 {
			t.Errorf("%s is reported %d times in %q", program, got, messages.String())
		}
		if strings.Contains(out.String(), "| "+program+" |") || !strings.Contains(out.String(), "faster than "+program+" |") {
			t.Errorf("the tables have results of %s, or no bound for it:\n%s", program, out.String())
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

func TestInvalidArguments(t *testing.T) {
	for _, args := range [][]string{{"-tokens=0"}, {"-tokens=x"}, {"-latencies=50"}, {"-rounds=0"}, {"-pages=br"}, {"x"}} {
		if err := bench(t.Context(), args, t.Output(), t.Output()); err == nil {
			t.Errorf("%q is accepted", args)
		}
	}
}

func TestContentComparesTokenSeries(t *testing.T) {
	newContent := func(lines ...string) content {
		c := content{}
		for _, line := range lines {
			c.add([]byte(line))
		}
		return c
	}
	one, two := `truefoundry_token_info{token_id="1"} 1`, `truefoundry_token_info{token_id="2"} 1`
	if !maps.Equal(newContent(one, two), newContent("# HELP truefoundry_token_info", two, "truefoundry_up 1", one)) {
		t.Error("content depends on the order or on other lines")
	}
	if !maps.Equal(newContent(`truefoundry_token_x{token_id="1"} 1.7672256e+09`, `truefoundry_token_x{token_id="2"} 1`), newContent(`truefoundry_token_x{token_id="1"} 1767225600.0`, `truefoundry_token_x{token_id="2"} 1.0`)) {
		t.Error("content depends on the format of numbers")
	}
	for _, other := range [][]string{{one}, {one, one}, {one, two, two}, {one, `truefoundry_token_info{token_id="2"} 0`}} {
		if maps.Equal(newContent(one, two), newContent(other...)) {
			t.Errorf("%q has the same content", other)
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
