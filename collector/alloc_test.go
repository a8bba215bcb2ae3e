package collector_test

import (
	"fmt"
	"io"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"

	"github.com/truefoundry-community/truefoundry_exporter/client"
	"github.com/truefoundry-community/truefoundry_exporter/collector"
	"github.com/truefoundry-community/truefoundry_exporter/internal/exposition"
)

func clock() time.Time { return noon }

// tokensOf returns n tokens that have every metric.
func tokensOf(n int) []client.Token {
	days := int64(60)
	tokens := make([]client.Token, n)
	for i := range tokens {
		tokens[i] = client.Token{
			ID: fmt.Sprintf("token-%06d", i), Name: fmt.Sprintf("name-%06d", i), Type: "jwt", Tenant: "acme", Team: "ml",
			Creator: client.Subject{ID: "u1", Type: "user", Name: "ada@acme.example"},
			Expiry:  client.Expiry{At: noon.AddDate(0, 3, 0), Readable: true},
			Created: noon, Issued: noon, LastAccessed: noon, NextRotation: noon, PreviousJWTExpiry: noon,
			AutoRotateInterval: &days, GracePeriod: &days,
		}
	}
	return tokens
}

func build(tb testing.TB, tokens []client.Token) []*dto.MetricFamily {
	tb.Helper()
	families, err := collector.Build(tokens, clock)
	if err != nil {
		tb.Fatal(err)
	}
	return families
}

func expose(tb testing.TB, format expfmt.Format, families []*dto.MetricFamily) {
	tb.Helper()
	gauges, _ := exposition.Split(format, families)
	if err := exposition.Write(io.Discard, format, gauges); err != nil {
		tb.Fatal(err)
	}
}

// formats are those that scrapers ask for.
var formats = map[string]expfmt.Format{
	"text":        expfmt.NewFormat(expfmt.TypeTextPlain),
	"OpenMetrics": expfmt.NewFormat(expfmt.TypeOpenMetrics),
}

func BenchmarkBuild(b *testing.B) {
	for _, n := range []int{1000, 10_000} {
		b.Run(fmt.Sprintf("%d tokens", n), func(b *testing.B) {
			tokens := tokensOf(n)
			b.ReportAllocs()
			for b.Loop() {
				build(b, tokens)
			}
		})
	}
}

func BenchmarkExpose(b *testing.B) {
	for name, format := range formats {
		for _, n := range []int{1000, 10_000} {
			b.Run(fmt.Sprintf("%d tokens as %s", n, name), func(b *testing.B) {
				families := build(b, tokensOf(n))
				b.ReportAllocs()
				for b.Loop() {
					expose(b, format, families)
				}
			})
		}
	}
}

// What a token costs to build and to expose does not depend on how many there are.
func TestAllocationsOfATokensMetrics(t *testing.T) {
	guard := func(what string, most float64, perToken func(n int) float64) {
		if few, many := perToken(1000), perToken(10_000); many > most || many > few {
			t.Errorf("%s: %.2f allocations a token of 1000, %.2f of 10,000; %v should be enough for any", what, few, many, most)
		}
	}
	guard("building", 2, func(n int) float64 {
		tokens := tokensOf(n)
		return testing.AllocsPerRun(5, func() { build(t, tokens) }) / float64(n)
	})
	for name, format := range formats {
		guard("exposing as "+name, 1.1, func(n int) float64 {
			families := build(t, tokensOf(n))
			return testing.AllocsPerRun(5, func() { expose(t, format, families) }) / float64(n)
		})
	}
}
