package upstream

import (
	"context"
	"errors"
	"time"

	"github.com/vega-proxy/vega-proxy/internal/resilience"
)

// lease is a place at an upstream with the breaker's permission to use it. It
// is used by send, or given back.
type lease struct {
	up     *Upstream
	permit *resilience.Permit
	queued time.Duration
}

func (l lease) giveBack() {
	l.up.limiter.Release()
	l.permit.Report(resilience.Neutral, "")
}

// acquire takes a place at the first candidate that has one and whose breaker
// agrees. If none has and wait is set, it queues for the first that may be
// asked. The error is an *Error, or the cause of ctx's end.
func acquire(ctx context.Context, c *Call, candidates []*Upstream, wait bool) (lease, error) {
	refused := refusal{tell: c.Refused}
	for _, u := range candidates {
		if !u.limiter.TryAcquire() {
			refused.busy = append(refused.busy, u)
			continue
		}
		permit, err := u.breaker.Allow()
		if err == nil {
			return lease{up: u, permit: permit}, nil
		}
		u.limiter.Release()
		refused.open(u, err)
	}
	if !wait {
		return lease{}, refused.explain()
	}
	for _, u := range refused.busy {
		if u.breaker.Refuses() {
			continue // to wait for a place at a dead upstream is to wait for nothing
		}
		start := time.Now()
		err := u.limiter.Acquire(ctx)
		if ctx.Err() != nil {
			if err == nil {
				u.limiter.Release()
			}
			return lease{}, context.Cause(ctx)
		}
		if _, full := errors.AsType[*resilience.FullError](err); full {
			continue
		}
		if err != nil { // waited to the end
			break
		}
		permit, err := u.breaker.Allow()
		if err == nil {
			return lease{up: u, permit: permit, queued: time.Since(start)}, nil
		}
		u.limiter.Release()
		refused.open(u, err)
	}
	return lease{}, refused.explain()
}

// refusal collects why no candidate took the request.
type refusal struct {
	tell       func(*Upstream) // nil tells nobody
	busy       []*Upstream
	retryAfter time.Duration // the soonest of the open breakers; -1 before the first
	last       string
	isOpen     bool
}

func (r *refusal) open(u *Upstream, err error) {
	oe, ok := errors.AsType[*resilience.OpenError](err)
	if !ok {
		return
	}
	if r.tell != nil {
		r.tell(u)
	}
	if !r.isOpen || oe.RetryAfter < r.retryAfter {
		r.retryAfter, r.last, r.isOpen = oe.RetryAfter, oe.Name, true
	}
}

// busyRetryAfter is the advice where all places are taken: nobody knows how long
// a generation takes, so it is short and the client's own backoff does the rest.
const busyRetryAfter = time.Second

func (r *refusal) explain() *Error {
	if len(r.busy) > 0 {
		return &Error{Code: Overloaded, RetryAfter: busyRetryAfter,
			Message: "all places and queues of the upstreams for this model are full"}
	}
	return &Error{Code: BreakerOpen, RetryAfter: r.retryAfter,
		Message: "the circuit breaker of the upstream " + r.last + " is open, since it failed repeatedly"}
}
