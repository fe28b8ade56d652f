package resilience

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestReset(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got []Transition
		b := NewBreaker("ollama", defaults, func(tr Transition) { got = append(got, tr) })
		trip(t, b)
		admitted(t, b).Report(Failure, "still down")
		wantState(t, b, Open)
		before := b.Status()
		after := b.Reset()
		if after != b.Status() {
			t.Errorf("Reset returned %+v, status is %+v", after, b.Status())
		}
		if after.State != Closed || after.ConsecutiveOpenings != 0 || after.FailCount != 0 || after.ConsecutiveFailures != 0 ||
			after.SecondsUntilRetry != 0 || after.Metrics != before.Metrics {
			t.Errorf("after the reset: %+v", after)
		}
		if last := got[len(got)-1]; last != (Transition{Name: "ollama", From: Open, To: Closed, Cause: "reset"}) {
			t.Errorf("transition %+v", last)
		}
		report(t, b, 4, Failure)
		b.Reset()
		report(t, b, 4, Failure)
		wantState(t, b, Closed)
		if len(got) != 4 {
			t.Errorf("a reset of a closed breaker is no change of state: %+v", got)
		}
	})
}

func TestDisabledAdmitsAndCounts(t *testing.T) {
	cfg := defaults
	cfg.Enabled = false
	b := NewBreaker("ollama", cfg, nil)
	report(t, b, 100, Failure)
	s := b.Status()
	if s.State != Closed || s.FailCount != 100 || s.ConsecutiveFailures != 100 || s.Metrics.FailedRequests != 100 {
		t.Errorf("disabled: %+v", s)
	}
	b.Configure(defaults)
	wantState(t, b, Closed)
	report(t, b, 1, Failure)
	wantState(t, b, Open)
	b.Configure(cfg)
	report(t, b, 1, Success)
	if s := b.Status(); s.State != Closed || s.Metrics.FailedRequests != 101 || s.Metrics.SuccessfulRequests != 1 {
		t.Errorf("disabled while open: %+v", s)
	}
}

func TestConfigureKeepsStateAndCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := NewBreaker("ollama", defaults, nil)
		report(t, b, 3, Failure)
		cfg := defaults
		cfg.FailThreshold, cfg.BaseTimeout, cfg.HalfOpenTestCount, cfg.ProbeTimeout = 4, 10*time.Second, 2, time.Second
		before := b.Status()
		b.Configure(cfg)
		if after := b.Status(); after != before {
			t.Errorf("before %+v, after %+v", before, after)
		}
		report(t, b, 1, Failure)
		if left := refused(t, b); left < 8*time.Second || left > 12*time.Second {
			t.Errorf("open for %s, want 8 to 12 s", left)
		}
		b.Configure(defaults)
		time.Sleep(refused(t, b))
		b.Configure(cfg)
		report(t, b, 1, Success)
		admitted(t, b)
		admitted(t, b)
		refused(t, b)
		time.Sleep(time.Second)
		synctest.Wait()
		if s := b.Status(); s.State != Open || s.ConsecutiveOpenings != 2 {
			t.Errorf("after the new probe timeout: %+v", s)
		}
	})
}
