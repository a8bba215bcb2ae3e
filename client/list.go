package client

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"
)

const (
	// maxPages is where a listing gives up: at the largest page size, ten
	// million tokens.
	maxPages = 10_000
	// The server is taken to repeat itself after this many full pages in a row,
	// with together at least this many items, that held nothing new. Fewer can
	// be honest: tokens created meanwhile push known ones onto later pages.
	maxRepeatedPages = 3
	maxRepeatedItems = 100

	// maxExpected bounds what is set aside for tokens on the word of a total.
	maxExpected = 10_000

	maxRetries = 2
	minBackoff = 500 * time.Millisecond
	// maxBan is the longest that a Retry-After is remembered.
	maxBan = 5 * time.Minute
)

// Listing is a whole list.
type Listing struct {
	// Tokens are distinct by their IDs. Their order is of no meaning.
	Tokens []Token
	// Reported is the largest total that the server told, negative where it
	// told none. It differs from what came where the list changed meanwhile.
	Reported int64
	// Duplicates counts the items dropped because their token was there already.
	Duplicates int
	Losses
}

// List returns all tokens of the kind that key can see, or an *Error: never a
// part of them. It ends when ctx does, with all of its requests, and waits for a
// retry only where ctx's deadline leaves the time. A listing whose ctx is
// cancelled has not failed: the Error is Canceled.
func (c *Client) List(ctx context.Context, key Key, kind Kind) (*Listing, error) {
	l := &lister{client: c, key: key, kind: kind}
	w, err := l.walk(ctx)
	if err == nil && w.changed() {
		// Whether the second list differs or not, it is the best there is.
		w, err = l.walk(ctx)
	}
	if err != nil {
		return nil, err
	}
	// Pages come in any order, so sort by offset: what is logged must not change
	// from scrape to scrape. As a uint, the -1 of pagination.total comes last.
	slices.SortStableFunc(w.Unreadable, func(a, b Unreadable) int { return cmp.Compare(uint(a.Offset), uint(b.Offset)) })
	w.Unreadable = w.Unreadable[:min(len(w.Unreadable), maxUnreadable)]
	markReplaced(w.Tokens)
	if l.client.cfg.Discreet {
		hideErrors(w.Tokens)
	}
	return &w.Listing, nil
}

// lister is one call of List.
type lister struct {
	client *Client
	key    Key
	kind   Kind

	mu      sync.Mutex
	retries int
	// resume is when the server may be asked again, by any of the requests.
	resume time.Time
}

// walk is one way through the list, from its first page to its end. It is used
// by one goroutine; only the pages are fetched concurrently.
type walk struct {
	Listing
	seen map[string]bool
	// step is the length of page 1: the server may grant less than was asked.
	step int
	// planned is the last page, counted from 0, that page 1's total lets us
	// ask for without knowing the one before: the one beyond the total.
	planned int64
	// asked is the number of pages asked for, and outstanding those of them
	// that did not come yet.
	asked, outstanding int
	// short is the last page, counted from 0, that came and was shorter than
	// page 1; -1 where none was.
	short int
	// repeats counts the full pages in a row that held nothing new: known tokens
	// or, beyond the total, unreadable items.
	repeats int
	// totalsDiffer: pages told different totals.
	totalsDiffer bool
}

type fetched struct {
	index int
	page  *page
	err   *Error
}

func (l *lister) walk(ctx context.Context) (*walk, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()

	first, failure := l.fetch(ctx, 0)
	if failure != nil {
		return nil, failure
	}
	expected := max(0, min(first.total, maxExpected))
	w := &walk{
		Listing: Listing{Tokens: make([]Token, 0, expected), Reported: -1, Losses: Losses{InvalidFields: map[Field]int{}}},
		seen:    make(map[string]bool, expected),
		step:    first.length,
		asked:   1,
		short:   -1,
	}
	if w.step > 0 {
		w.planned = max(1, (first.total+int64(w.step)-1)/int64(w.step))
	}
	w.add(0, first)

	pages := make(chan fetched)
	for failure == nil || w.outstanding > 0 {
		for failure == nil && w.wantsNext(l.client.cfg.Limiter.ahead()) {
			if w.asked == maxPages || w.repeatsItself() {
				failure = w.endless()
				cancel()
				break
			}
			index := w.asked
			w.asked++
			w.outstanding++
			go func() {
				p, err := l.fetch(ctx, index*w.step)
				pages <- fetched{index: index, page: p, err: err}
			}()
		}
		if w.outstanding == 0 {
			break
		}
		answer := <-pages
		w.outstanding--
		switch {
		case answer.err == nil:
			w.add(answer.index, answer.page)
		case failure == nil:
			failure = answer.err
			cancel() // the others' answers are of no use any more
		}
	}
	if failure != nil {
		return nil, failure
	}
	return w, nil
}

// wantsNext tells whether the next page should be asked for now: it may run
// beside others as far as the total goes, and one beyond; after that, or after
// a short page, one page follows another. The list ends where nothing is
// outstanding and the last page asked for is empty or shorter than page 1.
func (w *walk) wantsNext(concurrency int) bool {
	if w.step == 0 {
		return false
	}
	if w.outstanding == 0 {
		return w.short < w.asked-1
	}
	return w.outstanding < concurrency && w.short < 0 && int64(w.asked) <= w.planned
}

// add takes in the page with this index.
func (w *walk) add(index int, p *page) {
	known := 0
	for i, token := range p.tokens {
		if w.seen[token.ID] {
			known++
			continue
		}
		w.seen[token.ID] = true
		w.Tokens = append(w.Tokens, token)
		for _, lost := range p.values[i] {
			p.lose(lost)
		}
	}
	w.Duplicates += known
	w.Losses.add(&p.Losses)

	if p.total >= 0 {
		w.totalsDiffer = w.totalsDiffer || w.Reported >= 0 && p.total != w.Reported
		w.Reported = max(w.Reported, p.total)
	}
	switch {
	case p.length < w.step:
		w.short = max(w.short, index)
	case known == len(p.tokens) && (known > 0 || int64(index*w.step) >= w.Reported):
		w.repeats++
	default:
		w.repeats = 0
	}
}

// repeatsItself tells whether the server sends the same tokens for ever.
func (w *walk) repeatsItself() bool {
	return w.repeats >= maxRepeatedPages && w.repeats*w.step >= maxRepeatedItems
}

// changed tells whether the list changed underneath: fewer items came than a
// page told, or the pages told different totals.
func (w *walk) changed() bool {
	return w.totalsDiffer || int64(len(w.Tokens)+w.InvalidItems) < w.Reported
}

// endless is the Error of a list whose end cannot be found.
func (w *walk) endless() *Error {
	if w.repeatsItself() {
		return &Error{
			Reason: ReasonIncomplete,
			What:   fmt.Sprintf("the list has no end: after %d pages of %d items the server repeats itself", w.asked, w.step),
			Advice: "look whether a proxy drops the query from URLs",
		}
	}
	return &Error{
		Reason: ReasonIncomplete,
		What:   fmt.Sprintf("the list has no end within %d pages of %d items, which is what the server grants at a time", w.asked, w.step),
		Advice: "raise --truefoundry.page-size if it is less than that; else find out why the list is so long",
	}
}

// fetch gets one page, with the retries that the listing has left.
func (l *lister) fetch(ctx context.Context, offset int) (*page, *Error) {
	for repeated := false; ; repeated = true {
		if err := l.acquire(ctx); err != nil {
			return nil, err
		}
		if repeated {
			l.client.cfg.Trace.Retry()
		}
		received := sync.OnceFunc(l.client.cfg.Limiter.received)
		p, err := l.client.get(ctx, l.key, l.kind, offset, received)
		// Before the slot is free: whoever gets it has to know.
		wait, again := l.retry(ctx, err)
		received()
		l.client.cfg.Limiter.decoded()
		switch {
		case err == nil:
			return p, nil
		case !again:
			err.clean(append(l.client.cfg.Secrets(), l.key.secret, l.key.password)...)
			return nil, err
		case !sleep(ctx, wait):
			return nil, StoppedError(ctx)
		}
	}
}

// acquire waits until the server may be asked: for a slot of the Limiter, and
// for what a Retry-After of another request says. It fails where that is beyond
// this listing, and where ctx ends.
func (l *lister) acquire(ctx context.Context) *Error {
	for {
		if !l.client.cfg.Limiter.acquire(ctx) {
			return StoppedError(ctx)
		}
		until, banned := l.client.cfg.Ban.lasts(l.client.cfg.Now())
		wait := l.resumption()
		if !banned && wait <= 0 {
			return nil
		}
		l.client.cfg.Limiter.received()
		l.client.cfg.Limiter.decoded()
		if banned {
			return &Error{
				Reason: ReasonRateLimited,
				What:   "the control plane asked to be left alone; nothing is sent until " + until.UTC().Format(time.RFC3339),
				Advice: "scrape less often if this happens again",
			}
		}
		if !sleep(ctx, wait) {
			return StoppedError(ctx)
		}
	}
}

// retry takes one of the listing's retries, tells how long to wait for it, and
// holds the other requests back for as long as the server asked. It returns
// false where another try is of no use, where no retry is left, and where none
// is due before ctx's deadline; what the server asked is remembered then.
func (l *lister) retry(ctx context.Context, failure *Error) (wait time.Duration, ok bool) {
	if failure == nil || !failure.temporary() {
		return 0, false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	backoff := minBackoff << l.retries
	// Jitter keeps several exporters from coming back together.
	jittered := backoff/2 + rand.N(backoff/2) //nolint:gosec // nobody gains by guessing it
	wait = max(failure.retryAfter, jittered)
	deadline, limited := ctx.Deadline()
	if l.retries == maxRetries || limited && wait >= time.Until(deadline) {
		if failure.retryAfter > 0 {
			l.client.cfg.Ban.extend(l.client.cfg.Now().Add(min(failure.retryAfter, maxBan)))
		}
		return 0, false
	}
	l.retries++
	if resume := l.client.cfg.Now().Add(failure.retryAfter); resume.After(l.resume) {
		l.resume = resume
	}
	return wait, true
}

// resumption returns how long it is until the server may be asked again.
func (l *lister) resumption() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.resume.Sub(l.client.cfg.Now())
}

// sleep waits, and returns false as soon as ctx ends.
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
