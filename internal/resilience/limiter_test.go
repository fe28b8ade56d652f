package resilience

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func wantCounts(t *testing.T, l *Limiter, inFlight, waiting int) {
	t.Helper()
	if l.InFlight() != inFlight || l.Waiting() != waiting {
		t.Fatalf("%d in flight, %d waiting, want %d and %d", l.InFlight(), l.Waiting(), inFlight, waiting)
	}
}

func TestLimiterWithoutALimit(t *testing.T) {
	l := NewLimiter(0, 0, 0)
	for range 1000 {
		if err := l.Acquire(t.Context()); err != nil || !l.TryAcquire() {
			t.Fatalf("refused: %v", err)
		}
	}
	wantCounts(t, l, 2000, 0)
}

func TestLimiterRefusals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := NewLimiter(1, 1, 30*time.Second)
		gone, leave := context.WithCancelCause(t.Context())
		errLeft := errors.New("client left")
		leave(errLeft)
		if err := l.Acquire(gone); err != errLeft {
			t.Errorf("whoever has left gets no place: %v", err)
		}
		if !l.TryAcquire() || l.TryAcquire() {
			t.Error("want one place")
		}

		start := time.Now()
		done := make(chan error)
		go func() { done <- l.Acquire(t.Context()) }()
		synctest.Wait()
		wantCounts(t, l, 1, 1)
		full, ok := errors.AsType[*FullError](l.Acquire(t.Context()))
		if !ok || *full != (FullError{InFlight: 1, Queued: 1}) {
			t.Errorf("full queue: %v", full)
		}
		late, ok := errors.AsType[*QueueTimeoutError](<-done)
		if !ok || late.Waited != 30*time.Second || time.Since(start) != 30*time.Second {
			t.Errorf("after %s: %v", time.Since(start), late)
		}
		wantCounts(t, l, 1, 0)

		waiting, leave := context.WithCancelCause(t.Context())
		go func() { done <- l.Acquire(waiting) }()
		synctest.Wait()
		leave(errLeft)
		if err := <-done; err != errLeft {
			t.Errorf("left while waiting: %v", err)
		}
		wantCounts(t, l, 1, 0)
		l.Release()
		wantCounts(t, l, 0, 0)
	})
}

func TestLimiterWaitsForItsContextOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := NewLimiter(1, 1, 0)
		l.TryAcquire()
		go func() {
			time.Sleep(24 * time.Hour)
			l.Release()
		}()
		if err := l.Acquire(t.Context()); err != nil {
			t.Error(err)
		}
		wantCounts(t, l, 1, 0)
	})
}

func TestLimiterNobodyOvertakes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := NewLimiter(1, 10, 0)
		l.TryAcquire()
		go func() { _ = l.Acquire(t.Context()) }()
		synctest.Wait()
		l.Release()
		if l.TryAcquire() {
			t.Error("a newcomer took the waiter's place")
		}
		synctest.Wait()
		wantCounts(t, l, 1, 0)
	})
}

// TestLimiterTurnOfOneWhoLeaves: the place comes when its waiter is already
// on its way out, and goes on to the next.
func TestLimiterTurnOfOneWhoLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := NewLimiter(1, 2, 0)
		for range 200 {
			l.TryAcquire()
			ctx, leave := context.WithCancel(t.Context())
			go func() { _ = l.Acquire(ctx) }()
			synctest.Wait()
			next := make(chan error, 1)
			go func() { next <- l.Acquire(t.Context()) }()
			synctest.Wait()
			leave()
			l.Release()
			synctest.Wait()
			wantCounts(t, l, 1, 0)
			if err := <-next; err != nil {
				t.Fatal(err)
			}
			l.Release()
		}
	})
}

func TestLimiterConfigure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := NewLimiter(1, 10, 0)
		l.TryAcquire()
		for range 5 {
			go func() { _ = l.Acquire(t.Context()) }()
		}
		synctest.Wait()
		wantCounts(t, l, 1, 5)
		l.Configure(3, 2, time.Second)
		wantCounts(t, l, 3, 3)
		if _, ok := errors.AsType[*FullError](l.Acquire(t.Context())); !ok {
			t.Error("the queue is shorter now")
		}
		time.Sleep(time.Hour) // who waited before waits on
		wantCounts(t, l, 3, 3)
		l.Configure(1, 2, time.Second)
		l.Release()
		l.Release()
		wantCounts(t, l, 1, 3)
		l.Configure(0, 0, 0)
		wantCounts(t, l, 4, 0)
	})
}

func TestLimiterReleaseWithoutAcquire(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("want a panic")
		}
	}()
	NewLimiter(1, 1, 0).Release()
}

// TestLimiterIsFair holds the limiter against a plain list: whoever came first
// and has not left is admitted first.
func TestLimiterIsFair(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const queue = 8
		rnd := rand.New(rand.NewPCG(5, 6))
		limit := 3
		l := NewLimiter(limit, queue, 0)
		var mu sync.Mutex
		var admitted, left []int
		leave := map[int]context.CancelFunc{}
		var line, wantAdmitted, wantLeft []int
		inFlight, seen, seenLeft := 0, 0, 0
		serve := func() {
			for len(line) > 0 && inFlight < limit {
				wantAdmitted, line, inFlight = append(wantAdmitted, line[0]), line[1:], inFlight+1
			}
		}
		for id := range 20_000 {
			switch n := rnd.IntN(20); {
			case n < 10:
				ctx, cancel := context.WithCancel(t.Context())
				leave[id] = cancel
				go func() {
					err := l.Acquire(ctx)
					mu.Lock()
					defer mu.Unlock()
					switch {
					case err == nil:
						admitted = append(admitted, id)
					case errors.Is(err, context.Canceled):
						left = append(left, id)
					}
				}()
				if inFlight < limit && len(line) == 0 || len(line) < queue {
					line = append(line, id)
				}
			case n < 13 && len(line) > 0:
				i := rnd.IntN(len(line))
				leave[line[i]]()
				wantLeft = append(wantLeft, line[i])
				line = slices.Delete(line, i, i+1)
			case n < 19 && inFlight > 0:
				l.Release()
				inFlight--
			case n == 19:
				limit = 1 + rnd.IntN(5)
				l.Configure(limit, queue, 0)
			}
			serve()
			synctest.Wait()
			wantCounts(t, l, inFlight, len(line))
			mu.Lock()
			// Several that are admitted by one event may run in any order.
			slices.Sort(admitted[seen:])
			fair := slices.Equal(admitted[seen:], wantAdmitted[seen:]) && slices.Equal(left, wantLeft[seenLeft:])
			got := admitted[seen:]
			seen, seenLeft, left = len(admitted), len(wantLeft), nil
			mu.Unlock()
			if !fair {
				t.Fatalf("event %d: admitted %v, want the end of %v", id, got, wantAdmitted)
			}
		}
		for _, cancel := range leave {
			cancel()
		}
		if seenLeft < 1000 || seen < 1000 {
			t.Errorf("%d admitted, %d left: the events exercise too little", seen, seenLeft)
		}
	})
}

// TestLimiterLosesNoPlace lets waiters leave just as their turn comes.
func TestLimiterLosesNoPlace(t *testing.T) {
	const limit = 3
	l := NewLimiter(limit, 100, time.Millisecond)
	var now, most, served atomic.Int64
	var wg sync.WaitGroup
	for g := range 50 {
		rnd := rand.New(rand.NewPCG(uint64(g), 7))
		wg.Go(func() {
			for range 200 {
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(rnd.IntN(int(time.Millisecond))))
				if l.Acquire(ctx) == nil {
					for n := now.Add(1); n > most.Load(); {
						most.Store(n)
					}
					served.Add(1)
					time.Sleep(time.Duration(rnd.IntN(int(20 * time.Microsecond))))
					now.Add(-1)
					l.Release()
				}
				cancel()
			}
		})
	}
	wg.Wait()
	wantCounts(t, l, 0, 0)
	if most.Load() > limit || served.Load() == 0 {
		t.Errorf("%d at a time, want at most %d; %d served", most.Load(), limit, served.Load())
	}
}

func BenchmarkLimiter(b *testing.B) {
	l := NewLimiter(10, 100, time.Second)
	ctx := b.Context()
	b.ReportAllocs()
	for b.Loop() {
		_ = l.Acquire(ctx)
		l.Release()
	}
}
