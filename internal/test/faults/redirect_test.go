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
	expectFailures(t, []badAnswer{
		{
			name: "a redirect to itself is not followed", answer: faults.Redirect(http.StatusSeeOther, ""), requests: 1,
			reason: client.ReasonRedirect, logged: notFollowed + "it leads to the same path again", page: notFollowed + "it leads to the same path again",
		},
		{
			name: "a redirect of a later page is not followed", answer: faults.At(pageSize, faults.Redirect(http.StatusFound, "")),
			reason: client.ReasonRedirect, logged: notFollowed, page: notFollowed,
		},
	})
	for name, location := range map[string]string{
		"a redirect to a login page of another host names it in the log alone":  "https://login.example/sign-in",
		"a redirect to a login page of the same host names it in the log alone": "/sign-in",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := start(t)
			e.controlPlane.answers(faults.Text(http.StatusFound, "", "Location", location+"?next=%2F"))
			s := e.expectFailure(client.ReasonRedirect, "302 Found (to ")
			metricstest.Present(t, s.log[0], location+")")
			s.expectPage(notFollowed + "most likely a login stands in front of the control plane")
			metricstest.Absent(t, s.page, "login.example")
			s.expectRequests(1)

			e.controlPlane.answers(nil)
			e.expectRecovery()
		})
	}
	t.Run("a redirect to https on the same host says what to do", func(t *testing.T) {
		t.Parallel()
		e := start(t)
		e.controlPlane.answers(faults.Redirect(http.StatusMovedPermanently, "https://"+loopback))
		s := e.expectFailure(client.ReasonRedirect, "(to https://127.0.0.1/api/svc/v1/personal-access-tokens)")
		s.expectPage(notFollowed + "the URL should start with https://")
		s.expectRequests(1)

		e.controlPlane.answers(nil)
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
			names.add(t, tt.host)
			e := startExporter(t, cp, several, "url: http://"+tt.host+cp.port())
			expectNotFollowed(t, e, tt.status, tt.elsewhere)
		})
	}
	t.Run("a redirect to http on the same host is not followed", func(t *testing.T) {
		t.Parallel()
		authority := faults.NewAuthority(t)
		cp := startTLS(t, authority.Config())
		e := startExporter(t, cp, several, "url: "+cp.URL, trusting(t, authority))
		expectNotFollowed(t, e, http.StatusMovedPermanently, loopback)
	})
}

// expectNotFollowed checks what becomes of a redirect to another server of the
// host, which would answer as it should.
func expectNotFollowed(t *testing.T, e *exporter, status int, host string) {
	t.Helper()
	trap := newControlPlane(t, faultyTokens)
	trap.server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			t.Error("somebody followed the redirect")
		}
	}
	trap.serve(t)
	names.add(t, host)
	elsewhere := "http://" + host + trap.port()

	e.controlPlane.answers(faults.Redirect(status, elsewhere))
	s := e.expectFailure(client.ReasonRedirect, "(to "+elsewhere+"/")
	s.expectPage(notFollowed + "the control plane may have moved")
	metricstest.Absent(t, s.page, elsewhere)
	s.expectRequests(1)

	e.controlPlane.answers(nil)
	e.expectRecovery()
}
