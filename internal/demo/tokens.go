package demo

import (
	"fmt"
	"slices"
	"time"

	"github.com/truefoundry-community/truefoundry_exporter/internal/test/fakecontrolplane"
)

const (
	day  = 24 * time.Hour
	year = 365 * day
)

// tokenSpec describes a token of the demo. Times are relative to the start; zero means
// none.
type tokenSpec struct {
	name, tenant, team, creator string

	issued, expires, accessed time.Duration
	// rotate and grace are the rotation interval and the grace period in days.
	rotate, grace int
	nextRotation  time.Duration
	// previous is the expiry of the JWT from before the last rotation.
	previous time.Duration
	// secretStore is true if the JWT is written to a secret store. That fails if there is
	// a storeError.
	secretStore bool
	storeError  string
}

// specialTokens are personal access tokens that alerts and dashboards are about.
var specialTokens = []tokenSpec{
	{name: "nightly-backup", tenant: "demo-acme", team: "platform", creator: "ops", issued: -90 * day, expires: -3 * day, accessed: -3 * day},
	{name: "release-pipeline", tenant: "demo-acme", team: "platform", creator: "ci", issued: -90 * day, expires: 5 * time.Hour, accessed: -20 * time.Minute},
	{name: "model-registry-sync", tenant: "demo-acme", team: "ml", creator: "ci", issued: -30 * day, expires: 2 * day, accessed: -time.Hour},
	{name: "feature-store", tenant: "demo-globex", team: "data", creator: "pipelines", issued: -80 * day, expires: 10 * day, accessed: -2 * time.Hour},
	{name: "legacy-dashboard", tenant: "demo-globex", team: "", creator: "bi", issued: -2 * year},
	{name: "gpu-scheduler", tenant: "demo-acme", team: "ml", creator: "research", issued: -86 * day, expires: 4 * day, accessed: -6 * day},
	{name: "gpu-scheduler", tenant: "demo-acme", team: "ml", creator: "research", issued: -6 * day, expires: 84 * day, accessed: -time.Hour}, // replaces it
	{name: "say \"hi\"\n\\o/ 🚀", tenant: "demo-acme", team: "ml", creator: "research", issued: -10 * day, expires: 80 * day, accessed: -5 * day},
}

// virtualAccounts includes tokens that rotate automatically.
var virtualAccounts = []tokenSpec{
	{name: "inference-gateway", tenant: "demo-acme", team: "ml", creator: "gateway", issued: -40 * day, expires: 50 * day, accessed: -time.Minute, rotate: 60, grace: 30, nextRotation: 20 * day, secretStore: true},
	{name: "batch-scoring", tenant: "demo-globex", team: "data", creator: "pipelines", issued: -5 * day, expires: 85 * day, accessed: -10 * time.Minute, rotate: 60, grace: 30, nextRotation: 55 * day, previous: 25 * day, secretStore: true, storeError: "the secret store denies access"},
	{name: "vector-index", tenant: "demo-globex", team: "search", creator: "relevance", issued: -62 * day, expires: 28 * day, accessed: -3 * time.Minute, rotate: 60, grace: 30, nextRotation: -2 * day},
	{name: "event-stream", tenant: "demo-acme", team: "platform", creator: "ops", issued: -100 * day, expires: 265 * day, accessed: -time.Hour},
	{name: "archive-reader", tenant: "demo-acme", team: "data", creator: "ops", issued: -year},
}

// teams and purposes are combined to healthy tokens.
var teams = []struct{ tenant, team, creator string }{
	{"demo-acme", "ml", "research"},
	{"demo-acme", "platform", "ops"},
	{"demo-globex", "data", "pipelines"},
	{"demo-globex", "search", "relevance"},
}

var purposes = []string{"notebook", "training", "evaluation", "ingest", "export", "staging", "canary", "load-test"}

func days(n int) time.Duration { return time.Duration(n) * day }

// personalAccessTokens returns specialTokens and healthy tokens.
func personalAccessTokens() []tokenSpec {
	tokens := slices.Clone(specialTokens)
	for i, purpose := range purposes {
		for j, t := range teams {
			n := i*len(teams) + j
			tokens = append(tokens, tokenSpec{
				name: t.team + "-" + purpose, tenant: t.tenant, team: t.team, creator: t.creator,
				issued: -days(10 + 2*n), expires: days(100 + 7*n), accessed: -days(n) - time.Hour,
			})
		}
	}
	return tokens
}

// template holds the fields that tokens of a kind have in common.
type template struct{ idPrefix, itemType, manifestType string }

// items returns the list of the tokens at a time.
func (t template) items(specs []tokenSpec, start, now time.Time) []any {
	start = start.UTC().Truncate(time.Second)
	items := make([]any, len(specs))
	for i, spec := range specs {
		token := spec.token(fmt.Sprintf("%s-%02d", t.idPrefix, i+1), start, now)
		token.Type, token.Manifest.Type = t.itemType, t.manifestType
		items[i] = token
	}
	return items
}

// token returns the token as the API lists it.
func (s tokenSpec) token(id string, start, now time.Time) fakecontrolplane.Token {
	at := func(after time.Duration) *time.Time {
		if after == 0 {
			return nil
		}
		t := start.Add(after)
		return &t
	}
	issued, expiry := start.Add(s.issued), at(s.expires)
	expired := expiry != nil && !expiry.After(now)
	creator := fakecontrolplane.Subject{
		ID: "demo-user-" + s.creator, Type: "user", Slug: s.creator + "@" + s.tenant + ".example", DisplayName: s.creator,
	}
	jwt := func(n string, issued time.Time, expiry *time.Time) fakecontrolplane.JWT {
		return fakecontrolplane.JWT{
			ID: id + "-jwt-" + n, Expiry: expiry, CreatedAt: issued, UpdatedAt: issued,
			SubjectType: creator.Type, SubjectID: creator.ID, TokenType: "jwt",
		}
	}
	token := fakecontrolplane.Token{
		ID: id, Name: s.name, TenantName: s.tenant,
		CreatedBySubject: creator, CreatedAt: issued, UpdatedAt: issued, LastAccessedAt: at(s.accessed),
		IsExpired: &expired, JWTID: id + "-jwt-1", JWTs: []fakecontrolplane.JWT{jwt("1", issued, expiry)},
		NextScheduledRotation: at(s.nextRotation),
		Manifest:              &fakecontrolplane.Manifest{Name: s.name},
	}
	if s.secretStore {
		token.JWTs[0].Metadata = &fakecontrolplane.Metadata{SecretStoreSync: &fakecontrolplane.SecretStoreSync{
			UpdatedAt: issued.Add(5 * time.Second), Error: s.storeError,
		}}
	}
	if s.team != "" {
		token.Manifest.OwnedBy = &fakecontrolplane.OwnedBy{Team: s.team}
	}
	if s.rotate > 0 {
		token.Manifest.AutoRotate = &fakecontrolplane.AutoRotate{Interval: s.rotate, GracePeriod: s.grace}
	}
	if s.previous != 0 {
		token.CreatedAt = issued.Add(-days(s.rotate))
		token.JWTs = append(token.JWTs, jwt("0", token.CreatedAt, at(s.previous)))
	}
	return token
}
