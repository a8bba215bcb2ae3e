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
	// maxPages is the maximum number of pages in a list.
	maxPages = 10_000
	// A listing fails after maxRepeatedPages consecutive full pages, with at least
	// maxRepeatedItems items, without a new token. Fewer repeated pages are normal: new
	// tokens move other tokens to later pages.
	maxRepeatedPages = 3
	maxRepeatedItems = 100

	// These limit how much memory is allocated because of the server's total: at first,
	// for at most maxPreallocated tokens, and later for at most maxGrowth times the
	// received tokens.
	maxPreallocated = 10_000
	maxGrowth       = 10

	// maxRetries is the maximum number of retries per listing, and initialBackoff the
	// longest wait before the first one.
	maxRetries     = 2
	initialBackoff = 500 * time.Millisecond
)

// Listing is a complete list of tokens.
type Listing struct {
	// Tokens have distinct IDs. They are in no particular order.
	Tokens []Token
	// Reported is the largest total that the server reported, or -1 if it reported
	// none. It may differ from the number of items, for example if the list changed.
	Reported int64
	// Duplicates is the number of items that were dropped because their ID had occurred
	// before.
	Duplicates int
	// WrongTotal is true if the first page reported its own length as the total of a
	// longer list. It is only true for the first such listing of a State: after that,
	// lists are read to their end whatever the total.
	WrongTotal bool
	DecodeErrors
}

// List returns all tokens of the kind that are visible to the credential. It never
// returns a part of them. Errors are of type *Error; if ctx is cancelled, the Error is
// Canceled. Failed requests are retried if there is time before the deadline of ctx.
func (c *Client) List(ctx context.Context, credential Credential, kind Kind) (*Listing, error) {
	l := &lister{client: c, credential: credential, kind: kind}
	l.trustsFirstPage = c.cfg.State.trustsFirstPage(kind, c.cfg.Now())
	p, err := l.readPages(ctx)
	if err == nil && p.changed() {
		// The second list is returned even if it is inconsistent, too.
		p, err = l.readPages(ctx)
	}
	if err != nil {
		return nil, err
	}
	l.learnFromFirstPage(p)
	markReplaced(p.Tokens)
	return &p.Listing, nil
}

// lister is a call of List.
type lister struct {
	client     *Client
	credential Credential
	kind       Kind
	// trustsFirstPage is State.trustsFirstPage at the start.
	trustsFirstPage bool

	mu sync.Mutex
	// started is true after the first request was permitted.
	started bool
	retries int
	// resumeAt is the end of the current Retry-After, for all pages.
	resumeAt time.Time
}

// pass is one pass through the list. Pages are fetched concurrently, but only one
// goroutine uses the pass.
type pass struct {
	Listing
	first *page
	seen  map[string]bool // by ID
	// items is the number of items received, including duplicates and invalid items.
	items int
	// pageLength is the length of the first page. It is less than the page size if the
	// server limits it.
	pageLength int
	// lastConcurrent is the index of the last page that may be requested before the
	// previous one has arrived: the first page beyond the total.
	lastConcurrent int64
	// requested is the number of pages requested so far. inFlight is the number of those
	// that have not arrived.
	requested, inFlight int
	// lastPartial is the highest index of a page shorter than the first, or -1.
	lastPartial int
	// repeatedPages is the number of consecutive full pages without a new token. Pages of
	// invalid items only count beyond the total.
	repeatedPages int
	// totalsDiffer is true if the pages reported different totals.
	totalsDiffer bool
}

// newPass returns a pass that has received the first page.
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
		p.lastConcurrent = max(1, (first.total+int64(p.pageLength)-1)/int64(p.pageLength))
	}
	p.add(0, first)
	return p
}

// fetchedPage is a page or the error of its request.
type fetchedPage struct {
	index int
	page  *page
	err   *Error
}

// readPages reads the list once.
func (l *lister) readPages(ctx context.Context) (*pass, *Error) {
	first, err := l.fetch(ctx, 0, l.client.cfg.MaxTokens)
	if err != nil {
		return nil, err
	}
	p := newPass(first)
	if l.isComplete(first) {
		return p, nil
	}
	if err = l.readRest(ctx, p); err != nil {
		return nil, err
	}
	return p, nil
}

// readRest reads all pages but the first. After an error, it cancels the requests in
// flight, waits for them, and returns the most specific error.
func (l *lister) readRest(ctx context.Context, p *pass) (failure *Error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	cfg := &l.client.cfg
	pages := make(chan fetchedPage)
	for {
		for failure == nil && p.needsNext(cfg.Limiter.maxPages()) {
			if failure = p.checkEndless(); failure == nil {
				l.startFetch(ctx, p, pages)
			}
		}
		if failure != nil {
			cancel()
		}
		if p.inFlight == 0 {
			return failure
		}
		fetched := <-pages
		p.inFlight--
		switch {
		case failure == nil && fetched.err == nil:
			p.add(fetched.index, fetched.page)
			if p.items > cfg.MaxTokens {
				failure = l.client.tooManyTokens()
			}
		case failure == nil || failure.lessSpecificThan(fetched.err):
			failure = fetched.err
		}
	}
}

// startFetch requests the next page. The result is sent to pages.
func (l *lister) startFetch(ctx context.Context, p *pass, pages chan<- fetchedPage) {
	index := p.requested
	p.requested++
	p.inFlight++
	// A page that is longer than requested, and longer than the first, is not accepted:
	// nothing would limit its memory.
	offset, maxItems := index*p.pageLength, max(l.client.cfg.PageSize, p.pageLength)
	go func() {
		page, err := l.fetch(ctx, offset, maxItems)
		pages <- fetchedPage{index: index, page: page, err: err}
	}()
}

// looksComplete reports whether the first page seems to be the whole list: it has fewer
// items than requested, and its total is equal to its length.
func (l *lister) looksComplete(first *page) bool {
	return first.length < l.client.cfg.PageSize && first.total == int64(first.length)
}

// isComplete reports whether the first page is the whole list. A first page that looks
// complete may not be: some servers limit the page size and report the length of the page
// as the total. Therefore the server must also confirm the page size, or a listing within
// the last hour must have found no other pages.
func (l *lister) isComplete(first *page) bool {
	if first.limit != nil {
		return l.looksComplete(first) && *first.limit >= int64(l.client.cfg.PageSize)
	}
	return l.looksComplete(first) && l.trustsFirstPage
}

// learnFromFirstPage records whether a first page that looked complete was complete.
func (l *lister) learnFromFirstPage(p *pass) {
	if p.first.limit != nil || l.trustsFirstPage || !l.looksComplete(p.first) {
		return
	}
	state := l.client.cfg.State
	if p.items > p.pageLength {
		p.WrongTotal = state.distrustFirstPage()
	} else {
		state.confirmFirstPage(l.kind, l.client.cfg.Now())
	}
}

// needsNext reports whether to request the next page now. Pages are requested concurrently
// up to the total and one page beyond it. After that, or after a partial page, they are
// requested one by one. The list ends when no request is in flight and the last page was
// shorter than the first.
func (p *pass) needsNext(concurrency int) bool {
	if p.pageLength == 0 {
		return false
	}
	if p.inFlight == 0 {
		return p.lastPartial < p.requested-1
	}
	return p.inFlight < concurrency && p.lastPartial < 0 && int64(p.requested) <= p.lastConcurrent
}

// add adds the page with this index.
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

// grow allocates memory for the reported total, within maxGrowth. Growing step by step
// would copy each token several times.
func (p *pass) grow() {
	if total := min(p.Reported, int64(maxGrowth*len(p.Tokens))); total > int64(len(p.Tokens)) {
		p.Tokens = slices.Grow(p.Tokens, int(total)-len(p.Tokens))
		seen := make(map[string]bool, total)
		maps.Copy(seen, p.seen)
		p.seen = seen
	}
}

// repeatsItself reports whether the server seems to send the same tokens forever.
func (p *pass) repeatsItself() bool {
	return p.repeatedPages >= maxRepeatedPages && p.repeatedPages*p.pageLength >= maxRepeatedItems
}

// changed reports whether the list seems to have changed while it was read: there were
// fewer items than reported, or the pages reported different totals.
func (p *pass) changed() bool {
	return p.totalsDiffer || int64(len(p.Tokens)+p.InvalidItems) < p.Reported
}

// checkEndless returns an Error if the list seems to have no end.
func (p *pass) checkEndless() *Error {
	switch {
	case p.repeatsItself():
		return &Error{
			Reason:  ReasonIncomplete,
			Summary: fmt.Sprintf("the list has no end: after %d pages of %d items, the server repeats itself", p.requested, p.pageLength),
			Advice:  "check whether a proxy drops the query from URLs",
		}
	case p.requested == maxPages:
		return &Error{
			Reason:  ReasonIncomplete,
			Summary: fmt.Sprintf("the list has no end within %d pages of %d items", p.requested, p.pageLength),
			Advice:  "raise --truefoundry.page-size if the server allows larger pages; otherwise find out why the list is so long",
		}
	}
	return nil
}

// fetch requests a page, with the remaining retries of the listing.
func (l *lister) fetch(ctx context.Context, offset, maxItems int) (*page, *Error) {
	request := pageRequest{credential: l.credential, kind: l.kind, offset: offset, maxItems: maxItems}
	var previous *Error
	for {
		slot, err := l.acquire(ctx)
		if err != nil {
			return nil, err.orCause(previous)
		}
		if previous != nil {
			l.client.cfg.Trace.Retry()
		}
		page, err := l.client.get(ctx, request, slot)
		// This comes before the release, so that the next request respects a Retry-After.
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

// acquire waits until a request is permitted: for a slot of the Limiter and for the end of
// a Retry-After. It returns an error if the State has a rate limit, or if ctx ends.
func (l *lister) acquire(ctx context.Context) (*slot, *Error) {
	cfg := &l.client.cfg
	for {
		slot := cfg.Limiter.acquire(ctx)
		if slot == nil {
			return nil, l.limiterError(ctx)
		}
		if end, cause := cfg.State.rateLimit(cfg.Now()); !end.IsZero() {
			slot.release()
			return nil, &Error{
				Reason:  ReasonRateLimited,
				Summary: fmt.Sprintf("no request is sent before %s, because of the Retry-After of the response %q", end.UTC().Format(time.RFC3339), cause),
				Advice:  "scrape less often if this happens again",
			}
		}
		wait := l.tryStart()
		if wait <= 0 {
			return slot, nil
		}
		slot.release()
		if !sleep(ctx, wait) {
			return nil, ContextError(ctx)
		}
	}
}

// planRetry returns how long to wait for a retry, and counts it. A Retry-After delays the
// other requests of the listing, too. planRetry returns false if a retry is of no use, if
// none is left, or if it would be after the deadline of ctx; in these cases, a Retry-After
// becomes the rate limit of the State.
func (l *lister) planRetry(ctx context.Context, failure *Error) (wait time.Duration, ok bool) {
	if failure == nil || !failure.isTemporary() {
		return 0, false
	}
	cfg := &l.client.cfg
	l.mu.Lock()
	defer l.mu.Unlock()
	backoff := initialBackoff << l.retries
	// Jitter prevents several exporters from retrying at the same time.
	jittered := backoff/2 + rand.N(backoff/2) //nolint:gosec // need not be unpredictable
	wait = max(failure.retryAfter, jittered)
	deadline, limited := ctx.Deadline()
	if l.retries == maxRetries || limited && wait >= time.Until(deadline) {
		if failure.retryAfter > 0 {
			cfg.State.setRateLimit(cfg.Now().Add(min(failure.retryAfter, maxRateLimit)), failure.Summary)
		}
		return 0, false
	}
	l.retries++
	if end := cfg.Now().Add(failure.retryAfter); end.After(l.resumeAt) {
		l.resumeAt = end
	}
	return wait, true
}

// tryStart returns the time until the end of the current Retry-After. If that is not
// positive, a request is permitted, and tryStart records it.
func (l *lister) tryStart() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	wait := l.resumeAt.Sub(l.client.cfg.Now())
	l.started = l.started || wait <= 0
	return wait
}

// limiterError returns the Error for a request that got no slot before ctx ended. Before
// the first request, the cause is other listings.
func (l *lister) limiterError(ctx context.Context) *Error {
	failure := ContextError(ctx)
	l.mu.Lock()
	defer l.mu.Unlock()
	if failure.deadlineExceeded && !l.started {
		failure.Summary = "no request could be sent before the scrape's deadline, because other listings used all concurrent requests to this control plane"
		failure.Advice = "find out why they take so long; if the control plane can handle more requests at a time, raise --truefoundry.max-concurrency"
	}
	return failure
}

// sleep waits. It returns false if ctx ends first.
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
