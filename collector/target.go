package collector

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"

	"github.com/truefoundry-community/truefoundry_exporter/client"
)

// Target is a control plane whose tokens are listed with one API key.
type Target struct {
	// Name is the value of the target label. It must be unique.
	Name string
	// Kinds are the kinds of token to list. There must be at least one.
	Kinds []client.Kind
	// APIKeyToken is the name of the listed token that the API key belongs to. It is
	// used to look up the expiry of keys that do not contain it. It may be empty.
	APIKeyToken string
	// Identity identifies the URL and the source of the API key. While it is the same,
	// Set keeps the state of the client (such as a Retry-After) and the key's expiry.
	Identity string
	// Client configures the target's client. The Collector sets Trace and State.
	Client client.Config
}

// target is a Target with its client and listings.
type target struct {
	targetID

	apiKeyToken  string
	creatorLabel CreatorLabel
	client       *client.Client
	listings     []*listing
	state        *targetState
	key          *apiKeyState
	logger       log.Logger
	now          func() time.Time
}

// newTarget returns a target that continues with state.
func newTarget(cfg Target, state *targetState, opts *Options) (*target, error) {
	cfg.Client.Trace = state.trace()
	if state.access == nil || state.access.identity != cfg.Identity {
		state.access = &accessState{identity: cfg.Identity}
	}
	cfg.Client.State = &state.access.client
	c, err := client.New(cfg.Client)
	if err != nil {
		return nil, err
	}
	t := &target{
		targetID:     state.targetID,
		apiKeyToken:  cfg.APIKeyToken,
		creatorLabel: opts.CreatorLabel,
		client:       c,
		state:        state,
		key:          &state.access.key,
		logger:       log.With(opts.Logger, "target", cfg.Name),
		now:          opts.Now,
	}
	maps.DeleteFunc(state.listings, func(kind client.Kind, _ *listingState) bool { return !slices.Contains(cfg.Kinds, kind) })
	for _, kind := range cfg.Kinds {
		l := &listing{
			kind:  kind,
			list:  func(ctx context.Context) (*result, error) { return t.list(ctx, kind) },
			state: state.listing(kind, t.logger, opts.Now),
			now:   opts.Now,
		}
		l.state.setOwner(l)
		t.listings = append(t.listings, l)
	}
	return t, nil
}

// list reads the API key and lists the tokens of a kind.
func (t *target) list(ctx context.Context, kind client.Kind) (*result, error) {
	credential, err := t.client.Credential(ctx)
	if err != nil {
		return nil, err
	}
	t.key.setKeyExpiry(credential.Expiry)
	list, err := t.client.List(ctx, credential, kind)
	if err != nil {
		return nil, err
	}
	if list.WrongTotal {
		level.Warn(t.logger).Log("msg", "the control plane reported the length of a page as the total of a longer list: from now on, lists are always read to their end",
			"kind", kind)
	}
	return t.result(kind, list), nil
}

// result converts a listing to a result.
func (t *target) result(kind client.Kind, list *client.Listing) *result {
	now := t.now()
	res := &result{Listing: list, rows: t.rows(kind, list.Tokens, now), syncFailures: findSyncFailures(list.Tokens)}
	for i := range list.Tokens {
		token := &list.Tokens[i]
		if t.apiKeyToken != "" && token.Name == t.apiKeyToken {
			res.apiKeyToken = lastIssued(res.apiKeyToken, token)
		}
		switch at := token.Expiry.At; {
		case at.IsZero():
		case !at.After(now):
			res.expired++
		case res.nextExpiry.IsZero() || at.Before(res.nextExpiry):
			res.nextExpiry = at
		}
	}
	if res.apiKeyToken != nil {
		token := *res.apiKeyToken // a copy, so that the other tokens are not retained
		res.apiKeyToken = &token
	}
	list.Tokens = nil
	return res
}

// lastIssued returns the token that was issued last. Either may be nil. Of several
// tokens with the same name, the last one is in use.
func lastIssued(a, b *client.Token) *client.Token {
	if a == nil || b != nil && b.Issued.After(a.Issued) {
		return b
	}
	return a
}

// updateAPIKeyExpiry looks up the expiry of the API key's token if all listings of the
// target succeeded.
func (t *target) updateAPIKeyExpiry(outcomes []outcome) {
	if t.apiKeyToken == "" {
		return
	}
	var found *client.Token
	for _, o := range outcomes {
		if o.result == nil {
			return
		}
		found = lastIssued(found, o.result.apiKeyToken)
	}
	if t.key.setToken(found, t.now()) {
		level.Warn(t.logger).Log("msg", "no listed token has the configured name of the API key's token, so the expiry of the key is unknown",
			"api_key_token", t.apiKeyToken)
	}
}
