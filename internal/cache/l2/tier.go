package l2

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/vega-proxy/vega-proxy/internal/resilience"
)

// Options is what a Tier is built from.
type Options struct {
	Config
	// MaxBytes is the longest value, as Put's callers write it, that is read or
	// written, until Limit sets another.
	MaxBytes int64
	// Clear is called for each clear that another replica made, "" being one of
	// everything. It is called by one goroutine at a time, and before any value is
	// given that was written after that clear.
	Clear func(model string)
	Log   *slog.Logger
}

// Tier is the connection to what the replicas share. It is safe for concurrent use.
type Tier struct {
	opts    Options
	client  *redis.Client
	breaker *resilience.Breaker
	self    string // this replica, in the stream

	mu        sync.Mutex // guards all below
	clears    clears
	settled   chan struct{} // closed when no clear is pending; nil if none is
	lastError string

	limit    atomic.Int64 // of a value, in bytes
	synced   atomic.Bool  // all clears are known
	position atomic.Pointer[Position]

	queue  chan item
	queued atomic.Int64 // bytes in the queue
	wake   chan struct{}

	counts counts
}

// The breaker's own settings: it is tried again in the background alone, which
// costs no request anything, so it need not wait for long.
var breakerConfig = resilience.BreakerConfig{
	Enabled: true, FailThreshold: 5, BaseTimeout: time.Second, MaxTimeout: 5 * time.Second, HalfOpenTestCount: 1,
	ProbeTimeout: 10 * time.Second,
}

const prefix = "vega:1:"

// New prepares a tier and makes no connection; Run does.
func New(opts Options) (*Tier, error) {
	client, err := connect(opts.Config)
	if err != nil {
		return nil, err
	}
	t := &Tier{
		opts: opts, client: client, self: rand.Text(),
		queue: make(chan item, mostQueued), wake: make(chan struct{}, 1),
	}
	t.Limit(opts.MaxBytes)
	t.position.Store(new(Position))
	t.breaker = resilience.NewBreaker("cache.l2", breakerConfig, t.logTransition)
	return t, nil
}

func (t *Tier) logTransition(tr resilience.Transition) {
	level := slog.LevelInfo
	if tr.To == resilience.Open {
		level = slog.LevelWarn
	}
	t.opts.Log.Log(context.Background(), level, "second cache tier", "from", tr.From.String(), "to", tr.To.String(), "cause", tr.Cause)
}

// Close ends the connections. It is for after Run, and for a tier that never ran.
func (t *Tier) Close() {
	if err := t.client.Close(); err != nil && !errors.Is(err, redis.ErrClosed) {
		t.opts.Log.Debug("close the second cache tier", "error", err)
	}
}

// Limit sets the longest value that is read or written from now on, in bytes.
func (t *Tier) Limit(bytes int64) { t.limit.Store(bytes) }

// Position is what a question that begins now is to be put with.
func (t *Tier) Position() Position { return *t.position.Load() }

// usable tells whether a request may ask.
func (t *Tier) usable() bool { return t.synced.Load() && t.breaker.State() == resilience.Closed }

// Get looks the names up at once, and returns a value for each: nil where there is
// none that may be given. It waits for the timeout at most, and not at all while
// the tier is not usable.
func (t *Tier) Get(ctx context.Context, names ...string) [][]byte {
	values := make([][]byte, len(names))
	if !t.usable() {
		return values
	}
	permit, err := t.breaker.Allow()
	if err != nil {
		return values
	}
	ctx, cancel := context.WithTimeout(ctx, t.opts.Timeout)
	defer cancel()
	epoch, limit := t.Position().epoch, t.limit.Load()
	pipe := t.client.Pipeline()
	replies := make([]*redis.StringCmd, len(names))
	for i, name := range names {
		// A longer one is cut, and then no value.
		replies[i] = pipe.GetRange(ctx, fullName(epoch, name), 0, limit+maxWrapping)
	}
	_, err = pipe.Exec(ctx)
	if t.report(permit, err); err != nil && !isReply(err) {
		return values
	}
	found := false
	for i, reply := range replies {
		text, err := reply.Bytes()
		switch {
		case err != nil: // a value of another type
			t.invalid()
		case len(text) > 0:
			values[i] = t.unwrap(fullName(epoch, names[i]), text, limit)
			found = found || values[i] != nil
		}
	}
	if found {
		t.counts.hits.Add(1)
	} else {
		t.counts.misses.Add(1)
	}
	return values
}

// maxWrapping is what an envelope may add to a value.
const maxWrapping = 4 << 10

func fullName(epoch, name string) string { return prefix + epoch + ":" + name }

// unwrap takes a value out of its envelope, or returns nil if it must not be given.
func (t *Tier) unwrap(name string, text []byte, limit int64) []byte {
	e, err := open(text)
	if err != nil || e.name != name || int64(len(e.payload)) > limit {
		t.invalid()
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.clears.void(&e) {
		return nil
	}
	return e.payload
}

// Invalid counts a value that could not be read.
func (t *Tier) Invalid() { t.invalid() }

func (t *Tier) invalid() { t.counts.invalid.Add(1) }

// report tells the breaker how a call went, and counts what went wrong.
func (t *Tier) report(p *resilience.Permit, err error) {
	switch {
	case err == nil:
		p.Report(resilience.Success, "")
	case isReply(err) && !unserving(err):
		p.Report(resilience.Success, "")
	case errors.Is(err, context.Canceled): // nobody waits any more
		p.Report(resilience.Neutral, "")
	default:
		t.failed(err)
		p.Report(resilience.Failure, t.explain(err))
	}
}

func (t *Tier) failed(err error) {
	t.counts.errors.Add(1)
	t.mu.Lock()
	t.lastError = t.explain(err)
	t.mu.Unlock()
}
