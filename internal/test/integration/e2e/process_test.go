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

// start starts a program that listens on 127.0.0.1:0 and ends with the test.
func start(t *testing.T, path string, args ...string) *stack.Server {
	t.Helper()
	s, err := stack.StartServer(t.Context(), path, args...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ended(t, s) })
	return s
}

// ended waits until a program has ended, and shows its log if it may tell why
// the test has failed.
func ended(t *testing.T, s *stack.Server) {
	t.Helper()
	<-s.Done()
	if t.Failed() {
		t.Logf("%s logged:\n%s", s.URL, s.Log())
	}
}

func mustGet(t *testing.T, s *stack.Server, path string) string {
	t.Helper()
	body, err := s.Get(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

// eventually tries until the check succeeds.
func eventually(t *testing.T, check func(context.Context) error) {
	t.Helper()
	eventuallyWithin(t, stack.Patience, check)
}

// eventuallyWithin does so for as long as it may take.
func eventuallyWithin(t *testing.T, patience time.Duration, check func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	var err error
	for {
		// At the end of the time, what was wrong before says more than that it ended.
		if now := check(ctx); ctx.Err() == nil || err == nil {
			err = now
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
