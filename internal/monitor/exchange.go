package monitor

import (
	"context"
	"runtime/pprof"
	"sync/atomic"
	"time"

	"github.com/vega-proxy/vega-proxy/internal/monitor/progress"
)

// fine is the threshold below which a step is timed by the system's clock.
// From there on the probe's ticks will do, which cost next to nothing.
const fine = 5 * probeInterval

// step is a kind of step. It is set by Steps, then read-only, save for its
// threshold and its place in the log.
type step struct {
	name    string
	slow    atomic.Int64  // from when on it is, in nanoseconds
	logged  time.Duration // when one was last logged; guarded by slowSteps.mu
	everLog bool
}

func (st *step) threshold() time.Duration { return time.Duration(st.slow.Load()) }

// fine tells whether the step is timed by the system's clock.
func (st *step) fine() bool { return st.threshold() < fine }

// Exchange is a place for one exchange in flight after another, each from Begin to
// End. All methods must be called by one goroutine at a time.
type Exchange struct {
	// What each exchange needs stands together, in two lines of the processor's cache:
	// what it costs is to have them at hand.
	now     atomic.Pointer[progress.Exchange] // nil is free
	m       *Monitor
	told    func(progress.State)
	labels  *labelled     // for the goroutine
	longest time.Duration // step, of the present exchange
	counts

	slow *SlowCallback // the last step that was found slow while it lasted; guarded by slowSteps.mu
	slot string        // the value of the label that names this place
	_    [64]byte      // neighbours are written by other processors
}

// counts is of all exchanges at a place that have ended. The present one writes it.
type counts struct {
	steps, longestStep atomic.Int64
	skipped            [progress.Kinds]atomic.Int64 // objects that were not followed
}

func (x *Exchange) init(m *Monitor, labels *labelled, slot string) {
	x.m, x.labels, x.slot, x.told = m, labels, slot, x.changed
}

// labelled is a context that answers with its labels at once. pprof asks contexts for
// nothing else, and compares its way through an ordinary one each time.
type labelled struct {
	context.Context
	labels any
}

func withLabels(labels ...string) *labelled {
	l := &labelled{Context: pprof.WithLabels(context.Background(), pprof.Labels(labels...))}
	pprof.ForLabels(l, func(string, string) bool { return false }) // has it asked for them
	return l
}

// Value implements context.Context.
func (l *labelled) Value(key any) any {
	if l.labels == nil {
		l.labels = l.Context.Value(key)
	}
	return l.labels
}

// Begin counts an exchange in, gives it a place, and has p show it what it enters. It
// must be called by the goroutine that the exchange runs in: goroutines that it starts
// inherit its label, and are told from it by the function that it runs in. last is the
// place of the one before on the same way, which is taken again if it is still free; it may be
// nil. End must follow.
func (m *Monitor) Begin(p *progress.Exchange, requestID string, last *Exchange) *Exchange {
	x := last
	if x == nil || !x.show(p, requestID) {
		x = m.pool.take(p, requestID)
	}
	if m.pool.idle.Load() { // asked once it can be seen that there is an exchange
		m.pool.wake()
	}
	pprof.SetGoroutineLabels(x.labels)
	return x
}

// End leaves the exchange's step and counts it out. The place may be used for nothing
// but the next Begin then, and the progress for nothing.
func (x *Exchange) End() {
	p := x.now.Load()
	p.End()
	x.steps.Store(x.steps.Load() + p.Entered)
	if x.longest != 0 {
		raise(&x.longestStep, int64(x.longest))
		x.longest = 0
	}
	for k, n := range p.Skipped {
		if n != 0 {
			x.counts.skipped[k].Store(x.counts.skipped[k].Load() + int64(n))
		}
	}
	x.m.pool.giveBack(x)
}

// changed judges what has ended, and has the clock say when the next step begins if
// the ticks will not do.
func (x *Exchange) changed(ended progress.State) {
	p := x.now.Load()
	if p == nil { // it has ended: a mistake of whoever tells, which must not cost the process
		return
	}
	was, is := x.m.pool.step(ended), x.m.pool.step(p.State())
	exactly := is != nil && is.fine()
	over := was != nil && (was.fine() || ended.Tick() != x.m.pool.clock.Tick())
	if !exactly && !over {
		return
	}
	now := x.m.now()
	if exactly {
		p.Restate(int64(now))
	}
	if over {
		x.ended(was, time.Duration(ended.Tick()), now)
	}
}

// ended judges a step that was not over within a tick.
func (x *Exchange) ended(st *step, began, now time.Duration) {
	took := now - began
	if !st.fine() {
		took = max(0, took-probeInterval/2) // it began somewhere within the tick
	}
	x.longest = max(x.longest, took)
	if took >= st.threshold() {
		x.m.slowStepEnded(x, st, began, took)
	}
}
