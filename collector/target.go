package collector

import (
	"context"
	"time"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"

	"github.com/truefoundry-community/truefoundry_exporter/client"
)

// Target is a control plane to be asked with one API key.
type Target struct {
	// Name is the value of the label target. No two targets have the same one.
	Name string
	// Kinds are the kinds of token to list.
	Kinds []client.Kind
	// APIKeyToken is the name of the listed token that the API key belongs to,
	// which tells when a key ends that does not say so itself. It may be empty.
	APIKeyToken string
	// Identity changes with the URL and with where the API key is from. While it
	// is the same, what is known of the key and of the control plane (such as a
	// Retry-After) outlives the configuration.
	Identity string
	// Client makes the target's client; its Trace and its State are set by the
	// Collector.
	Client client.Config
}

// target is a Target at work.
type target struct {
	identity
	apiKeyToken string

	client   *client.Client
	err      error // why there is no client
	listings []*listing
	memory   *memory
	key      *ownKey
	logger   log.Logger
}

func newTarget(cfg Target, m *memory, opts *Options) *target {
	cfg.Client.Trace = m.instruments.trace()
	if m.access == nil || m.access.identity != cfg.Identity {
		m.access = &access{identity: cfg.Identity}
	}
	cfg.Client.State = &m.access.state
	c, err := client.New(cfg.Client)
	t := &target{
		identity:    m.identity,
		apiKeyToken: cfg.APIKeyToken,
		client:      c,
		err:         err,
		memory:      m,
		key:         &m.access.key,
		logger:      log.With(opts.Logger, "target", cfg.Name),
	}
	for _, kind := range cfg.Kinds {
		l := &listing{
			kind:    kind,
			list:    func(ctx context.Context) (*client.Listing, error) { return t.list(ctx, kind) },
			history: m.history(kind, opts),
			now:     opts.Now,
		}
		l.history.belongsTo(l)
		t.listings = append(t.listings, l)
	}
	return t
}

// list reads the key and lists what it can see.
func (t *target) list(ctx context.Context, kind client.Kind) (*client.Listing, error) {
	if t.err != nil {
		return nil, &client.Error{Reason: client.ReasonCredentials, Summary: t.err.Error(), Advice: "complete the target's client.Config"}
	}
	credential, err := t.client.Credential(ctx)
	if err != nil {
		return nil, err
	}
	t.key.read(credential.Expiry)
	result, err := t.client.List(ctx, credential, kind)
	if err == nil && result.WrongTotal {
		level.Warn(t.logger).Log("msg", "the control plane reported the length of a page as the total of a longer list: from now on, lists are always read to their end",
			"kind", kind)
	}
	return result, err
}

// findKey looks for the token that the key belongs to, where all has been
// listed and the key does not say itself when it ends.
func (t *target) findKey(outcomes []outcome, now time.Time) {
	if t.apiKeyToken == "" {
		return
	}
	var found *client.Token
	for _, o := range outcomes {
		if o.result == nil {
			return
		}
		for i := range o.result.Tokens {
			// Where names repeat, the last one issued is in use.
			if token := &o.result.Tokens[i]; token.Name == t.apiKeyToken && (found == nil || token.Issued.After(found.Issued)) {
				found = token
			}
		}
	}
	if t.key.listed(found, now) {
		level.Warn(t.logger).Log("msg", "no listed token has the name that the API key's token should have: nothing will tell when the key ends",
			"api_key_token", t.apiKeyToken)
	}
}
