package collector_test

import (
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/truefoundry-community/truefoundry_exporter/client"
	"github.com/truefoundry-community/truefoundry_exporter/collector"
)

func clock() time.Time { return noon }

// newTokens returns n tokens that have every metric.
func newTokens(n int) []client.Token {
	days := int64(60)
	tokens := make([]client.Token, n)
	for i := range tokens {
		tokens[i] = client.Token{
			ID: fmt.Sprintf("token-%06d", i), Name: fmt.Sprintf("name-%06d", i), Type: "jwt", Tenant: "acme", Team: "ml",
			Creator: client.Subject{ID: "u1", Type: "user", Name: "ada@acme.example"},
			Expiry:  client.Expiry{At: noon.AddDate(0, 3, 0), Readable: true},
			Created: noon, Issued: noon, LastAccessed: noon, NextRotation: noon, PreviousJWTExpiry: noon,
			AutoRotateInterval: &days, GracePeriod: &days, SecretStoreSync: &client.SecretStoreSync{At: noon},
		}
	}
	return tokens
}

func BenchmarkRows(b *testing.B) {
	for _, n := range []int{1000, 10_000} {
		b.Run(fmt.Sprintf("%d tokens", n), func(b *testing.B) {
			tokens := newTokens(n)
			b.ReportAllocs()
			for b.Loop() {
				collector.SnapshotOf(tokens, clock)
			}
		})
	}
}

func BenchmarkWriteTokens(b *testing.B) {
	for name, openMetrics := range map[string]bool{"text": false, "OpenMetrics": true} {
		for _, n := range []int{1000, 10_000} {
			b.Run(fmt.Sprintf("%d tokens as %s", n, name), func(b *testing.B) {
				snapshot := collector.SnapshotOf(newTokens(n), clock)
				b.ReportAllocs()
				for b.Loop() {
					if err := snapshot.WriteTokens(io.Discard, openMetrics); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

func TestBenchmarkTokensHaveEveryMetric(t *testing.T) {
	var text strings.Builder
	if err := collector.SnapshotOf(newTokens(1), clock).WriteTokens(&text, false); err != nil {
		t.Fatal(err)
	}
	for _, name := range collector.TokenMetrics() {
		if !strings.Contains(text.String(), "\n"+name+"{") {
			t.Errorf("newTokens has no %s", name)
		}
	}
}

// The labels of a token are allocated; everything else is allocated per listing.
func TestRowsAllocateOncePerToken(t *testing.T) {
	for _, n := range []int{1000, 10_000} {
		tokens := newTokens(n)
		if perToken := testing.AllocsPerRun(5, func() { collector.SnapshotOf(tokens, clock) }) / float64(n); perToken > 1.05 {
			t.Errorf("%.2f allocations per token for %d tokens", perToken, n)
		}
	}
}

func TestWriteAllocationsDoNotDependOnTokens(t *testing.T) {
	for _, n := range []int{10, 10_000} {
		snapshot := collector.SnapshotOf(newTokens(n), clock)
		if allocations := testing.AllocsPerRun(5, func() {
			if err := snapshot.WriteTokens(io.Discard, true); err != nil {
				t.Fatal(err)
			}
		}); allocations > 20 {
			t.Errorf("%v allocations to write %d tokens", allocations, n)
		}
	}
}
