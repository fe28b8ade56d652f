package monitor

import (
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/vega-proxy/vega-proxy/internal/monitor/progress"
)

const (
	// maxWatched is how many exchanges have their steps watched at a time; a place
	// takes about 600 bytes, and is made when it is first needed. Exchanges beyond it
	// are counted and not watched.
	maxWatched = 2048
	// fewest is how many places there are at first; they double until maxWatched.
	// probes is how many are tried before more are made.
	fewest, probes = 32, 8
)

// pool is the places for exchanges. To take one is to swap a word in it.
type pool struct {
	m       *Monitor
	clock   progress.Clock
	entry   string    // the function that exchanges run in; empty is any
	steps   []step    // set before the first exchange, then read-only
	serving *labelled // the label of goroutines of exchanges that are not watched

	all  atomic.Pointer[[]*Exchange]
	idle atomic.Bool // the probe is slow, and so are the ticks
	_    [64]byte

	growing         sync.Mutex
	unwatched       atomic.Int64 // exchanges in flight without a place
	unwatchedCounts counts       // and what those that have ended have counted
	most            atomic.Int64 // exchanges in flight, as far as was seen

	// Owned by the loop.
	seen int64         // steps, at the last look
	busy time.Duration // when there was an exchange
}

// totals is what is counted of exchanges; steps and what was skipped when their
// exchange ends.
type totals struct {
	pending, mostPending int64
	steps                int64
	longest              time.Duration
	skipped              [progress.Kinds]int64 // objects that were not followed
}

// Steps names the steps that exchanges enter by their index, and the function that
// their goroutines are in meanwhile, as the runtime calls it: where it is not on its
// stack, a goroutine with an exchange's label is not the exchange's. It must be called once,
// before the first Begin, with at most progress.MaxSteps names.
func (m *Monitor) Steps(entry string, names ...string) {
	p := &m.pool
	p.entry, p.steps = entry, make([]step, min(len(names), progress.MaxSteps))
	for i := range p.steps {
		p.steps[i].name = names[i]
	}
	m.limitSteps()
}

// limitSteps takes the thresholds of steps from the settings.
func (m *Monitor) limitSteps() {
	exact := false
	for i := range m.pool.steps {
		st := &m.pool.steps[i]
		st.slow.Store(int64(m.threshold(st.name)))
		exact = exact || st.fine()
	}
	m.pool.clock.Exact(exact)
}

func (p *pool) init(m *Monitor) {
	p.m, p.serving = m, withLabels(taskLabel, servingTask)
	p.grow(0)
}

// grow makes more places, unless somebody else has since there were n. The caller
// takes none of them for granted.
func (p *pool) grow(n int) {
	p.growing.Lock()
	defer p.growing.Unlock()
	var all []*Exchange
	if old := p.all.Load(); old != nil {
		all = slices.Clone(*old)
	}
	if len(all) > n {
		return
	}
	// In a row, since the probe walks along them.
	more := make([]Exchange, max(fewest, n))
	for i := range more {
		slot := strconv.Itoa(n + i)
		more[i].init(p.m, withLabels(taskLabel, exchangeTask, slotLabel, slot), slot)
		all = append(all, &more[i])
	}
	p.all.Store(&all)
}

// step is the step that a state names; nil is none.
func (p *pool) step(s progress.State) *step {
	if i := s.Step(); i >= 0 && i < len(p.steps) {
		return &p.steps[i]
	}
	return nil
}

// take returns a free place for what is to show in it.
func (p *pool) take(of *progress.Exchange, requestID string) *Exchange {
	// Where the exchange stands in memory is as good as random, and nobody has to be asked.
	hash := uint64(uintptr(unsafe.Pointer(of))) * 0x9e3779b97f4a7c15 >> 32
	for {
		all := *p.all.Load()
		tries := probes
		if len(all) == maxWatched {
			tries = maxWatched
		}
		for i := range uint64(tries) {
			if x := all[(hash+i)&uint64(len(all)-1)]; x.show(of, requestID) {
				return x
			}
		}
		if len(all) == maxWatched {
			break
		}
		p.grow(len(all))
	}
	x := new(Exchange)
	x.init(p.m, p.serving, "")
	x.show(of, requestID)
	p.unwatched.Add(1)
	return x
}

// show puts an exchange into a place, if it is free.
func (x *Exchange) show(of *progress.Exchange, requestID string) bool {
	if x.now.Load() != nil {
		return false
	}
	of.Init(&x.m.pool.clock, requestID, x.told)
	return x.now.CompareAndSwap(nil, of)
}

// taken stands where no exchange may come: what was no place of the pool becomes none.
var taken progress.Exchange

// giveBack ends an exchange.
func (p *pool) giveBack(x *Exchange) {
	if x.slot != "" {
		x.now.Store(nil)
		return
	}
	x.now.Store(&taken)
	p.unwatched.Add(-1)
	p.unwatchedCounts.add(&x.counts)
}

func (c *counts) add(d *counts) {
	c.steps.Add(d.steps.Load())
	raise(&c.longestStep, d.longestStep.Load())
	for k := range d.skipped {
		c.skipped[k].Add(d.skipped[k].Load())
	}
}

// count adds up what is counted.
func (p *pool) count() (t totals) {
	t.pending = p.together()
	t.add(&p.unwatchedCounts)
	for _, x := range *p.all.Load() {
		t.add(&x.counts)
	}
	t.mostPending = raise(&p.most, t.pending)
	if t.steps > 0 {
		t.mostPending = max(t.mostPending, 1) // and be it between two looks
	}
	return t
}

// together is how many exchanges are in flight at one moment. A mere walk could count
// one that has ended beside one that has begun since.
func (p *pool) together() int64 {
	all := *p.all.Load()
	seen := make([]*progress.Exchange, len(all))
	for i, x := range all {
		seen[i] = x.now.Load()
	}
	n := p.unwatched.Load() // the moment
	for i, x := range all {
		if seen[i] != nil && x.now.Load() == seen[i] {
			n++
		}
	}
	return n
}

func (t *totals) add(c *counts) {
	t.steps += c.steps.Load()
	t.longest = max(t.longest, time.Duration(c.longestStep.Load()))
	for k := range c.skipped {
		t.skipped[k] += c.skipped[k].Load()
	}
}

// raise keeps the greatest value, and returns it.
func raise(greatest *atomic.Int64, v int64) int64 {
	for {
		before := greatest.Load()
		if v <= before || greatest.CompareAndSwap(before, v) {
			return max(v, before)
		}
	}
}

// skip counts an object that is not followed and is of no exchange.
func (p *pool) skip(kind progress.Kind) { p.unwatchedCounts.skipped[kind].Add(1) }

// quiet tells whether there was no exchange for a while; then the next one must wake
// the probe. pending is how many the loop has just seen.
func (p *pool) quiet(now time.Duration, pending int64) bool {
	if pending == 0 {
		if steps := p.count().steps; steps != p.seen {
			p.seen, p.busy = steps, now
		}
		if now-p.busy >= idleAfter {
			p.idle.Store(true)
			if p.count().pending == 0 {
				return true
			}
		}
	}
	if pending > 0 {
		p.busy = now
	}
	p.idle.Store(false)
	return false
}

// wake puts the ticks right and hurries the probe.
func (p *pool) wake() {
	if p.idle.CompareAndSwap(true, false) {
		p.clock.Set(int64(p.m.now()))
		p.m.probe.wake()
	}
}
