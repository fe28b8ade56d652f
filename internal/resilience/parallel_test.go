package resilience

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// TestManyGoroutines is for the race detector; what must hold at the end is
// that every request was counted once and that the transitions form a chain.
func TestManyGoroutines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := defaults
		cfg.BaseTimeout, cfg.MaxTimeout, cfg.ProbeTimeout = time.Millisecond, 20*time.Millisecond, 5*time.Millisecond
		state, delivering := Closed, atomic.Bool{}
		b := NewBreaker("ollama", cfg, func(tr Transition) {
			if delivering.Swap(true) {
				t.Error("two transitions are delivered at a time")
			}
			if tr.From != state {
				t.Errorf("a transition from %s after one to %s", tr.From, state)
			}
			state = tr.To
			delivering.Store(false)
		})
		var asked atomic.Int64
		var wg sync.WaitGroup
		for g := range 50 {
			rnd := rand.New(rand.NewPCG(uint64(g), 1))
			wg.Go(func() {
				for range 400 {
					asked.Add(1)
					p, err := b.Allow()
					time.Sleep(time.Duration(rnd.IntN(int(2 * time.Millisecond))))
					if err != nil {
						continue
					}
					if rnd.IntN(2) == 0 {
						wg.Go(p.FirstGood)
					}
					if rnd.IntN(10) == 0 {
						time.Sleep(10 * time.Millisecond)
					}
					o := Outcome(rnd.IntN(3))
					wg.Go(func() { p.Report(o, "e") })
					p.Report(o, "e")
					switch rnd.IntN(100) {
					case 0:
						b.Reset()
					case 1:
						b.Configure(cfg)
					default:
						if b.Status().State > Open || b.State() > Open {
							t.Error("no such state")
						}
					}
				}
			})
		}
		wg.Wait()
		synctest.Wait()
		m := b.Status().Metrics
		if m.TotalRequests != asked.Load() || m.RejectedRequests == 0 || m.RecoveryAttempts == 0 {
			t.Errorf("%d requests: %+v", asked.Load(), m)
		}
		if state != b.State() {
			t.Errorf("the last transition led to %s, the state is %s", state, b.State())
		}
	})
}

func BenchmarkClosed(b *testing.B) {
	br := NewBreaker("ollama", defaults, nil)
	b.ReportAllocs()
	for b.Loop() {
		p, _ := br.Allow()
		p.Report(Success, "")
	}
}

func BenchmarkClosedParallel(b *testing.B) {
	br := NewBreaker("ollama", defaults, nil)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			p, _ := br.Allow()
			p.Report(Success, "")
		}
	})
}

func BenchmarkOpen(b *testing.B) {
	br := NewBreaker("ollama", defaults, nil)
	for range 5 {
		p, _ := br.Allow()
		p.Report(Failure, "e")
	}
	b.ReportAllocs()
	for b.Loop() {
		_, _ = br.Allow()
	}
}
