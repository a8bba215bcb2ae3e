// Package demo serves fake control planes on loopback, to try the exporter without an API
// key.
package demo

import (
	"context"
	"crypto/rand"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"time"

	commoncfg "github.com/prometheus/common/config"

	"github.com/truefoundry-community/truefoundry_exporter/client"
	"github.com/truefoundry-community/truefoundry_exporter/internal/config"
	"github.com/truefoundry-community/truefoundry_exporter/internal/test/fakecontrolplane"
)

// Start starts two fake control planes and returns three targets: one lists personal
// access tokens, one lists virtual accounts, and one fails because its API key is invalid.
// The dates of the tokens are relative to the start. The control planes serve until stop
// is called.
func Start() (targets []config.Target, stop func(), err error) {
	start := time.Now()
	var servers []*http.Server
	stop = func() {
		for _, server := range servers {
			server.Close()
		}
	}
	for _, d := range []struct {
		name     string
		kind     client.Kind
		endpoint string
		template template
		tokens   []tokenSpec
	}{
		{
			"demo-personal", client.PersonalAccessToken, fakecontrolplane.PersonalAccessTokens,
			template{"demo-pat", "personal-access-token", "pat"},
			personalAccessTokens(),
		},
		{
			"demo-services", client.VirtualAccount, fakecontrolplane.VirtualAccounts,
			template{"demo-va", "virtual-account", "virtual-account"},
			virtualAccounts,
		},
	} {
		listener, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0")
		if err != nil {
			stop()
			return nil, nil, fmt.Errorf("start the control plane of the demo: %w", err)
		}
		key := rand.Text()
		server := &http.Server{
			Handler: &fakecontrolplane.Server{
				Key: key,
				Items: func(endpoint string) []any {
					if endpoint != d.endpoint {
						return nil
					}
					return d.template.items(d.tokens, start, time.Now())
				},
			},
			ReadHeaderTimeout: 10 * time.Second,
		}
		servers = append(servers, server)
		go func() { _ = server.Serve(listener) }() // until stop
		u := &url.URL{Scheme: "http", Host: listener.Addr().String()}
		targets = append(targets, newTarget(d.name, d.kind, u, key))
	}
	broken := newTarget("demo-broken", client.PersonalAccessToken, targets[0].URL, rand.Text())
	return append(targets, broken), stop, nil
}

func newTarget(name string, kind client.Kind, u *url.URL, key string) config.Target {
	return config.Target{
		Name: name, URL: u, APIPrefix: fakecontrolplane.Prefix, Kinds: []client.Kind{kind},
		Credentials: config.Credentials{Key: commoncfg.Secret(key), KeySource: "the demo's own key"}, HTTP: config.DefaultHTTP(),
	}
}
