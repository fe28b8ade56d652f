package resilience

import (
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// defaults are the shipped settings.
var defaults = BreakerConfig{
	Enabled:           true,
	FailThreshold:     5,
	BaseTimeout:       30 * time.Second,
	MaxTimeout:        300 * time.Second,
	HalfOpenTestCount: 3,
	ProbeTimeout:      30 * time.Second,
}

// admitted asks for a permit that must be given.
func admitted(t *testing.T, b *Breaker) *Permit {
	t.Helper()
	p, err := b.Allow()
	if err != nil {
		t.Fatalf("Allow: %v, want admission; %+v", err, b.Status())
	}
	return p
}

// refused asks for a permit that must not be given, and returns the wait.
func refused(t *testing.T, b *Breaker) time.Duration {
	t.Helper()
	p, err := b.Allow()
	open, ok := errors.AsType[*OpenError](err)
	if p != nil || !ok || open.Name != b.name {
		t.Fatalf("Allow: %v, %v, want an OpenError of %s", p, err, b.name)
	}
	return open.RetryAfter
}

func report(t *testing.T, b *Breaker, n int, o Outcome) {
	t.Helper()
	for range n {
		admitted(t, b).Report(o, "connection refused")
	}
}

// trip opens a closed breaker and lets its open time pass.
func trip(t *testing.T, b *Breaker) {
	t.Helper()
	report(t, b, b.cfg.FailThreshold, Failure)
	wantState(t, b, Open)
	time.Sleep(refused(t, b))
}

func wantState(t *testing.T, b *Breaker, want State) {
	t.Helper()
	if got := b.State(); got != want {
		t.Fatalf("state %s, want %s; %+v", got, want, b.Status())
	}
}

func TestOpenTimesGrow(t *testing.T) {
	table := []struct{ from, to time.Duration }{
		{24 * time.Second, 36 * time.Second},
		{48 * time.Second, 72 * time.Second},
		{96 * time.Second, 144 * time.Second},
		{192 * time.Second, 288 * time.Second},
		{240 * time.Second, 360 * time.Second},
		{240 * time.Second, 360 * time.Second},
	}
	synctest.Test(t, func(t *testing.T) {
		least, most := make([]time.Duration, len(table)), make([]time.Duration, len(table))
		for range 300 {
			b := NewBreaker("ollama", defaults, nil)
			report(t, b, 4, Failure)
			for k, row := range table {
				report(t, b, 1, Failure)
				left := refused(t, b)
				if left < row.from || left > row.to {
					t.Fatalf("opening %d lasts %s, want %s to %s", k+1, left, row.from, row.to)
				}
				if least[k] == 0 || left < least[k] {
					least[k] = left
				}
				most[k] = max(most[k], left)
				time.Sleep(left - time.Millisecond)
				refused(t, b)
				time.Sleep(time.Millisecond)
			}
		}
		// 300 draws reach both ends of the range but for once in a million runs.
		for k, row := range table {
			if margin := (row.to - row.from) / 16; least[k] > row.from+margin || most[k] < row.to-margin {
				t.Errorf("opening %d lasted %s to %s, want spread over %s to %s", k+1, least[k], most[k], row.from, row.to)
			}
		}
	})
}

func TestOpensAfterARunOfFailuresOnly(t *testing.T) {
	b := NewBreaker("ollama", defaults, nil)
	report(t, b, 4, Failure)
	report(t, b, 1, Success)
	report(t, b, 4, Failure)
	wantState(t, b, Closed)
	if s := b.Status(); s.FailCount != 8 || s.ConsecutiveFailures != 4 || s.LastError != "connection refused" {
		t.Errorf("8 failures, 4 in a row: %+v", s)
	}
	report(t, b, 1, Failure)
	wantState(t, b, Open)
}

func TestNeutralMovesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := NewBreaker("ollama", defaults, nil)
		report(t, b, 4, Failure)
		before := b.Status()
		report(t, b, 1000, Neutral)
		after := b.Status()
		before.Metrics.NeutralRequests += 1000
		before.Metrics.TotalRequests += 1000
		if after != before {
			t.Errorf("1000 neutral outcomes:\n got %+v\nwant %+v", after, before)
		}
		report(t, b, 1, Failure)
		time.Sleep(refused(t, b))
		report(t, b, 1000, Neutral)
		wantState(t, b, HalfOpen)
		report(t, b, 3, Success)
		wantState(t, b, Closed)
	})
}

func TestBackoffIsForgottenAtAWholeAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := NewBreaker("ollama", defaults, nil)
		trip(t, b)
		// Streams that begin well close it, and die.
		for k := 2; k <= 4; k++ {
			var streams []*Permit
			for range 3 {
				p := admitted(t, b)
				p.FirstGood()
				streams = append(streams, p)
			}
			wantState(t, b, Closed)
			for _, p := range streams {
				p.Report(Failure, "broke off")
			}
			if s := b.Status(); s.ConsecutiveFailures != 3 || s.FailCount != 3 || s.ConsecutiveOpenings != k-1 {
				t.Fatalf("after 3 probes that died: %+v", s)
			}
			report(t, b, 2, Failure)
			if s := b.Status(); s.State != Open || s.ConsecutiveOpenings != k {
				t.Fatalf("opening %d: %+v", k, s)
			}
			time.Sleep(refused(t, b))
		}
		// One whole answer is enough.
		p := admitted(t, b)
		for _, p := range []*Permit{p, admitted(t, b), admitted(t, b)} {
			p.FirstGood()
		}
		wantState(t, b, Closed)
		p.Report(Success, "")
		report(t, b, 5, Failure)
		if left := refused(t, b); left < 24*time.Second || left > 36*time.Second {
			t.Errorf("first opening after a recovery lasts %s", left)
		}
	})
}

func TestAWholeAnswerThatClosesIsARecovery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := NewBreaker("ollama", defaults, nil)
		trip(t, b)
		report(t, b, 3, Success)
		if s := b.Status(); s.State != Closed || s.ConsecutiveOpenings != 0 {
			t.Errorf("after 3 whole answers: %+v", s)
		}
	})
}

func TestHalfOpenSlots(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := NewBreaker("ollama", defaults, nil)
		trip(t, b)
		probes := make(chan *Permit, 100)
		var wg sync.WaitGroup
		for range 100 {
			wg.Go(func() {
				if p, err := b.Allow(); err == nil {
					probes <- p
				}
			})
		}
		wg.Wait()
		if len(probes) != 3 {
			t.Fatalf("%d of 100 were admitted, want 3", len(probes))
		}
		if left := refused(t, b); left != busyRetryAfter {
			t.Errorf("beyond the slots: %s, want %s", left, busyRetryAfter)
		}
		// Each of these gives one slot back, and one only.
		(<-probes).Report(Neutral, "client left")
		p := admitted(t, b)
		refused(t, b)
		p.FirstGood()
		p.FirstGood()
		admitted(t, b).Report(Success, "")
		admitted(t, b)
		refused(t, b)
		wantState(t, b, HalfOpen)
		(<-probes).Report(Success, "")
		wantState(t, b, Closed)
		if s := b.Status().Metrics; s.RecoveryAttempts != 1 || s.RecoverySuccesses != 1 || s.StateTransitions.HalfOpenToClosed != 1 {
			t.Errorf("one recovery: %+v", s)
		}
	})
}

// TestProbeComesTooLate: between the look at the phase and the lock, others
// have changed the state.
func TestProbeComesTooLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := NewBreaker("ollama", defaults, nil)
		if p, err := b.allowProbe(); err != nil || p.lease != nil {
			t.Errorf("closed: %+v, %v, want an ordinary permit", p, err)
		}
		report(t, b, 5, Failure)
		_, err := b.allowProbe()
		if open, ok := errors.AsType[*OpenError](err); !ok || open.RetryAfter != refused(t, b) {
			t.Errorf("open: %v", err)
		}
	})
}

func TestErrorTexts(t *testing.T) {
	for want, err := range map[string]error{
		`circuit breaker "ollama" is open: try again in 1.5s`:      &OpenError{Name: "ollama", RetryAfter: 1500 * time.Millisecond},
		"no place is free: 4 requests in flight, 100 in the queue": &FullError{InFlight: 4, Queued: 100},
		"no place became free in 30s":                              &QueueTimeoutError{Waited: 30 * time.Second},
	} {
		if err.Error() != want {
			t.Errorf("%q, want %q", err, want)
		}
	}
}

func TestHungProbe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var causes []string
		b := NewBreaker("ollama", defaults, func(tr Transition) { causes = append(causes, tr.Cause) })
		trip(t, b)
		hung := []*Permit{admitted(t, b), admitted(t, b), admitted(t, b)}
		time.Sleep(30*time.Second - 1)
		wantState(t, b, HalfOpen)
		time.Sleep(time.Nanosecond)
		synctest.Wait() // nobody asks, and it opens all the same
		s := b.Status()
		if s.State != Open || s.ConsecutiveOpenings != 2 || s.FailCount != 6 || s.Metrics.FailedRequests != 6 {
			t.Fatalf("after a hung probe: %+v", s)
		}
		if want := "a probe had no result after 30s"; s.LastError != want || causes[2] != want {
			t.Errorf("last error %q, causes %q, want %q", s.LastError, causes, want)
		}

		// Late results: each request is counted once, and no state moves.
		for _, p := range hung {
			p.FirstGood()
			p.Report(Success, "")
			p.Report(Failure, "twice")
		}
		late := b.Status()
		if late.State != Open || late.FailCount != 6 || late.LastError != s.LastError ||
			late.Metrics.FailedRequests != 6 || late.Metrics.SuccessfulRequests != 2 {
			t.Errorf("after late results: %+v", late)
		}
		time.Sleep(refused(t, b))
		report(t, b, 3, Success)
		wantState(t, b, Closed)
	})
}

func TestLongProbes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := NewBreaker("ollama", defaults, nil)
		trip(t, b)
		// A stream of an hour was judged at its first event.
		stream := admitted(t, b)
		stream.FirstGood()
		if stream.lease.Stop() {
			t.Error("the timer of a judged probe is still running")
		}
		stream.expire(0) // as if the timer had gone off in the same moment
		time.Sleep(time.Hour)
		wantState(t, b, HalfOpen)
		// One whose period is over has no lease any more.
		slow := admitted(t, b)
		report(t, b, 2, Success)
		wantState(t, b, Closed)
		time.Sleep(time.Hour)
		wantState(t, b, Closed)
		before := b.Status().Metrics
		slow.Report(Success, "")
		stream.Report(Success, "")
		after := b.Status().Metrics
		if after.SuccessfulRequests != before.SuccessfulRequests+2 || after.FailedRequests != before.FailedRequests {
			t.Errorf("before %+v, after %+v", before, after)
		}
	})
}

func TestResultsFromBeforeAChangeDecideNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := NewBreaker("ollama", defaults, nil)
		var old []*Permit
		for range 20 {
			old = append(old, admitted(t, b))
		}
		trip(t, b)
		old[0].Report(Failure, "late")
		old[1].Report(Success, "")
		wantState(t, b, Open)
		probe := admitted(t, b)
		old[2].Report(Failure, "late")
		old[3].Report(Success, "")
		wantState(t, b, HalfOpen)
		b.Reset()
		probe.FirstGood()
		probe.Report(Failure, "late")
		for _, p := range old[4:] {
			p.Report(Failure, "late")
		}
		s := b.Status()
		if s.State != Closed || s.FailCount != 0 || s.ConsecutiveFailures != 0 || s.LastError != "connection refused" {
			t.Errorf("late results moved the state: %+v", s)
		}
		if m := s.Metrics; m.FailedRequests != 5+1+1+1+16 || m.SuccessfulRequests != 2 {
			t.Errorf("late results are counted once: %+v", m)
		}
	})
}

func TestJudgedProbeIsNoResultOfALaterPeriod(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := NewBreaker("ollama", defaults, nil)
		trip(t, b)
		stream := admitted(t, b)
		stream.FirstGood()
		report(t, b, 2, Success)
		trip(t, b)
		report(t, b, 3, Success)
		stream.Report(Failure, "broke off")
		if s := b.Status(); s.State != Closed || s.FailCount != 0 {
			t.Errorf("a stream from an earlier period moved the state: %+v", s)
		}
	})
}

// TestShortestOpenTime: gobreaker itself stays open for a nanosecond.
func TestShortestOpenTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := defaults
		cfg.BaseTimeout = 1
		b := NewBreaker("ollama", cfg, nil)
		report(t, b, 5, Failure)
		refused(t, b)
		time.Sleep(2 * time.Nanosecond)
		admitted(t, b)
	})
}
