package monitor

import (
	"bytes"
	"log/slog"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"weak"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/vega-proxy/vega-proxy/internal/monitor/progress"
)

//go:noinline
func dawdle(d time.Duration) { time.Sleep(d) }

func names(stack []string) string { return strings.Join(stack, "\n") }

func TestSlowStep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMonitor(t, func(c *Config) { c.Thresholds = map[string]int{"dispatch": 20} })
		defer run(t, m)()
		time.Sleep(time.Second)

		x := begin(m, "request-1")
		x.Enter(parse)
		dawdle(80 * time.Millisecond) // under its threshold
		x.Enter(dispatch)             // which ends parse
		dawdle(30 * time.Millisecond)
		x.Leave()
		time.Sleep(10 * time.Second) // waiting for an upstream is no step
		x.Enter(parse)
		dawdle(300 * time.Millisecond)
		x.Leave()
		x.End()

		s := m.Status()
		if s.TotalCallbacks != 3 || s.SlowCallbacksCount != 2 || len(s.RecentSlowCallbacks) != 2 {
			t.Fatalf("%d steps, %d slow, recent %+v; want 3 and 2", s.TotalCallbacks, s.SlowCallbacksCount, s.RecentSlowCallbacks)
		}
		for i, want := range []struct {
			name         string
			least, most  float64
			mustHaveSeen bool
		}{{"dispatch", 30, 30, true}, {"parse", 290, 310, true}} {
			c := s.RecentSlowCallbacks[i]
			if c.Name != want.name || c.DurationMS < want.least || c.DurationMS > want.most || c.RequestID != "request-1" || c.Running {
				t.Errorf("slow callback %+v, want %+v", c, want)
			}
			if i == 1 && !strings.Contains(names(c.Stack), "monitor.dawdle slow_test.go:") {
				t.Errorf("stack of %s does not name dawdle: %q", c.Name, c.Stack)
			}
		}
		if s.MaxCallbackTimeMS < 290 || s.MaxCallbackTimeMS > 310 {
			t.Errorf("max_callback_time_ms = %v", s.MaxCallbackTimeMS)
		}
		if status, reasons := m.Health(); status != Warning || !strings.Contains(names(reasons), "parse") {
			t.Errorf("health %s %q", status, reasons)
		}
		time.Sleep(time.Minute)
		if status, reasons := m.Health(); status != Healthy {
			t.Errorf("health a minute later: %s %q", status, reasons)
		}
		if got := gathered(t, m)["event_loop_slow_callbacks_total"]; got != 2 {
			t.Errorf("event_loop_slow_callbacks_total = %v", got)
		}
	})
}

func TestBlockedStepIsFoundWhileItLasts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMonitor(t, nil)
		defer run(t, m)()
		release := make(chan struct{})
		var wg sync.WaitGroup
		wg.Go(func() {
			x := begin(m, "blocked")
			defer x.End()
			x.Enter(dispatch)
			blockOn(release)
		})
		time.Sleep(2 * m.cfg.Load().CheckInterval)
		recent := m.Status().RecentSlowCallbacks
		if len(recent) != 1 || !recent[0].Running || recent[0].RequestID != "blocked" || recent[0].DurationMS < 1900 {
			t.Fatalf("recent slow callbacks %+v", recent)
		}
		if !strings.Contains(names(recent[0].Stack), "monitor.blockOn slow_test.go:") {
			t.Errorf("stack %q", recent[0].Stack)
		}
		if d := m.Diagnose(); d.Tasks.ByName["exchange"] != 1 || d.HealthStatus != Warning {
			t.Errorf("diagnostics %+v", d)
		}
		time.Sleep(5 * time.Minute)
		if status, _ := m.Health(); status != Warning {
			t.Errorf("health while a step is blocked: %s", status)
		}
		close(release)
		wg.Wait()
		if s := m.Status(); s.SlowCallbacksCount != 1 || s.RecentSlowCallbacks[0].Running {
			t.Errorf("after its end: %+v", s.RecentSlowCallbacks)
		}
	})
}

//go:noinline
func blockOn(c <-chan struct{}) { <-c }

func TestStacksAreNotMixedUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMonitor(t, nil)
		defer run(t, m)()
		time.Sleep(time.Second)
		var wg sync.WaitGroup
		wg.Go(func() {
			x := begin(m, "a")
			defer x.End()
			x.Enter(parse)
			dawdle(time.Second)
		})
		wg.Go(func() {
			x := begin(m, "b")
			defer x.End()
			x.Enter(parse)
			blockOn(nil2s())
		})
		wg.Wait()
		for _, c := range m.Status().RecentSlowCallbacks {
			want := map[string]string{"a": "monitor.dawdle ", "b": "monitor.blockOn "}[c.RequestID]
			if !strings.Contains(names(c.Stack), want) {
				t.Errorf("stack of %s: %q, want %s", c.RequestID, c.Stack, want)
			}
		}
	})
}

//go:noinline
func serveExchange(m *Monitor, helper *sync.WaitGroup, release <-chan struct{}) {
	x := begin(m, "parent")
	defer x.End()
	x.Enter(parse)
	helper.Go(func() { blockOn(release) }) // it has the exchange's label
	dawdle(time.Second)
}

// TestWhatAnExchangeStartsIsNotTheExchange: a goroutine inherits the label of the one that
// starts it, and may outlive the exchange.
func TestWhatAnExchangeStartsIsNotTheExchange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMonitor(t, nil)
		m.Steps("github.com/vega-proxy/vega-proxy/internal/monitor.serveExchange", "parse", "dispatch")
		defer run(t, m)()
		time.Sleep(time.Minute) // the probe is slow by now
		release := make(chan struct{})
		var parent, helper sync.WaitGroup
		parent.Go(func() { serveExchange(m, &helper, release) })
		time.Sleep(500 * time.Millisecond)
		if got := m.Diagnose().Tasks.ByName; got["exchange"] != 1 || got["proxy"] != 1 {
			t.Errorf("while it lasts: %v", got)
		}
		parent.Wait()
		if got := m.Diagnose().Tasks.ByName; got["exchange"] != 0 || got["proxy"] != 1 {
			t.Errorf("after its end: %v", got)
		}
		recent := m.Status().RecentSlowCallbacks
		if len(recent) != 1 || !strings.Contains(names(recent[0].Stack), "monitor.dawdle ") || recent[0].DurationMS < 990 || recent[0].DurationMS > 1010 {
			t.Errorf("slow callbacks %+v", recent)
		}
		close(release)
		helper.Wait()
	})
}

// TestProbeIsSlowWithoutExchanges counts its wakes: 100 a second, and 20 while there
// was no exchange for a second.
func TestProbeIsSlowWithoutExchanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMonitor(t, nil)
		defer run(t, m)()
		wakes := func() uint64 {
			var metric dto.Metric
			if err := m.metrics.lateness.Write(&metric); err != nil {
				t.Fatal(err)
			}
			return metric.GetHistogram().GetSampleCount()
		}
		in := func(d time.Duration) uint64 {
			before := wakes()
			time.Sleep(d)
			return wakes() - before
		}
		time.Sleep(5 * time.Second)
		if n := in(time.Second); n < 19 || n > 21 {
			t.Errorf("%d wakes in an idle second", n)
		}
		x := begin(m, "r")
		if n := in(time.Second); n < 98 || n > 101 {
			t.Errorf("%d wakes in a second with an exchange", n)
		}
		x.End()
		if n := in(time.Second); n < 98 || n > 101 {
			t.Errorf("%d wakes in the second after its end", n)
		}
		time.Sleep(time.Second)
		if n := in(time.Second); n < 19 || n > 21 {
			t.Errorf("%d wakes in an idle second again", n)
		}
		// The ticks are right from the first step on, however slow the probe was.
		time.Sleep(33 * time.Millisecond)
		x = begin(m, "r")
		x.Enter(parse)
		dawdle(85 * time.Millisecond)
		x.End()
		if s := m.Status(); s.SlowCallbacksCount != 0 {
			t.Errorf("a step of 85 ms is slow: %+v", s.RecentSlowCallbacks)
		}
	})
}

func TestAStepAfterTheEndHarmsNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMonitor(t, nil)
		defer run(t, m)()
		x := begin(m, "r")
		x.End()
		time.Sleep(time.Second)
		x.Enter(parse)
		x.Leave()
		if s := m.Status(); s.TotalCallbacks != 0 || s.CurrentPendingTasks != 0 {
			t.Errorf("%+v", s)
		}
	})
}

// nil2s is a channel that is closed after two seconds.
func nil2s() <-chan struct{} {
	c := make(chan struct{})
	time.AfterFunc(2*time.Second, func() { close(c) })
	return c
}

func TestSlowStepsAreLoggedOnceAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		m := New(testConfig(), t.TempDir(), slog.New(slog.NewTextHandler(&log, nil)), prometheus.NewRegistry())
		m.Steps("", "parse", "dispatch")
		stop := run(t, m)
		slow := func(step int) {
			x := begin(m, "r")
			x.Enter(step)
			dawdle(200 * time.Millisecond)
			x.End()
		}
		for range 10 {
			slow(parse)
		}
		slow(dispatch)
		time.Sleep(time.Minute)
		slow(parse)
		time.Sleep(5 * time.Second)
		stop()
		if got := strings.Count(log.String(), "slow step"); got != 3 {
			t.Errorf("%d lines, want two of parse and one of dispatch:\n%s", got, log.String())
		}
		if !strings.Contains(log.String(), "monitor.dawdle") {
			t.Errorf("no line has the stack:\n%s", log.String())
		}
	})
}

func TestRingAndPlacesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMonitor(t, nil)
		defer run(t, m)()
		for range recentSlow + 10 {
			x := begin(m, "r")
			x.Enter(parse)
			dawdle(150 * time.Millisecond)
			x.End()
		}
		if s := m.Status(); len(s.RecentSlowCallbacks) != recentSlow || s.SlowCallbacksCount != recentSlow+10 {
			t.Errorf("%d kept, %d counted", len(s.RecentSlowCallbacks), s.SlowCallbacksCount)
		}
		var all []*exchange
		for range maxWatched + 5 {
			x := begin(m, "r")
			x.Enter(parse)
			all = append(all, x)
		}
		if s := m.Status(); s.CurrentPendingTasks != maxWatched+5 || s.MaxPendingTasks != maxWatched+5 {
			t.Errorf("%d pending, %d at most", s.CurrentPendingTasks, s.MaxPendingTasks)
		}
		time.Sleep(2 * time.Second)
		if status, reasons := m.Health(); status != Warning || !strings.Contains(names(reasons), "high_pending_tasks (100)") {
			t.Errorf("health %s %q", status, reasons)
		}
		for _, x := range slices.Backward(all) {
			x.End()
		}
		if s := m.Status(); s.CurrentPendingTasks != 0 {
			t.Errorf("%d pending after all have ended", s.CurrentPendingTasks)
		}
	})
}

// One exchange after another on a connection takes the same place, for what is at hand
// costs less, unless somebody else has it.
func TestThePlaceOfTheLastExchange(t *testing.T) {
	m := newMonitor(t, nil)
	var first, second, other progress.Exchange
	place := m.Begin(&first, "r1", nil)
	place.End()
	if again := m.Begin(&second, "r2", place); again != place {
		t.Error("the place is free, and another was taken")
	}
	if third := m.Begin(&other, "r3", place); third == place {
		t.Error("two exchanges have one place")
	}
	if got := m.Status().CurrentPendingTasks; got != 2 {
		t.Errorf("%d pending, want 2", got)
	}
}

// A place beyond the bound is forgotten with its exchange, and keeps nothing of it.
func TestNoPlaceIsNotTakenAgain(t *testing.T) {
	m := newMonitor(t, nil)
	for range maxWatched {
		begin(m, "r")
	}
	unwatched := new(progress.Exchange)
	none := m.Begin(unwatched, "r", nil)
	none.End()
	ended := weak.Make(unwatched)
	runtime.GC()
	if ended.Value() != nil {
		t.Error("what was watched by nobody is kept")
	}
	if x := m.Begin(new(progress.Exchange), "r", none); x == none {
		t.Error("what is no place was taken again")
	}
	if got := m.Status().CurrentPendingTasks; got != maxWatched+1 {
		t.Errorf("%d pending, want %d", got, maxWatched+1)
	}
	runtime.KeepAlive(none)
}

func TestHealthyRunRaisesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMonitor(t, func(c *Config) { c.FlightRecorder.Enabled = true })
		defer run(t, m)()
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				for range 100 {
					x := begin(m, "r")
					x.Enter(parse)
					done := Track(x.place, progress.KindExchange, new([64]byte), 64, "r")
					x.Enter(dispatch)
					x.Leave()
					time.Sleep(500 * time.Millisecond)
					done()
					x.End()
				}
			})
		}
		wg.Wait()
		time.Sleep(10 * time.Minute)
		d := m.Diagnose()
		if d.HealthStatus != Healthy || len(d.Reasons) != 0 || d.Metrics.SlowCallbacksCount != 0 || d.Metrics.LoopStalls != 0 {
			t.Errorf("a healthy run: %+v", d)
		}
		if d.Metrics.TotalCallbacks != 4000 || d.Metrics.MaxPendingTasks != 20 {
			t.Errorf("%d steps, %d pending at most", d.Metrics.TotalCallbacks, d.Metrics.MaxPendingTasks)
		}
		l := m.Leaks()
		if l.PotentialLeaks != 0 || l.ObjectsTracked != 2000 || l.ObjectsFreed != 2000 {
			t.Errorf("leaks of a healthy run: %+v", l)
		}
		if status, reasons := m.MemoryHealth(); status != Healthy {
			t.Errorf("memory %s %q", status, reasons)
		}
		if m.flight.recording() {
			t.Error("the flight recorder runs though all was well")
		}
	})
}

func TestLateProbe(t *testing.T) {
	tests := []struct {
		late        time.Duration
		slow, stall int64
		want        Health
	}{
		{0, 0, 0, Healthy},
		{99 * time.Millisecond, 0, 0, Healthy},
		{100 * time.Millisecond, 1, 0, Warning},
		{2 * time.Second, 1, 1, Warning},
		{10 * time.Second, 1, 1, Critical},
	}
	for _, tt := range tests {
		synctest.Test(t, func(t *testing.T) {
			m := newMonitor(t, nil)
			time.Sleep(time.Minute)
			m.slow.profiling.Store(true) // the processor's profile does not keep the bubble's time
			m.late(t.Context(), m.now(), tt.late)
			s := m.Status()
			if s.SlowCallbacksCount != tt.slow || s.LoopStalls != tt.stall {
				t.Errorf("late by %v: %d slow, %d stalls", tt.late, s.SlowCallbacksCount, s.LoopStalls)
			}
			if tt.slow > 0 && (s.RecentSlowCallbacks[0].Name != SchedulerStep || s.MaxCallbackTimeMS != milliseconds(tt.late)) {
				t.Errorf("late by %v: %+v", tt.late, s)
			}
			if got, reasons := m.Health(); got != tt.want {
				t.Errorf("late by %v: %s %q", tt.late, got, reasons)
			}
		})
	}
}
