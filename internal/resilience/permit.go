package resilience

import (
	"fmt"
	"sync/atomic"
	"time"
)

// Outcome is what a request says about its upstream.
type Outcome uint8

const (
	// Neutral says nothing about it: the client's mistake, a client that left, an
	// upstream that is alive but busy.
	Neutral Outcome = iota
	// Success is a whole answer that shows the upstream at work.
	Success
	// Failure is what the upstream is to blame for.
	Failure
)

// Permit is the right to ask the upstream once. A permit that was given while the
// breaker was half-open is a probe: it holds a slot until it is judged, at the
// latest for the probe timeout.
type Permit struct {
	b        *Breaker
	phase    *phase      // in which it was given
	lease    *time.Timer // of a probe; nil for others. Set before the permit is handed out
	reported atomic.Bool // counted in the totals, once

	// Of a probe, guarded by Breaker.mu.
	settled bool // its slot is given back
	good    bool // it was judged a success while its half-open period lasted
}

// FirstGood says that the first event of a stream came and is no error. It judges a
// probe a success and gives its slot back, so that a long stream does not hold up
// the recovery; for every other permit it does nothing. Report is still due.
func (p *Permit) FirstGood() {
	if p.lease == nil {
		return
	}
	p.b.mu.Lock()
	defer p.b.unlock()
	p.settle(Success, "")
}

// Report says how the request ended, exactly once: further calls do nothing. cause
// says in a few words why a Failure is one.
//
// A result counts in the totals whenever it comes. It moves the breaker only if the
// state has not changed since the permit was given. The one exception is a probe
// that was judged by its first event: if its period closed the breaker, its end
// counts like that of any other request.
func (p *Permit) Report(o Outcome, cause string) {
	if p.reported.Swap(true) {
		return
	}
	p.b.total(o).Add(1)
	if o == Neutral && p.lease == nil {
		return
	}
	p.b.mu.Lock()
	defer p.b.unlock()
	p.decide(o, cause)
}

// expire ends the lease of a probe. One whose period is over is a request like
// others by now, and may take its time.
func (p *Permit) expire(limit time.Duration) {
	p.b.mu.Lock()
	defer p.b.unlock()
	if p.settled || p.phase != p.b.phase.Load() || p.reported.Swap(true) {
		return
	}
	p.b.failed.Add(1)
	p.decide(Failure, fmt.Sprintf("a probe had no result after %s", limit))
}

// decide lets the outcome move the breaker. Breaker.mu is held, as in what follows.
func (p *Permit) decide(o Outcome, cause string) {
	now := p.b.phase.Load()
	switch {
	case p.lease != nil && !p.settled:
		if !p.settle(o, cause) {
			return
		}
	case now.state == Closed && (p.phase == now || p.good && p.phase.trial == now.trial):
		p.b.count(o, cause)
	default:
		return
	}
	if o == Success && p.b.State() == Closed {
		p.b.openings = 0 // a whole answer: recovered
	}
}

// settle gives a probe's slot back, once, and lets the probe count in its half-open
// period. It reports whether the period was still there to be counted in.
func (p *Permit) settle(o Outcome, cause string) bool {
	if p.settled {
		return false
	}
	p.settled = true
	p.lease.Stop()
	b, t := p.b, p.phase.trial
	t.out--
	if b.phase.Load() != p.phase {
		return false
	}
	switch o {
	case Success:
		p.good = true
		t.good++
		b.run = 0
		if t.good >= b.cfg.HalfOpenTestCount {
			b.cause = "probes succeeded"
			t.verdict(nil)
			b.recoveries++
			b.phase.Load().trial = t
		}
	case Failure:
		b.blame(cause)
		t.verdict(errFailed)
	}
	return true
}

// count lets an ordinary outcome count in a closed breaker.
func (b *Breaker) count(o Outcome, cause string) {
	var err error
	switch {
	case o == Neutral, o == Success && b.run == 0: // no news to gobreaker
		return
	case o == Success:
		b.run = 0
	case o == Failure:
		b.blame(cause)
		err = errFailed
	}
	if done, refused := b.engine.Allow(); refused == nil {
		done(err)
	}
}

func (b *Breaker) blame(cause string) {
	b.failCount++
	b.run++
	b.lastError = cause
	b.cause = cause
}

func (b *Breaker) total(o Outcome) *atomic.Int64 {
	switch o {
	case Success:
		return &b.succeeded
	case Failure:
		return &b.failed
	}
	return &b.neutral
}
