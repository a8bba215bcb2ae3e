package deploy

import (
	"io"
	"net"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/truefoundry-community/truefoundry_exporter/client"
	"github.com/truefoundry-community/truefoundry_exporter/internal/test/controlplanetest"
	"github.com/truefoundry-community/truefoundry_exporter/internal/test/faults"
)

// haproxyConfig is the configuration of HAProxy. The words in capitals are replaced: SOCKET is
// the socket of the runtime API, and SERVER the address of the control plane.
const haproxyConfig = `
global
	log stdout format raw local0
	stats socket SOCKET level admin
defaults
	mode http
	log global
	log-format "request %HM %ST"
	retries 0
	timeout connect 5s
	timeout client 1m
	timeout server 1m
frontend front
	bind ADDRESS
	RULES
	default_backend back
backend back
	server control-plane SERVER
backend empty
backend slow
	timeout server 100ms
	server control-plane SERVER
`

// haproxy is a running HAProxy.
type haproxy struct {
	*process
	socket string
}

// startHAProxy starts HAProxy in front of a control plane, with rules of its frontend.
func startHAProxy(t *testing.T, address, rules, controlPlane string) *haproxy {
	t.Helper()
	dir := t.TempDir()
	config, socket := filepath.Join(dir, "haproxy.cfg"), filepath.Join(dir, "s")
	write(t, config, strings.NewReplacer("SOCKET", socket, "ADDRESS", address, "RULES", rules,
		"SERVER", strings.TrimPrefix(controlPlane, "http://")).Replace(haproxyConfig))
	return &haproxy{start(t, regexp.MustCompile(`Loading success`), command(t, "haproxy", "-W", "-db", "-f", config)), socket}
}

// command sends a command to the runtime API.
func (h *haproxy) command(t *testing.T, text string) {
	t.Helper()
	conn, err := new(net.Dialer).DialContext(t.Context(), "unix", h.socket)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, text+"\n"); err != nil {
		t.Fatal(err)
	}
	reply, err := io.ReadAll(conn)
	if err != nil {
		t.Fatal(err)
	}
	if message := strings.TrimSpace(string(reply)); message != "" && !strings.Contains(message, "changed from") {
		t.Fatalf("%s: %s", text, message)
	}
}

// The responses of HAProxy do not identify it.
func TestHAProxy(t *testing.T) {
	working := startControlPlane(t, controlplanetest.Key).URL
	broken := startControlPlane(t, controlplanetest.Key, faults.CloseAfter("nonsense")).URL
	silent := startControlPlane(t, controlplanetest.Key, faults.Hang()).URL
	for _, tt := range []struct {
		name, rules, controlPlane string
		want                      failure
		request                   string
		times                     int // in each scrape
	}{
		{
			name: "has no server", rules: "use_backend empty", controlPlane: working,
			want: failure{
				client.ReasonServerError,
				[]string{"503 Service Unavailable, which did not come from the API"},
				"something in front of the control plane cannot reach it",
			},
			request: "GET 503", times: 3,
		},
		{
			name: "denies the request", rules: "http-request deny if { path_beg /api/ }", controlPlane: working,
			want: failure{
				client.ReasonIntermediary,
				[]string{"403 Forbidden, which did not come from the API"},
				"the API key is not the problem",
			},
			request: "GET 403", times: 1,
		},
		{
			name: "limits the rate", rules: "http-request deny deny_status 429", controlPlane: working,
			want: failure{
				client.ReasonRateLimited,
				[]string{"429 Too Many Requests, which did not come from the API"},
				"scrape less often",
			},
			request: "GET 429", times: 3,
		},
		{
			name: "times out waiting for the request", rules: "http-request deny deny_status 408", controlPlane: working,
			want: failure{
				client.ReasonClientError,
				[]string{"408 Request Timeout, which did not come from the API"},
				"something in front of the control plane gave up waiting for the request",
			},
			request: "GET 408", times: 3,
		},
		{
			name: "gets an invalid response", controlPlane: broken,
			want: failure{
				client.ReasonServerError,
				[]string{"502 Bad Gateway, which did not come from the API"},
				"something in front of the control plane cannot reach it",
			},
			request: "GET 502", times: 3,
		},
		{
			name: "gets no response", rules: "use_backend slow", controlPlane: silent,
			want: failure{
				client.ReasonServerError,
				[]string{"504 Gateway Timeout, which did not come from the API"},
				"something in front of the control plane cannot reach it",
			},
			request: "GET 504", times: 3,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			address := reservePort(t)
			h := startHAProxy(t, address, tt.rules, tt.controlPlane)
			x := startExporter(t, controlplanetest.Key, []string{"url: http://" + address})
			x.expectFailure(t, tt.want)
			expectRequests(t, h.process, slices.Repeat([]string{tt.request}, 2*tt.times)...)

			h = startHAProxy(t, address, "", working)
			x.expectRecovery(t)
			expectRequests(t, h.process, "GET 200", "GET 200")
		})
	}
}

// When the control plane moves to another address, the next scrape succeeds, although the
// connection to HAProxy is the same.
func TestHAProxyFollowsTheControlPlane(t *testing.T) {
	address, closed := reservePort(t), reservePort(t)
	before, after := startControlPlane(t, controlplanetest.Key), startControlPlane(t, controlplanetest.Key)
	h := startHAProxy(t, address, "", before.URL)
	x := startExporter(t, controlplanetest.Key, []string{"url: http://" + address})
	x.expectHealthy(t)

	moveTo := func(address string) {
		host, port, err := net.SplitHostPort(address)
		if err != nil {
			t.Fatal(err)
		}
		h.command(t, "set server back/control-plane addr "+host+" port "+port)
	}
	moveTo(closed)
	x.expectFailure(t, failure{
		client.ReasonServerError,
		[]string{"503 Service Unavailable, which did not come from the API"},
		"something in front of the control plane cannot reach it",
	})
	moveTo(strings.TrimPrefix(after.URL, "http://"))
	x.expectRecovery(t)
	if n := len(after.Requests()); n != 2 {
		t.Errorf("the control plane got %d requests at its new address, want 2", n)
	}
	h.command(t, "set server back/control-plane state maint")
	x.expectFailure(t, failure{
		client.ReasonServerError,
		[]string{"503 Service Unavailable, which did not come from the API"},
		"something in front of the control plane cannot reach it",
	})
	h.command(t, "set server back/control-plane state ready")
	x.expectRecovery(t)
}
