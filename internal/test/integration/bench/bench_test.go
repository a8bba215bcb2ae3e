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
	python := there(t, "/usr/bin/python3", "-c", "import prometheus_client, tomllib") // tomllib came with 3.11
	textfile := there(t, "sh", "-c", "bash --version && curl --version && jq --version")
	for _, pages := range []string{encodingGzip, encodingIdentity} {
		var out bytes.Buffer
		args := []string{"-tokens=10,100,110", "-page-size=20", "-latencies=0s,1ms", "-rounds=1", "-pages=" + pages}
		if err := bench(t.Context(), args, &out, t.Output()); err != nil {
			t.Fatal(err)
		}
		t.Log(out.String())
		// 9 series a token, in rows for two encodings, and for three programs or four;
		// and what is not in Go, at no latency.
		for text, want := range map[string]int{
			"| 110 | gzip |": 7 + python, "| 100 | identity |": 7 + python, "| 10 | gzip | Python |": python, "| 100 | – | curl and jq |": textfile,
			"9 series a token": 1, "peak RSS in MiB": 2,
		} {
			if got := strings.Count(out.String(), text); got != want {
				t.Errorf("%q is there %d times, not %d", text, got, want)
			}
		}
	}
}

// there returns 1 where a command succeeds.
func there(t *testing.T, name string, args ...string) int {
	t.Helper()
	if err := exec.CommandContext(t.Context(), name, args...).Run(); err != nil {
		t.Logf("not checked: %s %q: %v", name, args, err)
		return 0
	}
	return 1
}

func TestWhatIsNotThereIsNamedAndLeftOut(t *testing.T) {
	modules := t.TempDir()
	if err := os.WriteFile(filepath.Join(modules, "prometheus_client.py"), []byte("raise ImportError"), 0o600); err != nil {
		t.Fatal(err)
	}
	commands := t.TempDir()
	if bash, err := exec.LookPath("bash"); err == nil { // the others alone are missing
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
			t.Errorf("%s is named %d times in %q", program, got, messages.String())
		}
		if strings.Contains(out.String(), "| "+program+" |") || !strings.Contains(out.String(), "faster than "+program+" |") {
			t.Errorf("the tables have results of %s, or lack its bound:\n%s", program, out.String())
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
	of := func(lines ...string) content {
		c := content{}
		for _, line := range lines {
			c.add([]byte(line))
		}
		return c
	}
	one, two := `truefoundry_token_info{token_id="1"} 1`, `truefoundry_token_info{token_id="2"} 1`
	if !maps.Equal(of(one, two), of("# HELP truefoundry_token_info", two, "truefoundry_up 1", one)) {
		t.Error("the order counts, or lines that are not of tokens")
	}
	if !maps.Equal(of(`truefoundry_token_x{token_id="1"} 1.7672256e+09`, `truefoundry_token_x{token_id="2"} 1`), of(`truefoundry_token_x{token_id="1"} 1767225600.0`, `truefoundry_token_x{token_id="2"} 1.0`)) {
		t.Error("it counts how a number is written")
	}
	for _, other := range [][]string{{one}, {one, one}, {one, two, two}, {one, `truefoundry_token_info{token_id="2"} 0`}} {
		if maps.Equal(of(one, two), of(other...)) {
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
