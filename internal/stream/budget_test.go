package stream

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestBudgetRoom(t *testing.T) {
	for _, tt := range []struct {
		name                          string
		max, used, holders, own, held int64
		want                          int64
	}{
		{"no bound", 0, 1 << 40, 9, 100, 50, 100},
		{"plenty", 1000, 499, 50, 100, 50, 100},
		{"half used, few share", 1000, 500, 2, 100, 50, 100},
		{"half used, many share", 1000, 500, 20, 100, 10, 50},
		{"a large one may not grow", 1000, 600, 50, 100, 90, 20},
		{"nearly all used", 1000, 990, 2, 100, 50, 60},
		{"all used", 1000, 1000, 2, 100, 50, 50},
		{"more than all", 1000, 1200, 2, 100, 50, 50},
		{"nobody else", 1000, 800, 0, 900, 0, 200},
	} {
		b := NewBudget(tt.max)
		b.used.Store(tt.used)
		b.holders.Store(tt.holders)
		if got := b.room(tt.own, tt.held); got != tt.want {
			t.Errorf("%s: %d bytes, want %d", tt.name, got, tt.want)
		}
	}
}

func TestBudgetTake(t *testing.T) {
	b := NewBudget(100)
	if !b.take(60) || b.take(41) || !b.take(40) || b.take(1) {
		t.Errorf("%d bytes are used of %d", b.Used(), b.Max())
	}
	b.force(10)
	b.giveBack(60)
	if b.Used() != 50 {
		t.Errorf("%d bytes are used, want 50", b.Used())
	}
}

// Ten clients that take nothing have used up the budget. Ten more streams all
// the same get on, event by event.
func TestBudgetIsShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := settings()
		cfg.BufferSize = 1000
		budget := NewBudget(10_000)
		event := string(make([]byte, 99)) + "\n"
		var large, small []*Buffer
		var clients []*slowClient
		greedy := make(chan struct{}, 10)
		add := func(rate float64) *Buffer {
			c := newClient(50, rate)
			b, _ := newWatched(t, cfg, c, budget)
			clients = append(clients, c)
			if err := put(b, event); err != nil { // more than the kernel takes
				t.Fatal(err)
			}
			return b
		}
		for range 10 {
			large = append(large, add(0))
		}
		for _, b := range large {
			go func() {
				for put(b, event) == nil {
				}
				greedy <- struct{}{}
			}()
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if used := budget.Used(); used < 10_000 || used > 10_000+10*100 {
			t.Errorf("%d bytes are held of 10000", used)
		}
		for _, b := range large {
			if s := b.Snapshot(time.Now()); s.BufferSize == 0 || s.State != Blocked || s.BufferUsagePercent != 100 {
				t.Errorf("a stream that is held up: %+v", s)
			}
		}
		for range 10 {
			small = append(small, add(1e5))
		}
		for _, b := range small {
			for range 50 {
				if err := put(b, event); err != nil {
					t.Fatal(err)
				}
				if used := budget.Used(); used > 10_000+20*100 {
					t.Errorf("%d bytes are held", used)
				}
			}
			if s := b.Snapshot(time.Now()); s.ChunksConsumed < 45 {
				t.Errorf("a small stream got %d events through", s.ChunksConsumed)
			}
		}
		for _, b := range large {
			b.Abandon(errBroken)
			<-greedy
		}
		for _, c := range clients {
			close(c.hurry)
		}
		for _, b := range append(large, small...) {
			b.Close()
		}
		if budget.Used() != 0 || budget.holders.Load() != 0 {
			t.Errorf("%d bytes and %d holders are left", budget.Used(), budget.holders.Load())
		}
	})
}

// Under pressure a buffer that holds more than its share has to shrink before it
// may take more, while one that holds less may grow.
func TestBudgetLargeShrinkFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := settings()
		cfg.BufferSize = 1000
		budget := NewBudget(10_000)
		event := string(make([]byte, 99)) + "\n"
		first, c := largeOne(t, cfg, budget, event, 49)
		var others []*Buffer
		var clients []*slowClient
		for range 4 {
			b, c := largeOne(t, cfg, budget, event, 5)
			others, clients = append(others, b), append(clients, c)
		}
		// 69 events are held by five: the share is 20 each.
		blocked := make(chan error)
		go func() { blocked <- put(first, event) }()
		for _, b := range others {
			if err := put(b, event); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		select {
		case <-blocked:
			t.Fatal("the large buffer grew")
		default:
		}
		c.setRate(1e4)
		if err := <-blocked; err != nil {
			t.Fatal(err)
		}
		if s := first.Snapshot(time.Now()); s.BufferSize > 20 {
			t.Errorf("the large buffer took more at %d events held", s.BufferSize)
		}
		for _, c := range clients {
			c.setRate(1e6)
		}
		for _, b := range append(others, first) {
			if err := b.Close(); err != nil {
				t.Error(err)
			}
		}
	})
}

// largeOne makes a buffer before a client that stands still, with n events held.
func largeOne(t *testing.T, cfg Config, budget *Budget, event string, n int) (*Buffer, *slowClient) {
	t.Helper()
	c := newClient(50, 0)
	b, _ := newWatched(t, cfg, c, budget)
	for range n + 1 { // the first is in the kernel and at the gate
		if err := put(b, event); err != nil {
			t.Fatal(err)
		}
	}
	if s := b.Snapshot(time.Now()); s.BufferSize != n {
		t.Fatalf("%d events are held, want %d", s.BufferSize, n)
	}
	return b, c
}
