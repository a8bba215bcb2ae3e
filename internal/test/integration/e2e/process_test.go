package e2e

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/truefoundry-community/truefoundry_exporter/internal/test/integration/e2e/internal/stack"
)

var programs stack.Programs

func TestMain(m *testing.M) {
	var err error
	if programs, err = stack.FromEnvironment(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// start starts a program that listens on 127.0.0.1:0. It ends when the test ends.
func start(t *testing.T, path string, args ...string) *stack.Server {
	t.Helper()
	s, err := stack.StartServer(t.Context(), path, args...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { waitForExit(t, s) })
	return s
}

// waitForExit waits until a program has ended. It prints its log if the test has failed.
func waitForExit(t *testing.T, s *stack.Server) {
	t.Helper()
	<-s.Done()
	if t.Failed() {
		t.Logf("%s logged:\n%s", s.URL, s.Log())
	}
}

// mustGet returns the body of a response with status 200.
func mustGet(t *testing.T, s *stack.Server, path string) string {
	t.Helper()
	body, err := s.Get(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

// eventually repeats the check until it succeeds.
func eventually(t *testing.T, check func(context.Context) error) {
	t.Helper()
	eventuallyWithin(t, stack.Patience, check)
}

// eventuallyWithin is like eventually with another timeout.
func eventuallyWithin(t *testing.T, patience time.Duration, check func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	var err error
	for {
		// After the timeout, the previous error is more specific.
		if latest := check(ctx); ctx.Err() == nil || err == nil {
			err = latest
		}
		if err == nil {
			return
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			t.Fatal(err)
		}
	}
}
