package client

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"time"
)

const (
	// maxPages is the number of pages after which a listing gives up.
	maxPages = 10_000
	// A server is taken to repeat itself after this many full pages in a row, with
	// at least this many items in total, that contained nothing new. Fewer are
	// possible: tokens created meanwhile move known ones to later pages.
	maxRepeatedPages = 3
	maxRepeatedItems = 100

	// maxPreallocated bounds the memory allocated for a total before any of its tokens
	// have arrived, in tokens. After that, a tenth of the total has to be there.
	maxPreallocated = 10_000
	maxGrowth       = 10

	maxRetries = 2
	minBackoff = 500 * time.Millisecond
)

// Listing is a whole list.
type Listing struct {
	// Tokens have distinct IDs. Their order has no meaning.
	Tokens []Token
	// Reported is the largest total that the server reported, negative if it
	// reported none. It differs from what was received if the list changed meanwhile.
	Reported int64
	// Duplicates counts the items that were dropped because the list had the same
	// token already.
	Duplicates int
	// WrongTotal is set once for a control plane whose first page reported its own
	// length as the total of a longer list. From then on, a page's own total is no
	// longer taken for the end of the list.
	WrongTotal bool
	DecodeErrors
}

// List returns all tokens of the kind that the credential may see, or an *Error:
// never a part of them. When ctx ends, so do all of its requests. Requests are only
// retried if that is possible before ctx's deadline. If ctx is cancelled, the Error
// is Canceled.
func (c *Client) List(ctx context.Context, credential Credential, kind Kind) (*Listing, error) {
	l := &lister{client: c, credential: credential, kind: kind}
	l.trustsFirstPage = c.cfg.State.trustsFirstPage(kind, c.cfg.Now())
	p, err := l.readPages(ctx)
	if err == nil && p.changed() {
		// Whether the second list is consistent or not, it is the best there is.
		p, err = l.readPages(ctx)
	}
	if err != nil {
		return nil, err
	}
	l.judgeFirstPage(p)
	markReplaced(p.Tokens)
	return &p.Listing, nil
}

// lister is one call of List.
type lister struct {
	client          *Client
	credential      Credential
	kind            Kind
	trustsFirstPage bool

	mu sync.Mutex
	// started is true once a request may be sent.
	started bool
	retries int
	// resume is when any of the requests may be sent, after a Retry-After.
	resume time.Time
}

// pass is one pass through the list, from the first page to the end. It is used by
// one goroutine; only the pages are fetched concurrently.
type pass struct {
	Listing
	first *page
	seen  map[string]bool
	// items counts everything received, including duplicates and items that could
	// not be read.
	items int
	// pageLength is the length of the first page: the server may grant fewer items
	// than were asked for.
	pageLength int
	// lastExpected is the index of the last page that may be requested without
	// waiting for the one before: the one after the total that the first page
	// reported.
	lastExpected int64
	// requested is the number of pages requested, and inFlight the number of those
	// that have not arrived yet.
	requested, inFlight int
	// lastPartial is the index of the last page received that was shorter than the
	// first, -1 if there was none.
	lastPartial int
	// repeatedPages counts the full pages in a row that contained nothing new: known
	// tokens or, beyond the total, unreadable items.
	repeatedPages int
	// totalsDiffer is true if pages reported different totals.
	totalsDiffer bool
}

func newPass(first *page) *pass {
	preallocated := max(0, min(first.total, maxPreallocated))
	p := &pass{
		Listing:     Listing{Tokens: make([]Token, 0, preallocated), Reported: -1},
		first:       first,
		seen:        make(map[string]bool, preallocated),
		pageLength:  first.length,
		requested:   1,
		lastPartial: -1,
	}
	p.InvalidFields = map[Field]int{}
	if p.pageLength > 0 {
		p.lastExpected = max(1, (first.total+int64(p.pageLength)-1)/int64(p.pageLength))
	}
	p.add(0, first)
	return p
}

type fetchedPage struct {
	index int
	page  *page
	err   *Error
}

// readPages reads the list once.
func (l *lister) readPages(ctx context.Context) (*pass, *Error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	cfg := &l.client.cfg

	first, failure := l.fetch(ctx, 0, cfg.MaxTokens)
	if failure != nil {
		return nil, failure
	}
	p := newPass(first)
	if l.isWholeList(first) {
		return p, nil
	}
	pages := make(chan fetchedPage)
	for failure == nil || p.inFlight > 0 {
		for failure == nil && p.needsNext(cfg.Limiter.maxPages()) {
			if failure = p.checkEndless(); failure != nil {
				cancel()
				break
			}
			index := p.requested
			p.requested++
			p.inFlight++
			go func() {
				// A page longer than the first, or than what was asked for, is not bounded
				// by anything that is known.
				page, err := l.fetch(ctx, index*p.pageLength, max(cfg.PageSize, p.pageLength))
				pages <- fetchedPage{index: index, page: page, err: err}
			}()
		}
		if p.inFlight == 0 {
			break
		}
		fetched := <-pages
		p.inFlight--
		switch {
		case failure != nil && !failure.saysLessThan(fetched.err):
			// The pages that were still in flight are of no use.
		case fetched.err != nil:
			failure = fetched.err
		default:
			p.add(fetched.index, fetched.page)
			if p.items > cfg.MaxTokens {
				failure = l.client.tooManyTokens()
			}
		}
		if failure != nil {
			cancel()
		}
	}
	if failure != nil {
		return nil, failure
	}
	return p, nil
}

// claimsWholeList reports whether a first page shows two independent signs that
// it is the whole list: it has fewer items than were asked for, and its own total
// is that number.
func (l *lister) claimsWholeList(first *page) bool {
	return first.length < l.client.cfg.PageSize && first.total == int64(first.length)
}

// isWholeList reports whether the list ends with its first page. A server that
// clamps pages may call a page's length the total. So either the server confirms
// that it has granted as many items as were asked for, or it has proven within the
// last hour that its first page is the whole list.
func (l *lister) isWholeList(first *page) bool {
	if first.limit != nil {
		return l.claimsWholeList(first) && *first.limit >= int64(l.client.cfg.PageSize)
	}
	return l.claimsWholeList(first) && l.trustsFirstPage
}

// judgeFirstPage compares what the first page claimed with the list that was read
// to its end.
func (l *lister) judgeFirstPage(p *pass) {
	if l.isWholeList(p.first) || p.first.limit != nil || !l.claimsWholeList(p.first) {
		return
	}
	state, now := l.client.cfg.State, l.client.cfg.Now()
	if p.items > p.pageLength {
		p.WrongTotal = state.distrustFirstPage()
	} else {
		state.confirmFirstPage(l.kind, now)
	}
}

// needsNext reports whether the next page should be requested now. Pages are
// requested concurrently up to the total, and one beyond it. After that, or after a
// partial page, they are requested one after the other. The list ends when nothing
// is in flight and the last page requested was empty or shorter than the first.
func (p *pass) needsNext(concurrency int) bool {
	if p.pageLength == 0 {
		return false
	}
	if p.inFlight == 0 {
		return p.lastPartial < p.requested-1
	}
	return p.inFlight < concurrency && p.lastPartial < 0 && int64(p.requested) <= p.lastExpected
}

// add takes in the page with this index.
func (p *pass) add(index int, page *page) {
	p.items += page.length
	known := 0
	for i := range page.tokens {
		if p.seen[page.tokens[i].ID] {
			known++
			continue
		}
		if len(p.Tokens) == cap(p.Tokens) {
			p.grow()
		}
		p.seen[page.tokens[i].ID] = true
		p.Tokens = append(p.Tokens, page.tokens[i])
		for _, invalid := range page.invalidValues[i] {
			page.addValue(InvalidValue{ID: page.tokens[i].ID, Field: invalid.field, Offset: page.offsets[i]}, invalid.count)
		}
	}
	p.Duplicates += known
	p.DecodeErrors.add(&page.DecodeErrors)

	if page.total >= 0 {
		p.totalsDiffer = p.totalsDiffer || p.Reported >= 0 && page.total != p.Reported
		p.Reported = max(p.Reported, page.total)
	}
	switch {
	case page.length < p.pageLength:
		p.lastPartial = max(p.lastPartial, index)
	case known == len(page.tokens) && (known > 0 || int64(index*p.pageLength) >= p.Reported):
		p.repeatedPages++
	default:
		p.repeatedPages = 0
	}
}

// grow makes room for all tokens that the server reported: growing little by little
// would copy each token several times.
func (p *pass) grow() {
	if total := min(p.Reported, int64(maxGrowth*len(p.Tokens))); total > int64(len(p.Tokens)) {
		p.Tokens = slices.Grow(p.Tokens, int(total)-len(p.Tokens))
		seen := make(map[string]bool, total)
		maps.Copy(seen, p.seen)
		p.seen = seen
	}
}

// repeatsItself reports whether the server sends the same tokens for ever.
func (p *pass) repeatsItself() bool {
	return p.repeatedPages >= maxRepeatedPages && p.repeatedPages*p.pageLength >= maxRepeatedItems
}

// changed reports whether the list changed while it was read: fewer items were
// received than a page reported, or the pages reported different totals.
func (p *pass) changed() bool {
	return p.totalsDiffer || int64(len(p.Tokens)+p.InvalidItems) < p.Reported
}

// checkEndless returns an Error if the end of the list cannot be found.
func (p *pass) checkEndless() *Error {
	switch {
	case p.repeatsItself():
		return &Error{
			Reason:  ReasonIncomplete,
			Summary: fmt.Sprintf("the list has no end: after %d pages of %d items the server repeats itself", p.requested, p.pageLength),
			Advice:  "check whether a proxy drops the query from URLs",
		}
	case p.requested == maxPages:
		return &Error{
			Reason:  ReasonIncomplete,
			Summary: fmt.Sprintf("the list has no end within %d pages of %d items, which is what the server grants at a time", p.requested, p.pageLength),
			Advice:  "raise --truefoundry.page-size if it is less than that; else find out why the list is so long",
		}
	}
	return nil
}

// fetch gets one page, with the retries that the listing has left.
func (l *lister) fetch(ctx context.Context, offset, maxItems int) (*page, *Error) {
	request := pageRequest{credential: l.credential, kind: l.kind, offset: offset, maxItems: maxItems}
	var previous *Error // of the attempt before this one
	for {
		slot, err := l.acquire(ctx)
		if err != nil {
			return nil, err.orCause(previous)
		}
		if previous != nil {
			l.client.cfg.Trace.Retry()
		}
		page, err := l.client.get(ctx, request, slot)
		// Before the slot is released: the request that gets it has to respect a
		// Retry-After.
		wait, retry := l.planRetry(ctx, err)
		slot.release()
		switch {
		case err == nil:
			return page, nil
		case !retry:
			return nil, err.orCause(previous)
		case !sleep(ctx, wait):
			return nil, ContextError(ctx).orCause(err)
		}
		previous = err
	}
}

// acquire waits until a request may be sent: for a slot of the Limiter, and for the
// Retry-After of another request. It fails if that is too late for this listing, or
// if ctx ends.
func (l *lister) acquire(ctx context.Context) (*slot, *Error) {
	cfg := &l.client.cfg
	for {
		slot := cfg.Limiter.acquire(ctx)
		if slot == nil {
			return nil, l.limiterError(ctx)
		}
		end, cause := cfg.State.rateLimit(cfg.Now())
		wait := l.resumesIn()
		if end.IsZero() && wait <= 0 {
			l.start()
			return slot, nil
		}
		slot.release()
		if !end.IsZero() {
			return nil, &Error{
				Reason:  ReasonRateLimited,
				Summary: fmt.Sprintf("nothing is sent until %s, as the response %q demanded with Retry-After", end.UTC().Format(time.RFC3339), cause),
				Advice:  "scrape less often if this happens again",
			}
		}
		if !sleep(ctx, wait) {
			return nil, ContextError(ctx)
		}
	}
}

// planRetry uses up one of the listing's retries, returns how long to wait for it,
// and holds the other requests back for as long as the server asked. It returns
// false if a retry is of no use, if none is left, and if it would be too late for
// ctx's deadline; then it remembers what the server asked for.
func (l *lister) planRetry(ctx context.Context, failure *Error) (wait time.Duration, ok bool) {
	if failure == nil || !failure.isTemporary() {
		return 0, false
	}
	cfg := &l.client.cfg
	l.mu.Lock()
	defer l.mu.Unlock()
	backoff := minBackoff << l.retries
	// The jitter keeps several exporters from returning at the same time.
	jittered := backoff/2 + rand.N(backoff/2) //nolint:gosec // nobody gains by guessing it
	wait = max(failure.retryAfter, jittered)
	deadline, limited := ctx.Deadline()
	if l.retries == maxRetries || limited && wait >= time.Until(deadline) {
		if failure.retryAfter > 0 {
			cfg.State.setRateLimit(cfg.Now().Add(min(failure.retryAfter, maxRateLimit)), failure.Summary)
		}
		return 0, false
	}
	l.retries++
	if resume := cfg.Now().Add(failure.retryAfter); resume.After(l.resume) {
		l.resume = resume
	}
	return wait, true
}

// start records that a request may be sent.
func (l *lister) start() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.started = true
}

// limiterError returns the Error for a request that got no slot before ctx ended. If
// it is the first one, others took all the time.
func (l *lister) limiterError(ctx context.Context) *Error {
	failure := ContextError(ctx)
	l.mu.Lock()
	defer l.mu.Unlock()
	if failure.late && !l.started {
		failure.Summary = "nothing could be sent within the scrape's deadline, because requests of other listings to the same control plane took all of it"
		failure.Advice = "see why those take so long; if the control plane can do more at a time, raise --truefoundry.max-concurrency"
	}
	return failure
}

// resumesIn returns how long it is until requests may be sent again.
func (l *lister) resumesIn() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.resume.Sub(l.client.cfg.Now())
}

// sleep waits. It returns false as soon as ctx ends.
func sleep(ctx context.Context, wait time.Duration) bool {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}
