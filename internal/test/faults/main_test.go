package faults_test

import (
	"flag"
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	flag.Parse()
	// The tests mostly wait: for retries, and without -short also for deadlines, which a
	// busy machine must not miss.
	parallel := "8"
	if testing.Short() {
		parallel = "24"
	}
	if err := flag.Set("test.parallel", parallel); err != nil {
		panic(err)
	}
	if err := dns.start(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	goleak.VerifyTestMain(m, goleak.IgnoreCurrent())
}
