// Package demo runs made-up control planes on loopback, for those who want to
// see the exporter before they have an API key at hand.
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

// Start starts two made-up control planes and returns three targets: one lists
// the personal access tokens of a control plane, one the virtual accounts of the
// other, and one fails, since its API key is not valid. Their tokens were issued
// relative to the time of the start, and age from then on. The control planes
// serve until end is called.
func Start() (list []config.Target, end func(), err error) {
	start := time.Now()
	var servers []*http.Server
	end = func() {
		for _, server := range servers {
			server.Close()
		}
	}
	for _, d := range []struct {
		name     string
		kind     client.Kind
		endpoint string
		looks    kind
		lives    []life
	}{
		{
			"demo-personal", client.PersonalAccessToken, fakecontrolplane.PersonalAccessTokens,
			kind{"demo-pat", "personal-access-token", "pat"},
			personal(),
		},
		{
			"demo-services", client.VirtualAccount, fakecontrolplane.VirtualAccounts,
			kind{"demo-va", "virtual-account", "virtual-account"},
			serviceCases,
		},
	} {
		listener, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0")
		if err != nil {
			end()
			return nil, nil, fmt.Errorf("start the demonstration's control plane: %w", err)
		}
		key := rand.Text()
		server := &http.Server{
			Handler: &fakecontrolplane.Server{
				Key: key,
				Items: func(endpoint string) []any {
					if endpoint != d.endpoint {
						return nil
					}
					return d.looks.tokens(d.lives, start, time.Now())
				},
			},
			ReadHeaderTimeout: 10 * time.Second,
		}
		servers = append(servers, server)
		go func() { _ = server.Serve(listener) }() // until end
		u := &url.URL{Scheme: "http", Host: listener.Addr().String()}
		list = append(list, target(d.name, d.kind, u, key))
	}
	broken := target("demo-broken", client.PersonalAccessToken, list[0].URL, rand.Text())
	return append(list, broken), end, nil
}

func target(name string, kind client.Kind, u *url.URL, key string) config.Target {
	return config.Target{
		Name: name, URL: u, APIPrefix: fakecontrolplane.Prefix, Kinds: []client.Kind{kind},
		Credentials: config.Credentials{Key: commoncfg.Secret(key), KeySource: "the demonstration's own"}, HTTP: config.DefaultHTTP(),
	}
}
