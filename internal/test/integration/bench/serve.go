package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"runtime/pprof"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// The paths of a program under test.
const (
	metricsPath = "/metrics"
	usagePath   = "/usage"
)

// apiKey is nobody's: the control plane does not look at it.
const apiKey = "benchmark"

// serving is what a program under test is told.
type serving struct {
	// Program is the name of one of the programs.
	Program string
	// URL and Prefix are where the list is.
	URL, Prefix string
	PageSize    int
	// Concurrency is how many pages are asked for at a time, by those who can.
	Concurrency int
	// Python is the interpreter of programPython.
	Python string `json:",omitempty"`
	// Profile is where profiles are written at the end, without the ending of
	// their names. It may be empty.
	Profile string
}

// page is the URL of the page from offset on.
func (s *serving) page(offset int) string {
	return s.URL + s.Prefix + endpoint + "?limit=" + strconv.Itoa(s.PageSize) + "&offset=" + strconv.Itoa(offset)
}

// The programs under test.
const (
	programExporter = "exporter"
	programFloor    = "floor"
	programConst    = "const metrics"
	programPython   = "Python"
	programTextfile = "curl and jq"
)

// programs are those that this binary serves.
var programs = map[string]func(serving) (http.Handler, error){
	programExporter: newExporter,
	programFloor:    newFloor,
	programConst:    newConstMetrics,
	programTextfile: newTextfile,
}

// usage is what a process and those that it ran have used since it started.
type usage struct {
	CPU              time.Duration
	Mallocs, Bytes   uint64 // not those of other processes, or of other languages
	PeakRSSKibibytes uint64 // of the largest process; 0 where the system does not tell
}

// serve runs the program under test. It tells its URL on out, and ends with in.
func serve(argument string, in io.Reader, out io.Writer) error {
	var cfg serving
	if err := json.Unmarshal([]byte(argument), &cfg); err != nil {
		return err
	}
	newProgram, ok := programs[cfg.Program]
	if !ok {
		return fmt.Errorf("there is no program %q", cfg.Program)
	}
	metrics, err := newProgram(cfg)
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.Handle(metricsPath, metrics)
	mux.HandleFunc(usagePath, func(w http.ResponseWriter, _ *http.Request) {
		used, err := measureSelf()
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		_ = json.NewEncoder(w).Encode(used) // who asks sees that it is missing
	})
	listener, err := listen()
	if err != nil {
		return err
	}
	srv := &http.Server{Handler: mux, ReadHeaderTimeout: time.Minute}
	served := goServe(srv, listener)
	stopProfile, err := profile(cfg.Profile)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "http://%s\n", listener.Addr())

	_, err = io.Copy(io.Discard, in)
	return errors.Join(err, srv.Close(), <-served, stopProfile())
}

// listen listens on a port that the kernel chooses.
func listen() (net.Listener, error) {
	var config net.ListenConfig
	return config.Listen(context.Background(), "tcp", "127.0.0.1:0")
}

// goServe serves until srv is closed.
func goServe(srv *http.Server, listener net.Listener) <-chan error {
	served := make(chan error, 1)
	go func() {
		err := srv.Serve(listener)
		if errors.Is(err, http.ErrServerClosed) {
			err = nil
		}
		served <- err
	}()
	return served
}

// profile profiles until stop is called.
func profile(path string) (stop func() error, err error) {
	if path == "" {
		return func() error { return nil }, nil
	}
	cpu, err := os.Create(path + ".cpu.pprof") //nolint:gosec // who runs it names the folder
	if err != nil {
		return nil, err
	}
	if err := pprof.StartCPUProfile(cpu); err != nil {
		return nil, errors.Join(err, cpu.Close())
	}
	return func() error {
		pprof.StopCPUProfile()
		allocs, err := os.Create(path + ".allocs.pprof") //nolint:gosec // as above
		if err != nil {
			return errors.Join(err, cpu.Close())
		}
		return errors.Join(pprof.Lookup("allocs").WriteTo(allocs, 0), allocs.Close(), cpu.Close())
	}, nil
}

func measureSelf() (used usage, err error) {
	var self, children syscall.Rusage
	if err := errors.Join(syscall.Getrusage(syscall.RUSAGE_SELF, &self), syscall.Getrusage(syscall.RUSAGE_CHILDREN, &children)); err != nil {
		return usage{}, err
	}
	var memory runtime.MemStats
	runtime.ReadMemStats(&memory)
	used = usage{
		CPU:     time.Duration(self.Utime.Nano() + self.Stime.Nano() + children.Utime.Nano() + children.Stime.Nano()),
		Mallocs: memory.Mallocs, Bytes: memory.TotalAlloc,
	}
	// Not Maxrss: on Linux, that begins with the memory of the process that
	// started this one.
	status, err := os.ReadFile("/proc/self/status")
	if errors.Is(err, os.ErrNotExist) {
		return used, nil
	}
	if _, peak, found := strings.Cut(string(status), "\nVmHWM:"); found {
		peak, _, _ = strings.Cut(peak, " kB")
		used.PeakRSSKibibytes, err = strconv.ParseUint(strings.TrimSpace(peak), 10, 64)
	}
	// Of those that it ran there is only Maxrss, which tells nothing up to the
	// memory of this process.
	if peak := uint64(children.Maxrss); peak > used.PeakRSSKibibytes { //nolint:gosec // it is not negative
		used.PeakRSSKibibytes = peak
	} else if peak > 0 {
		used.PeakRSSKibibytes = 0
	}
	return used, err
}
