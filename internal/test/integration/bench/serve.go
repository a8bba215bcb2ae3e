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

// Paths of a program under test.
const (
	metricsPath = "/metrics"
	usagePath   = "/usage"
)

// apiKey is any key: the control plane does not check it.
const apiKey = "benchmark"

// programConfig configures a program under test.
type programConfig struct {
	// Program is the name of the program.
	Program string
	// URL and Prefix are the URL of the control plane and its API prefix.
	URL, Prefix string
	PageSize    int
	// Concurrency is the number of concurrent requests, for programs that support it.
	Concurrency int
	// Python is the interpreter for programPython.
	Python string `json:",omitempty"`
	// Profile is the path of the profiles without the file name extension. If it is
	// empty, no profiles are written.
	Profile string
}

// page returns the URL of the page at offset.
func (s *programConfig) page(offset int) string {
	return s.URL + s.Prefix + endpoint + "?limit=" + strconv.Itoa(s.PageSize) + "&offset=" + strconv.Itoa(offset)
}

// Programs under test.
const (
	programExporter = "exporter"
	programFloor    = "floor"
	programConst    = "const metrics"
	programPython   = "Python"
	programTextfile = "curl and jq"
)

// programs are the programs that are part of this binary.
var programs = map[string]func(programConfig) (http.Handler, error){
	programExporter: newExporter,
	programFloor:    newFloor,
	programConst:    newConstMetrics,
	programTextfile: newTextfile,
}

// usage is the resource usage of a process and its children.
type usage struct {
	CPU              time.Duration
	Mallocs, Bytes   uint64 // only for Go, and without children
	PeakRSSKibibytes uint64 // of the largest process; 0 if unknown
}

// serve runs the program under test. It writes its URL to out, and ends when in ends.
func serve(argument string, in io.Reader, out io.Writer) error {
	var cfg programConfig
	if err := json.Unmarshal([]byte(argument), &cfg); err != nil {
		return err
	}
	newProgram, ok := programs[cfg.Program]
	if !ok {
		return fmt.Errorf("unknown program %q", cfg.Program)
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
		_ = json.NewEncoder(w).Encode(used) // the client notices
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

// listen listens on a free port.
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

// profile writes profiles when stop is called.
func profile(path string) (stop func() error, err error) {
	if path == "" {
		return func() error { return nil }, nil
	}
	cpu, err := os.Create(path + ".cpu.pprof") //nolint:gosec // the path is an option
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

// measureSelf returns the resource usage of this process.
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
	// On Linux, Maxrss includes the memory of the parent process before exec.
	status, err := os.ReadFile("/proc/self/status")
	if errors.Is(err, os.ErrNotExist) {
		return used, nil
	}
	if _, peak, found := strings.Cut(string(status), "\nVmHWM:"); found {
		peak, _, _ = strings.Cut(peak, " kB")
		used.PeakRSSKibibytes, err = strconv.ParseUint(strings.TrimSpace(peak), 10, 64)
	}
	// For children there is only Maxrss, which is at least the memory of this process.
	if peak := uint64(children.Maxrss); peak > used.PeakRSSKibibytes { //nolint:gosec // it is not negative
		used.PeakRSSKibibytes = peak
	} else if peak > 0 {
		used.PeakRSSKibibytes = 0
	}
	return used, err
}
