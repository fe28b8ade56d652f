package monitor

import (
	"context"
	"runtime/pprof"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// maxWatched is how many exchanges have their steps watched at a time; a
	// place takes about 400 bytes, and is made when it is first needed. Exchanges
	// beyond it are counted and not watched.
	maxWatched = 2048
	// maxSteps is how many names of steps there may be.
	maxSteps = 1<<stepBits - 1
	// fine is the threshold below which a step is timed by the system's clock.
	// From there on the probe's ticks will do, which cost next to nothing.
	fine = 5 * probeInterval
)

// step is a kind of step. It is set by Steps, then read-only, save for its
// threshold and its place in the log.
type step struct {
	name    string
	slow    atomic.Int64  // from when on it is, in nanoseconds
	logged  time.Duration // when one was last logged; guarded by pool.mu
	everLog bool
}

func (st *step) limit(threshold time.Duration) { st.slow.Store(int64(threshold)) }
func (st *step) threshold() time.Duration      { return time.Duration(st.slow.Load()) }

// fine tells whether the step is timed by the system's clock.
func (st *step) fine() bool { return st.threshold() < fine }

// Exchange is one exchange in flight, for the time between Begin and End. All
// methods must be called by one goroutine at a time.
type Exchange struct {
	m       *Monitor
	watched bool
	slot    string          // the value of the label that names this place
	labels  context.Context // for the goroutine that is in a step

	// state is the step that the exchange is in and since when: nanoseconds after
	// the monitor's start, shifted by stepBits, and the step's number from 1; 0 is
	// in none. Written by the exchange, read by the watch.
	state atomic.Int64
	steps atomic.Int64 // ended ones, of all exchanges at this place
	max   atomic.Int64 // the longest of them, in nanoseconds

	id   string        // of the request; guarded by pool.mu
	slow *SlowCallback // of the present step, if it was found slow; guarded by pool.mu

	_ [64]byte // neighbours are written by other processors
}

const stepBits = 6

// pool is the places for exchanges. A place goes from one to the next.
type pool struct {
	m       *Monitor
	steps   []step          // set before the first exchange, then read-only
	serving context.Context // the label of goroutines between steps

	all      atomic.Pointer[[]*Exchange] // read without the lock
	mu       sync.Mutex
	free     []*Exchange
	overflow *Exchange // for all that are not watched
}

// pending counts exchanges in flight.
type pending struct{ now, max atomic.Int64 }

// Steps names the steps that exchanges enter by their index. It must be called
// once, before the first Begin, with at most 63 names.
func (m *Monitor) Steps(names ...string) {
	p := &m.pool
	p.steps = make([]step, min(len(names), maxSteps))
	for i := range p.steps {
		p.steps[i].name = names[i]
		p.steps[i].limit(m.threshold(names[i]))
	}
	m.checkNames()
}

// checkNames warns of thresholds for steps that there are not.
func (m *Monitor) checkNames() {
	names := []string{schedulerStep}
	for i := range m.pool.steps {
		names = append(names, m.pool.steps[i].name)
	}
	for name := range m.cfg.Load().Thresholds {
		if !slices.Contains(names, name) {
			m.log.Warn("monitor.thresholds names a step that there is not", "step", name, "steps", names)
		}
	}
}

// Begin counts an exchange in and gives it a place. End must follow.
func (m *Monitor) Begin(requestID string) *Exchange {
	n := m.pending.now.Add(1)
	for old := m.pending.max.Load(); n > old && !m.pending.max.CompareAndSwap(old, n); {
		old = m.pending.max.Load()
	}
	return m.pool.take(requestID)
}

func (p *pool) take(requestID string) *Exchange {
	p.mu.Lock()
	defer p.mu.Unlock()
	var x *Exchange
	if n := len(p.free); n > 0 {
		x, p.free = p.free[n-1], p.free[:n-1]
	} else if x = p.grow(); x == nil {
		return p.overflow
	}
	x.id = requestID
	return x
}

func (p *pool) grow() *Exchange {
	var all []*Exchange
	if old := p.all.Load(); old != nil {
		all = *old
	}
	if len(all) >= maxWatched {
		return nil
	}
	slot := strconv.Itoa(len(all))
	x := &Exchange{m: p.m, watched: true, slot: slot}
	x.labels = pprof.WithLabels(context.Background(), pprof.Labels(taskLabel, "exchange", slotLabel, slot))
	// The array behind it only ever gets new elements, beyond what readers see.
	all = append(all, x)
	p.all.Store(&all)
	return x
}

// serving is what goroutines are called between the steps of an exchange.
func serving() context.Context {
	return pprof.WithLabels(context.Background(), pprof.Labels(taskLabel, "proxy"))
}

// Enter begins a step, by its index among the names given to Steps, and ends the
// one before, if any. A step is the proxy's own work: it must be left before
// waiting for the client or the upstream. Goroutines started within it inherit its label.
func (x *Exchange) Enter(step int) {
	if !x.watched || uint(step) >= uint(len(x.m.pool.steps)) {
		return
	}
	now := x.m.ticks.Load()
	if x.m.pool.steps[step].fine() {
		now = int64(x.m.now())
	}
	before := x.state.Load()
	x.state.Store(now<<stepBits | int64(step+1))
	if before != 0 {
		x.end(before)
		return
	}
	pprof.SetGoroutineLabels(x.labels)
}

// Leave ends the step that the exchange is in; in none it does nothing.
func (x *Exchange) Leave() {
	if s := x.state.Load(); s != 0 {
		x.state.Store(0) // before it is judged: what is over cannot be found slow again
		x.end(s)
		pprof.SetGoroutineLabels(x.m.pool.serving)
	}
}

// End counts the exchange out, and leaves its step. The Exchange must not be
// used any more.
func (x *Exchange) End() {
	x.m.pending.now.Add(-1)
	if !x.watched {
		return
	}
	x.Leave()
	p := &x.m.pool
	p.mu.Lock()
	x.id = ""
	p.free = append(p.free, x)
	p.mu.Unlock()
}

// end judges the step that state names.
func (x *Exchange) end(state int64) {
	x.steps.Store(x.steps.Load() + 1) // this goroutine alone writes it
	began, st := time.Duration(state>>stepBits), &x.m.pool.steps[state&maxSteps-1]
	if !st.fine() && time.Duration(x.m.ticks.Load()) == began {
		return
	}
	took := x.m.now() - began
	if !st.fine() {
		took = max(0, took-probeInterval/2) // it began somewhere within the tick
	}
	if int64(took) > x.max.Load() {
		x.max.Store(int64(took))
	}
	if took >= st.threshold() {
		x.m.slowStepEnded(x, st, began, took)
	}
}

// totals returns how many steps have ended, and the longest.
func (p *pool) totals() (steps int64, longest time.Duration) {
	all := p.all.Load()
	if all == nil {
		return 0, 0
	}
	for _, x := range *all {
		steps += x.steps.Load()
		longest = max(longest, time.Duration(x.max.Load()))
	}
	return steps, longest
}
