package resilience

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestStatusJSON(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := NewBreaker("ollama", defaults, nil)
		for range 2 { // as made, and as after a reset that changed nothing
			got, err := json.Marshal(b.Status())
			if err != nil {
				t.Fatal(err)
			}
			want := `{"name":"ollama","state":"closed","fail_count":0,"consecutive_failures":0,"consecutive_openings":0,` +
				`"seconds_until_retry":0,"last_error":"","last_state_change":"2000-01-01T00:00:00Z","metrics":{` +
				`"total_requests":0,"successful_requests":0,"failed_requests":0,"neutral_requests":0,"rejected_requests":0,` +
				`"success_rate":1,"recovery_attempts":0,"recovery_successes":0,"recovery_success_rate":1,"state_transitions":{` +
				`"closed_to_open":0,"open_to_half_open":0,"half_open_to_closed":0,"half_open_to_open":0}}}`
			if string(got) != want {
				t.Errorf("\n got %s\nwant %s", got, want)
			}
			b.Reset()
		}

		time.Sleep(time.Second)
		report(t, b, 3, Success)
		report(t, b, 2, Neutral)
		report(t, b, 5, Failure)
		refused(t, b)
		time.Sleep(refused(t, b))
		report(t, b, 1, Failure)
		left := b.Status().SecondsUntilRetry
		got, err := json.Marshal(b.Status())
		if err != nil {
			t.Fatal(err)
		}
		want := `"state":"open","fail_count":6,"consecutive_failures":6,"consecutive_openings":2,` +
			fmt.Sprintf(`"seconds_until_retry":%v,"last_error":"connection refused","last_state_change":"2000-01-01T00:00:`, left)
		if !strings.Contains(string(got), want) {
			t.Errorf("\n got %s\nwant %s", got, want)
		}
		want = `"total_requests":13,"successful_requests":3,"failed_requests":6,"neutral_requests":2,"rejected_requests":2,` +
			`"success_rate":0.3333333333333333,"recovery_attempts":1,"recovery_successes":0,"recovery_success_rate":0,` +
			`"state_transitions":{"closed_to_open":1,"open_to_half_open":1,"half_open_to_closed":0,"half_open_to_open":1}}}`
		if !strings.HasSuffix(string(got), want) {
			t.Errorf("\n got %s\nwant %s", got, want)
		}
	})
}

func TestAskingChangesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := NewBreaker("ollama", defaults, nil)
		trip(t, b)
		time.Sleep(time.Hour)
		if s := b.Status(); s.State != Open || s.SecondsUntilRetry != 0 {
			t.Errorf("an hour after its time: %+v", s)
		}
		wantState(t, b, Open)
		admitted(t, b)
		wantState(t, b, HalfOpen)
	})
}

func TestTransitions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got []Transition
		var b *Breaker
		b = NewBreaker("ollama", defaults, func(tr Transition) {
			got = append(got, tr)
			// No lock is held: the breaker can be asked, and even changed.
			if tr.Cause == "still down" {
				b.Reset()
				if b.State() != Closed || len(got) != 3 {
					t.Errorf("in the callback: %s, %+v", b.State(), got)
				}
			}
		})
		trip(t, b)
		admitted(t, b).Report(Failure, "still down")
		want := []Transition{
			{Name: "ollama", From: Closed, To: Open, Cause: "connection refused", Openings: 1},
			{Name: "ollama", From: Open, To: HalfOpen, Cause: "open time is over", Openings: 1},
			{Name: "ollama", From: HalfOpen, To: Open, Cause: "still down", Openings: 2},
			{Name: "ollama", From: Open, To: Closed, Cause: "reset"},
		}
		for i := range got {
			if (got[i].OpenFor > 0) != (got[i].To == Open) {
				t.Errorf("open time of %+v", got[i])
			}
			got[i].OpenFor = 0
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("\n got %v\nwant %v", got, want)
		}
	})
}

func TestRefusalIsShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := NewBreaker("ollama", defaults, nil)
		report(t, b, 5, Failure)
		if n := testing.AllocsPerRun(1000, func() { _, _ = b.Allow() }); n != 0 {
			t.Errorf("a refusal allocates %v times", n)
		}
		_, first := b.Allow()
		before := first.(*OpenError).RetryAfter
		time.Sleep(7 * time.Second)
		if left := refused(t, b); left != before-7*time.Second || first.(*OpenError).RetryAfter != before {
			t.Errorf("%s before, 7 s later %s; the first error says %s", before, left, first)
		}
	})
}
