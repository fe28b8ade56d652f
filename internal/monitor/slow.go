package monitor

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/vega-proxy/vega-proxy/internal/monitor/progress"
)

const (
	// recentSlow is how many slow callbacks are kept.
	recentSlow = 50
	// logInterval is how often one kind of slow callback is logged.
	logInterval = time.Minute
	// captureInterval is how often stacks are looked up at most, and maxLooks
	// how often for one step: it stops all goroutines for a moment.
	captureInterval = 100 * time.Millisecond
	maxLooks        = 3
	// settle is how long the log waits for the end of a step or for its stack.
	settle = 2 * time.Second
	// SchedulerStep is the name under which the probe's own lateness is reported, and
	// its threshold set.
	SchedulerStep = "scheduler"
)

// SlowCallback is a step that took longer than its threshold, or the scheduler
// keeping the probe waiting.
type SlowCallback struct {
	Name       string    `json:"name"`
	DurationMS float64   `json:"duration_ms"` // so far, while it is running
	RequestID  string    `json:"request_id,omitempty"`
	StartedAt  time.Time `json:"started_at"`
	Running    bool      `json:"running"`
	// Stack is where it was while slow, innermost first, each "function file:line".
	// It is empty if the step ended before a look at it.
	Stack []string `json:"stack"`

	began time.Duration
	step  *step // nil is the scheduler
	looks int
}

// slowSteps is what is known of slow callbacks. Guarded by mu, but for what is
// atomic.
type slowSteps struct {
	mu        sync.Mutex
	scheduler atomic.Int64 // threshold of lateness, in nanoseconds
	recent    []*SlowCallback
	count     int64
	unlogged  []*SlowCallback
	lateStep  step // the log's memory for the scheduler

	longest   atomic.Int64  // lateness, in nanoseconds
	lastLook  time.Duration // owned by the loop
	looked    bool
	looking   atomic.Bool
	profiling atomic.Bool
	profiled  time.Duration // owned by the loop
}

// worst keeps the longest lateness.
func (s *slowSteps) worst(late time.Duration) {
	if int64(late) > s.longest.Load() { // the loop alone writes it
		s.longest.Store(int64(late))
	}
}

// add puts a slow callback into the ring. The caller holds mu.
func (s *slowSteps) add(c *SlowCallback, of *step, now time.Duration) {
	if len(s.recent) == recentSlow {
		s.recent = slices.Delete(s.recent, 0, 1)
	}
	s.recent = append(s.recent, c)
	s.count++
	if !of.everLog || now-of.logged >= logInterval {
		of.everLog, of.logged = true, now
		s.unlogged = append(s.unlogged, c)
	}
}

// slowStepEnded notes a slow step at its end, unless the watch has already.
func (m *Monitor) slowStepEnded(x *Exchange, st *step, began, took time.Duration) {
	s := &m.slow
	s.mu.Lock()
	defer s.mu.Unlock()
	c := x.slow
	x.slow = nil
	if !c.is(st, began) {
		c = m.foundStep(x.now.Load(), st, began)
	}
	c.DurationMS, c.Running = milliseconds(took), false
	raise(&x.longestStep, int64(took))
}

// is tells whether c is of that step. No slow callback is of none.
func (c *SlowCallback) is(st *step, began time.Duration) bool {
	return c != nil && c.step == st && c.began == began
}

func (m *Monitor) foundStep(of *progress.Exchange, st *step, began time.Duration) *SlowCallback {
	c := &SlowCallback{Name: st.name, RequestID: of.RequestID, StartedAt: m.start.Add(began), Running: true, Stack: []string{}, began: began, step: st}
	m.foundSlow(c, st)
	return c
}

// foundSlow counts a slow callback. The caller holds slowSteps.mu.
func (m *Monitor) foundSlow(c *SlowCallback, of *step) {
	now := m.now()
	m.slow.add(c, of, now)
	m.metrics.slow.Inc()
	m.health.slow(now, c.Name)
}

// scan looks for exchanges that are in a step for too long, and has their
// stacks looked up. It returns how many exchanges there are, and belongs to the loop.
func (m *Monitor) scan(now time.Duration) (pending int64) {
	found := false
	for _, x := range *m.pool.all.Load() {
		p := x.now.Load()
		if p == nil {
			continue
		}
		pending++
		state := p.State()
		st := m.pool.step(state)
		if st == nil {
			continue
		}
		if began := time.Duration(state.Tick()); now-began >= st.threshold()+st.tolerance() {
			found = m.runningSlow(x, p, state, st, began, now) || found
		}
	}
	pending += m.pool.unwatched.Load()
	if pending > m.pool.most.Load() {
		raise(&m.pool.most, m.pool.together())
	}
	s := &m.slow
	if found && (!s.looked || now-s.lastLook >= captureInterval) && s.looking.CompareAndSwap(false, true) {
		s.lastLook, s.looked = now, true
		m.work.Go(func() {
			defer s.looking.Store(false)
			m.look()
		})
	}
	return pending
}

// tolerance is by how much a step may have begun after its stamp.
func (st *step) tolerance() time.Duration {
	if st.fine() {
		return 0
	}
	return probeInterval / 2
}

// runningSlow notes a step that is slow and goes on. It tells whether its stack
// is still wanted.
func (m *Monitor) runningSlow(x *Exchange, p *progress.Exchange, state progress.State, st *step, began, now time.Duration) (look bool) {
	s := &m.slow
	s.mu.Lock()
	defer s.mu.Unlock()
	if !x.still(p, state) {
		return false
	}
	if !x.slow.is(st, began) {
		x.slow = m.foundStep(p, st, began)
	}
	x.slow.DurationMS = milliseconds(now - began)
	m.health.slow(now, st.name)
	return len(x.slow.Stack) == 0 && x.slow.looks < maxLooks
}

// still tells whether the place has that exchange, and it is where it was.
func (x *Exchange) still(p *progress.Exchange, state progress.State) bool {
	return x.now.Load() == p && p.State() == state
}

// look takes the stacks of the steps that are slow at this moment and have none yet.
func (m *Monitor) look() {
	type seen struct {
		x     *Exchange
		p     *progress.Exchange
		state progress.State
		c     *SlowCallback
	}
	var wanted []seen
	s := &m.slow
	s.mu.Lock()
	for _, x := range *m.pool.all.Load() {
		p, c := x.now.Load(), x.slow
		if p != nil && c != nil && c.Running && len(c.Stack) == 0 && c.looks < maxLooks {
			c.looks++
			wanted = append(wanted, seen{x, p, p.State(), c})
		}
	}
	s.mu.Unlock()
	if len(wanted) == 0 {
		return
	}
	stacks := map[string][]string{}
	for _, g := range goroutines(m.pool.entry) {
		if slot := g.labels[slotLabel]; slot != "" && g.entered {
			stacks[slot] = g.frames
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, w := range wanted {
		// Another step at the same place would have the same label.
		if w.x.still(w.p, w.state) && w.x.slow == w.c {
			if stack := stacks[w.x.slot]; stack != nil {
				w.c.Stack = stack
			}
		}
	}
}

// recentSlowCallbacks returns copies, the oldest first.
func (m *Monitor) recentSlowCallbacks() (list []SlowCallback, count int64) {
	s := &m.slow
	s.mu.Lock()
	defer s.mu.Unlock()
	list = make([]SlowCallback, 0, len(m.slow.recent))
	for _, c := range m.slow.recent {
		list = append(list, *c)
	}
	return list, m.slow.count
}

// logSlow writes the lines that are due.
func (m *Monitor) logSlow(now time.Duration) {
	var due []SlowCallback
	m.slow.mu.Lock()
	m.slow.unlogged = slices.DeleteFunc(m.slow.unlogged, func(c *SlowCallback) bool {
		if c.Running && now-c.began < settle {
			return false
		}
		due = append(due, *c)
		return true
	})
	m.slow.mu.Unlock()
	for _, c := range due {
		attrs := []slog.Attr{
			slog.String("step", c.Name), slog.Float64("duration_ms", c.DurationMS),
			slog.Bool("running", c.Running), slog.Any("stack", c.Stack),
		}
		if c.RequestID != "" {
			attrs = append(attrs, slog.String("request_id", c.RequestID))
		}
		m.log.LogAttrs(context.Background(), slog.LevelWarn, "slow step", attrs...)
	}
}
