package resilience

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func spend(r *RetryBudget, n int) (granted int) {
	for range n {
		if r.Spend() {
			granted++
		}
	}
	return granted
}

func TestRetryBudget(t *testing.T) {
	for _, tc := range []struct {
		name                       string
		percent, requests, granted int
	}{
		{"nothing asked yet", 20, 0, 10},
		{"a quiet proxy has the floor", 20, 50, 10},
		{"just above the floor", 20, 55, 11},
		{"a busy one has its share", 20, 1000, 200},
		{"fractions are not rounded up", 20, 999, 199},
		{"no share leaves the floor", 0, 1000, 10},
		{"every request once more", 100, 1000, 1000},
	} {
		r := NewRetryBudget(tc.percent)
		for range tc.requests {
			r.Request()
		}
		if got := spend(r, 2000); got != tc.granted {
			t.Errorf("%s: %d retries, want %d", tc.name, got, tc.granted)
		}
		want := RetryStats{Requests: tc.requests, Retries: tc.granted, Limit: tc.granted, Refused: int64(2000 - tc.granted)}
		if got := r.Stats(); got != want {
			t.Errorf("%s: %+v, want %+v", tc.name, got, want)
		}
	}
}

func TestRetryBudgetComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := NewRetryBudget(20)
		if got := spend(r, 4); got != 4 {
			t.Fatalf("%d retries, want 4", got)
		}
		time.Sleep(5 * time.Second)
		if got := spend(r, 20); got != 6 {
			t.Errorf("%d more after 5 s, want 6", got)
		}
		time.Sleep(5*time.Second + budgetBucket)
		if got := spend(r, 20); got != 4 {
			t.Errorf("%d more when the first 4 are over 10 s old, want 4", got)
		}
		time.Sleep(time.Hour)
		if got := spend(r, 20); got != 10 {
			t.Errorf("%d an hour later, want 10", got)
		}
	})
}

// TestRetryBudgetIsNeverExceeded looks at the 10 s before each retry, to the
// nanosecond, and at those before each refusal, to the bucket.
func TestRetryBudgetIsNeverExceeded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const percent = 20
		rnd := rand.New(rand.NewPCG(3, 4))
		r := NewRetryBudget(percent)
		var requests, retries []time.Time
		within := func(of []time.Time, d time.Duration) (n int) {
			for i := len(of) - 1; i >= 0 && time.Since(of[i]) < d; i-- {
				n++
			}
			return n
		}
		granted, refused := 0, 0
		for i := range 30_000 {
			switch n := rnd.IntN(10); {
			case n < 4:
				r.Request()
				requests = append(requests, time.Now())
			case n < 7:
				if r.Spend() {
					granted++
					retries = append(retries, time.Now())
					if n, limit := within(retries, budgetWindow), max(10, within(requests, budgetWindow)*percent/100); n > limit {
						t.Fatalf("event %d: %d retries in 10 s, want at most %d", i, n, limit)
					}
				} else {
					refused++
					n, limit := within(retries, budgetWindow+budgetBucket), max(10, within(requests, budgetWindow-budgetBucket)*percent/100)
					if n < limit {
						t.Fatalf("event %d: refused with %d retries, the limit being %d", i, n, limit)
					}
				}
			case i/3000%2 == 0:
				time.Sleep(time.Duration(rnd.Int64N(int64(20 * time.Millisecond))))
			default:
				time.Sleep(time.Duration(rnd.Int64N(int64(time.Second))))
			}
		}
		if granted < 1000 || refused < 1000 {
			t.Errorf("%d granted, %d refused: the events exercise too little", granted, refused)
		}
	})
}

func TestRetryBudgetManyGoroutines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // time stands still
		r := NewRetryBudget(20)
		var granted atomic.Int64
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				for range 100 {
					r.Request()
					granted.Add(int64(spend(r, 1)))
				}
			})
		}
		wg.Wait()
		if s := r.Stats(); s.Requests != 2000 || int64(s.Retries) != granted.Load() || s.Retries > 400 || s.Retries < 10 {
			t.Errorf("%+v, %d granted", s, granted.Load())
		}
	})
}

func TestBackoff(t *testing.T) {
	c := RetryConfig{BaseBackoff: 50 * time.Millisecond, MaxBackoff: 2 * time.Second}
	for _, tc := range []struct {
		attempt int
		limit   time.Duration
	}{
		{0, 50 * time.Millisecond},
		{1, 50 * time.Millisecond},
		{2, 100 * time.Millisecond},
		{5, 800 * time.Millisecond},
		{6, 1600 * time.Millisecond},
		{7, 2 * time.Second},
		{1000, 2 * time.Second},
	} {
		least, most := tc.limit, time.Duration(0)
		for range 300 {
			d := c.Backoff(tc.attempt)
			least, most = min(least, d), max(most, d)
		}
		if least < 0 || least > tc.limit/16 || most > tc.limit || most < tc.limit*15/16 {
			t.Errorf("attempt %d: %s to %s, want spread over 0 to %s", tc.attempt, least, most, tc.limit)
		}
	}
}

func TestDoubled(t *testing.T) {
	const most = time.Duration(1<<63 - 1)
	for _, tc := range []struct {
		base  time.Duration
		n     int
		limit time.Duration
		want  time.Duration
	}{
		{30, 0, 300, 30},
		{30, 3, 300, 240},
		{30, 4, 300, 300},
		{30, 3, 240, 240},
		{30, 0, 20, 20},
		{1, 62, most, 1 << 62},
		{1, 63, most, most},
		{most, 1, most, most},
		{30, 1 << 40, 300, 300},
		{0, 1 << 40, 300, 0},
	} {
		if got := doubled(tc.base, tc.n, tc.limit); got != tc.want {
			t.Errorf("doubled(%d, %d, %d) = %d, want %d", tc.base, tc.n, tc.limit, got, tc.want)
		}
	}
}
