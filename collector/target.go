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

// Target is a control plane to be asked with one API key.
type Target struct {
	// Name is the value of the label target. It is unique.
	Name string
	// Kinds are the kinds of token to list, at least one.
	Kinds []client.Kind
	// APIKeyToken is the name of the listed token that the API key belongs to. It
	// tells when a key ends that does not say so itself. It may be empty.
	APIKeyToken string
	// Identity changes with the URL and with the source of the API key. While it
	// is the same, what is known of the key and of the control plane (such as a
	// Retry-After) survives Set.
	Identity string
	// Client configures the target's client. The Collector sets its Trace and its
	// State.
	Client client.Config
}

// target is a Target with its client and its listings.
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

// list reads the API key and lists the tokens that it can see.
func (t *target) list(ctx context.Context, kind client.Kind) (*result, error) {
	credential, err := t.client.Credential(ctx)
	if err != nil {
		return nil, err
	}
	t.key.setExpiry(credential.Expiry)
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

// result makes the result of a listing.
func (t *target) result(kind client.Kind, list *client.Listing) *result {
	now := t.now()
	res := &result{Listing: list, rows: t.rows(kind, list.Tokens, now)}
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
		token := *res.apiKeyToken // a copy, to let go of the others
		res.apiKeyToken = &token
	}
	list.Tokens = nil
	return res
}

// lastIssued returns the token that was issued last. Either may be nil. Of tokens
// that have the same name, that is the one in use.
func lastIssued(a, b *client.Token) *client.Token {
	if a == nil || b != nil && b.Issued.After(a.Issued) {
		return b
	}
	return a
}

// updateAPIKeyExpiry looks for the token that the API key belongs to, if all
// listings of the target succeeded.
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
		level.Warn(t.logger).Log("msg", "no listed token has the name given for the API key's token, so it is not known when the key ends",
			"api_key_token", t.apiKeyToken)
	}
}
