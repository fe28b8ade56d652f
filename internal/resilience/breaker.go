package resilience

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sony/gobreaker/v2"
)

// State is where a breaker stands. The numbers are those of the metric
// circuit_breaker_state, and gobreaker's.
type State uint8

const (
	Closed   State = iota // every request is admitted
	HalfOpen              // a few probes are admitted
	Open                  // nothing is admitted
)

// String returns "closed", "half_open" or "open".
func (s State) String() string { return [...]string{"closed", "half_open", "open"}[s] }

// MarshalText is String, for JSON.
func (s State) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Transition tells of one change of state. OpenFor is the open time that was drawn,
// 0 unless To is Open; Openings counts the openings since the last recovery, this
// one included.
type Transition struct {
	Name     string
	From, To State
	Cause    string
	OpenFor  time.Duration
	Openings int
}

// OpenError refuses a request: the breaker is open, or half-open with all its
// probes out. RetryAfter is rounded up to the millisecond. It is shared between
// callers and must not be changed.
type OpenError struct {
	Name       string
	RetryAfter time.Duration
}

func (e *OpenError) Error() string {
	return fmt.Sprintf("circuit breaker %q is open: try again in %s", e.Name, e.RetryAfter)
}

// busyRetryAfter is for requests beyond the probe slots: the breaker is deciding,
// and a probe needs only its first event to be judged.
const busyRetryAfter = time.Second

var errFailed = errors.New("failed") // all that gobreaker needs to know

// Breaker is the circuit breaker of one upstream. All methods may be called from
// any goroutine.
//
// The work is shared with gobreaker like this: gobreaker counts the run of failures
// while closed and owns the state machine; Breaker decides when an open one is
// tried again and who may be a probe. To gobreaker a half-open period is one
// request, which succeeds when enough probes did and fails with the first that
// fails. So open times can grow, slots can expire, and a reload can change any
// setting, none of which gobreaker knows.
type Breaker struct {
	name         string
	onTransition func(Transition)
	busy         *OpenError

	// The whole fast path: a closed phase admits, an open one with time left
	// refuses. Replaced, under mu, at each change of state.
	phase atomic.Pointer[phase]

	succeeded, failed, neutral, rejected atomic.Int64

	mu         sync.Mutex // guards what follows, and every call into engine
	cfg        BreakerConfig
	engine     *gobreaker.TwoStepCircuitBreaker[struct{}]
	cause      string // of the change of state that the next call into engine may bring
	failCount  int    // failures since it last closed
	run        int    // failures in a row; unlike gobreaker's it outlives the opening
	openings   int    // since the last recovery
	lastError  string
	moves      [Open + 1][Open + 1]int64
	recoveries int64
	outbox     []Transition
	delivering bool
}

// phase is the time between two changes of state. A permit remembers its phase, so
// a result from before a change is known by its pointer.
type phase struct {
	state   State
	since   time.Time
	retryAt time.Time // of an open phase
	refusal atomic.Pointer[OpenError]

	// The half-open period that runs, or that led to this closed phase. Guarded by
	// Breaker.mu.
	trial *trial
}

// trial is one half-open period. Guarded by Breaker.mu.
type trial struct {
	out, good int
	verdict   func(error) // gobreaker's
}

// NewBreaker returns a closed breaker. The settings must have been validated: every
// number and duration positive. onTransition, which may be nil, is called for each
// change of state, in order, one at a time, outside every lock, by the goroutine
// that caused it or by one that is delivering already; it may call the breaker, and
// must return soon.
func NewBreaker(name string, cfg BreakerConfig, onTransition func(Transition)) *Breaker {
	b := &Breaker{
		name:         name,
		onTransition: onTransition,
		busy:         &OpenError{Name: name, RetryAfter: busyRetryAfter},
		cfg:          cfg,
	}
	b.engine = b.newEngine()
	b.phase.Store(&phase{since: time.Now()})
	return b
}

func (b *Breaker) newEngine() *gobreaker.TwoStepCircuitBreaker[struct{}] {
	return gobreaker.NewTwoStepCircuitBreaker[struct{}](gobreaker.Settings{
		Name:        b.name,
		MaxRequests: 1, // the trial
		Timeout:     1, // the shortest there is: phase.retryAt does the waiting
		ReadyToTrip: func(c gobreaker.Counts) bool {
			return b.cfg.Enabled && int64(c.ConsecutiveFailures) >= int64(b.cfg.FailThreshold)
		},
		OnStateChange: func(_ string, _, to gobreaker.State) { b.enter(State(to)) },
	})
}

// Allow admits one request, or refuses it with an *OpenError. Whoever gets a permit
// reports on every path, even one that saw nothing (Neutral).
//
// A closed breaker takes no lock here, and an open one neither locks nor, but for
// one error per millisecond, allocates.
func (b *Breaker) Allow() (*Permit, error) {
	ph := b.phase.Load()
	switch ph.state {
	case Closed:
		return &Permit{b: b, phase: ph}, nil
	case Open:
		if no := b.Refuse(); no != nil {
			return nil, no
		}
	}
	return b.allowProbe()
}

// Refuse is what Allow does while the breaker is open with time left; else it does
// nothing and returns nil.
func (b *Breaker) Refuse() *OpenError {
	ph := b.phase.Load()
	if ph.state != Open {
		return nil
	}
	left := time.Until(ph.retryAt)
	if left <= 0 {
		return nil
	}
	b.rejected.Add(1)
	return ph.refuse(b.name, left)
}

// Refuses tells whether Refuse would. It takes no lock and counts nothing.
func (b *Breaker) Refuses() bool {
	ph := b.phase.Load()
	return ph.state == Open && time.Until(ph.retryAt) > 0
}

// refuse returns the error that says so. Callers of the same millisecond share it.
func (ph *phase) refuse(name string, left time.Duration) *OpenError {
	left = (left + time.Millisecond - 1).Truncate(time.Millisecond)
	if e := ph.refusal.Load(); e != nil && e.RetryAfter == left {
		return e
	}
	e := &OpenError{Name: name, RetryAfter: left}
	ph.refusal.Store(e)
	return e
}

// allowProbe begins a half-open period if an open one is over, and hands out one of
// its slots if one is free.
func (b *Breaker) allowProbe() (*Permit, error) {
	b.mu.Lock()
	defer b.unlock()
	if ph := b.phase.Load(); ph.state == Open && time.Until(ph.retryAt) <= 0 {
		b.cause = "open time is over"
		if verdict, err := b.engine.Allow(); err == nil {
			b.phase.Load().trial = &trial{verdict: verdict}
		}
	}
	ph := b.phase.Load()
	switch {
	case ph.state == Closed:
		return &Permit{b: b, phase: ph}, nil
	case ph.state == HalfOpen && ph.trial.out < b.cfg.HalfOpenTestCount:
		ph.trial.out++
		p := &Permit{b: b, phase: ph}
		limit := b.cfg.ProbeTimeout
		p.lease = time.AfterFunc(limit, func() { p.expire(limit) })
		return p, nil
	}
	b.rejected.Add(1)
	if left := time.Until(ph.retryAt); ph.state == Open && left > 0 {
		return nil, ph.refuse(b.name, left)
	}
	return nil, b.busy
}

// enter makes the change of state that gobreaker or a reset decided. It runs with
// mu held.
func (b *Breaker) enter(to State) {
	from := b.phase.Load().state
	ph := &phase{state: to, since: time.Now()}
	var openFor time.Duration
	switch to {
	case Open:
		b.openings++
		openFor = b.openTime()
		ph.retryAt = ph.since.Add(openFor)
	case Closed:
		b.failCount, b.run = 0, 0
	}
	b.moves[from][to]++
	b.phase.Store(ph)
	if b.onTransition != nil {
		b.outbox = append(b.outbox, Transition{b.name, from, to, b.cause, openFor, b.openings})
	}
}

// openTime draws the time to stay open: doubled with each opening, capped, and only
// then spread by 20 % either way, so that the replicas of a fleet do not all come
// back at the cap's end.
func (b *Breaker) openTime() time.Duration {
	d := doubled(b.cfg.BaseTimeout, b.openings-1, b.cfg.MaxTimeout)
	return time.Duration(float64(d) * (0.8 + 0.4*rand.Float64()))
}

// unlock delivers the transitions that were made under the lock, and gives the lock
// back. One goroutine delivers at a time, so they keep their order.
func (b *Breaker) unlock() {
	for len(b.outbox) > 0 && !b.delivering {
		batch := b.outbox
		b.outbox, b.delivering = nil, true
		b.mu.Unlock()
		for _, t := range batch {
			b.onTransition(t)
		}
		b.mu.Lock()
		b.delivering = false
	}
	b.mu.Unlock()
}

// State returns the state without changing it: an open breaker whose time is over
// stays open until somebody asks to be admitted.
func (b *Breaker) State() State { return b.phase.Load().state }

// Reset closes the breaker, forgets the run of failures and the backoff, and keeps
// the counts. Requests admitted before no longer decide anything if it was not
// closed. It returns the new status.
func (b *Breaker) Reset() Status {
	b.mu.Lock()
	defer b.unlock()
	b.closeByHand("reset")
	return b.status()
}

func (b *Breaker) closeByHand(cause string) {
	b.engine = b.newEngine()
	b.openings, b.failCount, b.run = 0, 0, 0
	if b.State() != Closed {
		b.cause = cause
		b.enter(Closed)
	}
}

// Configure replaces the settings and keeps state and counts. The fail threshold
// and the probe count hold from the next outcome or request on, the times from the
// next opening or probe on. A breaker that is disabled while it is not closed
// closes, as by a reset.
func (b *Breaker) Configure(cfg BreakerConfig) {
	b.mu.Lock()
	defer b.unlock()
	b.cfg = cfg
	if !cfg.Enabled && b.State() != Closed {
		b.closeByHand("disabled")
	}
}
