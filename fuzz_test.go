package main

import (
	"io"
	"net"
	"slices"
	"strings"
	"testing"

	"github.com/alecthomas/kingpin/v2"

	"github.com/truefoundry-community/truefoundry_exporter/client"
	"github.com/truefoundry-community/truefoundry_exporter/internal/config"
)

// What the flags accept is within bounds, and a target that they describe can be
// listed.
func FuzzFlags(f *testing.F) {
	var names []string
	app := kingpin.New(programName, "")
	addFlags(app)
	for _, flag := range app.Model().Flags {
		// These name files, or end the program, as those that are hidden do.
		if !flag.Hidden && !slices.Contains([]string{"web.config.file", "config.file", "help", "version"}, flag.Name) {
			names = append(names, flag.Name)
		}
	}
	for i := range names {
		for _, value := range []string{
			"", "0", "1", "-1", "1000", "1001", "1.5", "1e3", "0x10", "99999999999999999999", "1s", "-1s", "25h", "9999999h", "1d", "true", "false", "debug",
			"https://h", "https://me:s3cret@h", ":0", "h:80", "[::1", "vsock://:9100", "/api/svc", "/../x", "id", "virtual-account", "tfy-s3cret", "a\nb", "\xff", "@s3cret",
		} {
			f.Add(uint(i), value)
		}
	}
	f.Fuzz(func(t *testing.T, i uint, value string) {
		name := names[i%uint(len(names))]
		args := []string{"--truefoundry.url=https://acme.example", "--truefoundry.api-key-file=key", "--" + name + "=" + value}
		app := kingpin.New(programName, "").Terminate(func(int) {}).UsageWriter(io.Discard).ErrorWriter(io.Discard)
		parsed := addFlags(app)
		if _, err := app.Parse(args); err != nil {
			if text := nameFlag(app, args, err).Error(); text == "" {
				t.Error("the error says nothing")
			}
			return
		}
		if err := parsed.check(); err != nil {
			if strings.Contains(err.Error(), "s3cret") && !strings.HasPrefix(name, "web.") {
				t.Errorf("the error is %q", err)
			}
			return
		}
		if *parsed.pageSize < 1 || *parsed.pageSize > client.MaxPageSize || *parsed.maxTokens < 1 || *parsed.maxConcurrency < 1 || *parsed.maxRequests < 0 ||
			*parsed.timeout <= 0 || *parsed.timeout > maxTimeout || *parsed.timeoutOffset < 0 {
			t.Errorf("--%s=%q is accepted", name, value)
		}
		for _, address := range *parsed.web.WebListenAddresses {
			if _, _, err := net.SplitHostPort(address); err != nil && !strings.HasPrefix(address, "vsock://") {
				t.Errorf("the address %q is accepted", address)
			}
		}
		target, err := parsed.target()
		if err != nil {
			if strings.Contains(err.Error(), "s3cret") {
				t.Errorf("the error is %q", err)
			}
			return
		}
		if target.Name == "" || target.URL.Host == "" || len(target.Kinds) == 0 || target.Credentials == (config.Credentials{}) {
			t.Errorf("--%s=%q makes the target %+v", name, value, target)
		}
	})
}
