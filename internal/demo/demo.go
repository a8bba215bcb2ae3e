// Package demo runs a made-up control plane on loopback, for those who want to
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

	"github.com/truefoundry-community/truefoundry_exporter/internal/controlplane"
)

// Target is the name of the demonstration's target.
const Target = "demo-personal"

// Demo is a made-up control plane that serves on loopback.
type Demo struct {
	// URL is its base URL.
	URL *url.URL
	// Key is the API key that it accepts.
	Key string

	server *http.Server
}

// Start starts a made-up control plane. Its tokens were issued relative to the
// time of the start, and age from then on.
func Start() (*Demo, error) {
	listener, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("start the demonstration's control plane: %w", err)
	}
	start := time.Now()
	d := &Demo{URL: &url.URL{Scheme: "http", Host: listener.Addr().String()}, Key: rand.Text()}
	d.server = &http.Server{
		Handler: &controlplane.Server{
			Key: d.Key,
			Items: func(endpoint string) []any {
				if endpoint != controlplane.PersonalAccessTokens {
					return nil
				}
				return tokens(start, time.Now())
			},
		},
		ReadHeaderTimeout: 10 * time.Second,
	}
	go func() { _ = d.server.Serve(listener) }() // until Close
	return d, nil
}

// Close stops the control plane.
func (d *Demo) Close() { d.server.Close() }
