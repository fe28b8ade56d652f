package resilience

import (
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// model is the contract of the breaker at its plainest: one goroutine, no
// engine, and the open time is whatever was drawn.
type model struct {
	cfg                      BreakerConfig
	state                    State
	until                    time.Time // of an open state; set by the test
	period                   int       // counts the changes of state
	recovered                bool      // the closed state came from probes, not from a reset
	run, fails, k, out, good int
	moves                    [3][3]int64
	neutral, ok, failed, no  int64
}

type ticket struct {
	period                      int
	probe, judged, passed, done bool
	deadline                    time.Time
}

func (m *model) to(s State) {
	m.moves[m.state][s]++
	m.recovered = m.state == HalfOpen && s == Closed
	m.state, m.period, m.out, m.good = s, m.period+1, 0, 0
	switch s {
	case Open:
		m.k++
	case Closed:
		m.run, m.fails = 0, 0
	}
}

func (m *model) allow(now time.Time) *ticket {
	if m.state == Open && !now.Before(m.until) {
		m.to(HalfOpen)
	}
	if m.state == Open || m.state == HalfOpen && m.out >= m.cfg.HalfOpenTestCount {
		m.no++
		return nil
	}
	m.out++
	return &ticket{period: m.period, probe: m.state == HalfOpen, deadline: now.Add(m.cfg.ProbeTimeout)}
}

func (m *model) outcome(o Outcome) {
	switch o {
	case Success:
		m.run = 0
	case Failure:
		m.run, m.fails = m.run+1, m.fails+1
		if m.state == HalfOpen || m.cfg.Enabled && m.run >= m.cfg.FailThreshold {
			m.to(Open)
		}
	}
}

func (m *model) undecided(t *ticket) bool {
	return t.probe && !t.judged && !t.done && t.period == m.period
}

func (m *model) judge(t *ticket, o Outcome) {
	t.judged, t.passed = true, o == Success
	m.out--
	m.outcome(o)
	if t.passed {
		if m.good++; m.good >= m.cfg.HalfOpenTestCount {
			m.to(Closed)
		}
	}
}

func (m *model) report(t *ticket, o Outcome) {
	*[]*int64{&m.neutral, &m.ok, &m.failed}[o]++
	switch {
	case m.undecided(t):
		m.judge(t, o)
	case m.state == Closed && (t.period == m.period || t.passed && m.recovered && t.period == m.period-1):
		m.outcome(o)
	default:
		o = Neutral
	}
	t.done = true
	if o == Success && m.state == Closed {
		m.k = 0
	}
}

func (m *model) closeByHand() {
	if m.state != Closed {
		m.to(Closed)
		m.recovered = false
	}
	m.run, m.fails, m.k = 0, 0, 0
}

// TestModel lets the breaker and the model live through the same random events.
func TestModel(t *testing.T) {
	events := 1_000_000
	if testing.Short() {
		events = 50_000
	}
	synctest.Test(t, func(t *testing.T) {
		type pair struct {
			real  *Permit
			model *ticket
		}
		rnd := rand.New(rand.NewPCG(1, 2))
		cfg := BreakerConfig{Enabled: true, FailThreshold: 3, BaseTimeout: 2 * time.Second,
			MaxTimeout: 20 * time.Second, HalfOpenTestCount: 2, ProbeTimeout: 3 * time.Second}
		var last atomic.Pointer[Transition]
		var transitions atomic.Int64
		b := NewBreaker("m", cfg, func(tr Transition) { last.Store(&tr); transitions.Add(1) })
		m := &model{cfg: cfg}
		var flying []pair
		seen := 0

		// opened learns the open time that was drawn, and judges it.
		opened := func(at time.Time) {
			if m.state != Open || seen == m.period {
				return
			}
			seen = m.period
			full := min(cfg.BaseTimeout<<min(m.k-1, 20), cfg.MaxTimeout)
			tr := *last.Load()
			if tr.To != Open || tr.OpenFor < full*8/10 || tr.OpenFor > full*12/10 || tr.Openings != m.k {
				t.Fatalf("opening %d: %+v, want %s give or take 20 %%", m.k, tr, full)
			}
			m.until = at.Add(tr.OpenFor)
		}

		for i := range events {
			switch n := rnd.IntN(100); {
			case n < 40 && len(flying) < 20:
				real, err := b.Allow()
				want := m.allow(time.Now())
				if (err == nil) != (want != nil) {
					t.Fatalf("event %d: Allow: %v, want admission: %t, model %+v", i, err, want != nil, m)
				}
				if want != nil {
					flying = append(flying, pair{real, want})
				}
			case n < 50 && len(flying) > 0:
				f := flying[rnd.IntN(len(flying))]
				f.real.FirstGood()
				if m.undecided(f.model) {
					m.judge(f.model, Success)
				}
			case n < 75 && len(flying) > 0:
				j := rnd.IntN(len(flying))
				f := flying[j]
				// Half of the time the outcomes lean one way, so that runs happen.
				o := Outcome(rnd.IntN(3))
				if i/200%2 == 0 && o == Success {
					o = Failure
				}
				for range 1 + rnd.IntN(2) {
					f.real.Report(o, "e")
				}
				if !f.model.done {
					m.report(f.model, o)
				}
				opened(time.Now())
				flying = slices.Delete(flying, j, j+1)
			case n < 98:
				d := time.Duration(rnd.Int64N(int64(time.Second)))
				if m.state == Open && rnd.IntN(3) == 0 {
					d = time.Until(m.until) + time.Duration(rnd.IntN(2))
				}
				time.Sleep(d)
				synctest.Wait()
				var hung *ticket
				for _, f := range flying {
					if !m.undecided(f.model) || time.Now().Before(f.model.deadline) {
						continue
					}
					// Of two probes with the same deadline, either may be the first to hang.
					if hung == nil || f.model.deadline.Before(hung.deadline) ||
						f.model.deadline.Equal(hung.deadline) && f.real.reported.Load() {
						hung = f.model
					}
				}
				if hung != nil {
					m.report(hung, Failure)
					opened(hung.deadline)
				}
			case n == 98 && rnd.IntN(10) == 0:
				b.Reset()
				m.closeByHand()
			case n == 99 && rnd.IntN(10) == 0:
				cfg.Enabled = rnd.IntN(4) != 0
				cfg.FailThreshold = 1 + rnd.IntN(5)
				cfg.HalfOpenTestCount = 1 + rnd.IntN(3)
				b.Configure(cfg)
				m.cfg = cfg
				if !cfg.Enabled && m.state != Closed {
					m.closeByHand()
				}
			}

			s := b.Status()
			got := [...]int64{int64(s.State), int64(s.FailCount), int64(s.ConsecutiveFailures), int64(s.ConsecutiveOpenings),
				s.Metrics.NeutralRequests, s.Metrics.SuccessfulRequests, s.Metrics.FailedRequests, s.Metrics.RejectedRequests,
				s.Metrics.TotalRequests, s.Metrics.StateTransitions.ClosedToOpen, s.Metrics.StateTransitions.OpenToHalfOpen,
				s.Metrics.StateTransitions.HalfOpenToClosed, s.Metrics.StateTransitions.HalfOpenToOpen, transitions.Load()}
			want := [...]int64{int64(m.state), int64(m.fails), int64(m.run), int64(m.k),
				m.neutral, m.ok, m.failed, m.no,
				m.neutral + m.ok + m.failed + m.no, m.moves[Closed][Open], m.moves[Open][HalfOpen],
				m.moves[HalfOpen][Closed], m.moves[HalfOpen][Open], int64(m.period)}
			if got != want {
				t.Fatalf("event %d:\n got %v\nwant %v", i, got, want)
			}
			left := 0.0
			if m.state == Open {
				left = max(0, time.Until(m.until).Seconds())
			}
			if s.SecondsUntilRetry != left {
				t.Fatalf("event %d: %v s left, want %v", i, s.SecondsUntilRetry, left)
			}
			if m.state == HalfOpen {
				b.mu.Lock()
				tr := *b.phase.Load().trial
				b.mu.Unlock()
				if tr.out != m.out || tr.good != m.good {
					t.Fatalf("event %d: %d probes out and %d good, want %d and %d", i, tr.out, tr.good, m.out, m.good)
				}
			}
		}
		for _, f := range flying {
			f.real.Report(Neutral, "")
		}
		t.Logf("transitions %v, k %d, %d in flight", m.moves, m.k, len(flying))
		for _, moved := range [...]int64{m.moves[Closed][Open], m.moves[Open][HalfOpen], m.moves[HalfOpen][Closed],
			m.moves[HalfOpen][Open], m.moves[Open][Closed]} {
			if moved < int64(events/10_000) {
				t.Errorf("transitions %v: the events exercise too little", m.moves)
			}
		}
	})
}
