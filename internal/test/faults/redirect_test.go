package faults_test

import (
	"net"
	"net/http"
	"testing"

	"github.com/truefoundry-community/truefoundry_exporter/client"
	"github.com/truefoundry-community/truefoundry_exporter/internal/test/faults"
	"github.com/truefoundry-community/truefoundry_exporter/internal/test/metricstest"
)

const notFollowed = "redirects are not followed, so that the API key goes nowhere else; "

func TestRedirects(t *testing.T) {
	t.Parallel()
	expectFailures(t, []failureTest{
		{
			name: "a redirect to the same URL is not followed", fault: faults.Redirect(http.StatusSeeOther, ""), requests: 1,
			reason: client.ReasonRedirect, logged: notFollowed + "it leads to the same path again", page: notFollowed + "it leads to the same path again",
		},
		{
			name: "a redirect of a later page is not followed", fault: faults.At(pageSize, faults.Redirect(http.StatusFound, "")),
			reason: client.ReasonRedirect, logged: notFollowed, page: notFollowed,
		},
	})
	for name, location := range map[string]string{
		"the log names the login page on another host":  "https://login.example/sign-in",
		"the log names the login page on the same host": "/sign-in",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := start(t)
			e.controlPlane.setFault(faults.Text(http.StatusFound, "", "Location", location+"?next=%2F"))
			s := e.expectFailure(client.ReasonRedirect, "302 Found (to ")
			metricstest.Present(t, s.log[0], location+")")
			s.expectPage(notFollowed + "most likely a login stands in front of the control plane")
			metricstest.Absent(t, s.page, "login.example")
			s.expectRequests(1)

			e.controlPlane.setFault(nil)
			e.expectRecovery()
		})
	}
	t.Run("the advice for a redirect to HTTPS is to use it", func(t *testing.T) {
		t.Parallel()
		e := start(t)
		e.controlPlane.setFault(faults.Redirect(http.StatusMovedPermanently, "https://"+loopback))
		s := e.expectFailure(client.ReasonRedirect, "(to https://127.0.0.1/api/svc/v1/personal-access-tokens)")
		s.expectPage(notFollowed + "the URL should start with https://")
		s.expectRequests(1)

		e.controlPlane.setFault(nil)
		e.expectRecovery()
	})
	for _, tt := range []struct {
		name            string
		status          int
		host, elsewhere string
	}{
		{"a redirect to another host is not followed", http.StatusFound, "acme.example", "elsewhere.example"},
		{"a redirect to a subdomain is not followed", http.StatusTemporaryRedirect, "moved.example", "login.moved.example"},
		{"a redirect to another port is not followed", http.StatusPermanentRedirect, loopback, loopback},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			cp := startControlPlane(t)
			dns.add(t, tt.host)
			e := startExporter(t, cp, concurrent, "url: http://"+tt.host+cp.port())
			expectNotFollowed(t, e, tt.status, tt.elsewhere)
		})
	}
	t.Run("a redirect to HTTP on the same host is not followed", func(t *testing.T) {
		t.Parallel()
		authority := faults.NewAuthority(t)
		cp := startTLS(t, authority.Config())
		e := startExporter(t, cp, concurrent, "url: "+cp.URL, trusting(t, authority))
		expectNotFollowed(t, e, http.StatusMovedPermanently, loopback)
	})
}

// expectNotFollowed checks that a redirect to another control plane is not followed.
func expectNotFollowed(t *testing.T, e *exporter, status int, host string) {
	t.Helper()
	other := newControlPlane(t, faultyTokens)
	other.server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			t.Error("the redirect was followed")
		}
	}
	other.serve(t)
	dns.add(t, host)
	location := "http://" + host + other.port()

	e.controlPlane.setFault(faults.Redirect(status, location))
	s := e.expectFailure(client.ReasonRedirect, "(to "+location+"/")
	s.expectPage(notFollowed + "the control plane may have moved")
	metricstest.Absent(t, s.page, location)
	s.expectRequests(1)

	e.controlPlane.setFault(nil)
	e.expectRecovery()
}
