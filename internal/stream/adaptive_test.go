package stream

import (
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"
)

func TestPacer(t *testing.T) {
	cfg := AdaptiveConfig{Enabled: true, Initial: 50, Min: 10, Max: 500}
	for _, tt := range []struct {
		name       string
		perSecond  int
		want       int // after ten seconds
		less, more bool
	}{
		{"a client that takes what it has", 50, 50, false, false},
		{"slow", 2, 10, true, false},
		{"fast", 300, 300, false, true},
		{"faster than may be", 5000, 500, false, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := newPacer(cfg)
			now := time.Unix(0, 0)
			p.begin(now)
			last := p.size
			for range 100 {
				now = now.Add(100 * time.Millisecond)
				p.took(tt.perSecond/10, now)
				if p.size < last && !tt.less || p.size > last && !tt.more {
					t.Fatalf("from %d to %d", last, p.size)
				}
				last = p.size
			}
			if tt.perSecond >= 10 && (p.size < tt.want*9/10 || p.size > tt.want) || tt.perSecond < 10 && p.size != tt.want {
				t.Errorf("%d, want %d", p.size, tt.want)
			}
		})
	}
}

// Whatever the client does the size stays within its bounds.
func TestPacerBounds(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 1))
	for range 200 {
		low := 1 + rnd.IntN(50)
		cfg := AdaptiveConfig{Initial: low + rnd.IntN(50), Min: low, Max: low + 50 + rnd.IntN(1000)}
		p := newPacer(cfg)
		now := time.Unix(0, 0)
		for range 200 {
			now = now.Add(time.Duration(rnd.IntN(int(2 * time.Second))))
			if rnd.IntN(10) == 0 {
				p.begin(now)
			}
			p.took(rnd.IntN(5000), now)
			if p.size < cfg.Min || p.size > cfg.Max {
				t.Fatalf("size %d out of %+v", p.size, cfg)
			}
		}
	}
}

// A client that kept up for a minute is not slow because it was not asked to
// take more; nor does one hiccup make it so.
func TestAdaptiveAfterAQuietMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := settings()
		cfg.Adaptive = AdaptiveConfig{Enabled: true, Initial: 50, Min: 10, Max: 500}
		c := newClient(1000, 1e6)
		b, _ := newWatched(t, cfg, c, nil)
		for range 5 {
			fillUp(t, b, c)
			for range 5 { // these wait for the client a little
				if err := put(b, ev("1")); err != nil {
					t.Fatal(err)
				}
			}
			time.Sleep(time.Minute)
			synctest.Wait()
		}
		if s := b.Snapshot(time.Now()); s.BufferCapacity != 50 {
			t.Errorf("the buffer holds %d events, want 50 as at first", s.BufferCapacity)
		}
		b.Close()
	})
}

// The buffer follows a slow client down and a fast one up.
func TestAdaptiveFollows(t *testing.T) {
	for _, tt := range []struct {
		rate      float64 // events a second
		low, high int
	}{{5, 10, 10}, {200, 150, 220}, {100_000, 500, 500}} {
		synctest.Test(t, func(t *testing.T) {
			cfg := settings()
			cfg.Adaptive = AdaptiveConfig{Enabled: true, Initial: 50, Min: 10, Max: 500}
			event := string(make([]byte, 99)) + "\n"
			c := newClient(1000, 0)
			b, _ := newWatched(t, cfg, c, nil)
			fillUp(t, b, c)
			c.setRate(tt.rate * 100)
			for range min(int(tt.rate*20), 200_000) { // for about 20 seconds
				if err := put(b, event); err != nil {
					t.Fatal(err)
				}
			}
			if got := b.Snapshot(time.Now()).BufferCapacity; got < tt.low || got > tt.high {
				t.Errorf("%v events a second: a buffer of %d, want %d to %d", tt.rate, got, tt.low, tt.high)
			}
			b.Abandon(errBroken)
			close(c.hurry)
			b.Close()
		})
	}
}
