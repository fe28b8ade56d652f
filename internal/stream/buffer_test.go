package stream

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func ev(c string) string { return "data: " + c + "\n\n" }

// While the client keeps up each event is written by the caller, and nothing is
// held.
func TestBufferDirect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newClient(1<<20, 1e6)
		b, w := newWatched(t, settings(), c, nil)
		for range 100 {
			if err := put(b, ev("1")); err != nil {
				t.Fatal(err)
			}
		}
		if c.writes != 100 || c.text() != strings.Repeat(ev("1"), 100) {
			t.Errorf("%d writes, %d bytes", c.writes, len(c.got))
		}
		s := b.Snapshot(time.Now())
		if s.State != Normal || s.MaxBufferSize != 0 || s.ChunksConsumed != 100 || b.writing {
			t.Errorf("%+v", s)
		}
		if err := b.Close(); err != nil || len(w.states) > 0 {
			t.Errorf("Close returns %v after the states %v", err, w.states)
		}
		w.settled()
	})
}

// A client that stops: the buffer fills and says so, paces the reading, stops it
// when it is full, and goes on event by event when the client does.
func TestBufferStates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newClient(100, 0)
		b, w := newWatched(t, settings(), c, nil) // 10 events
		fillUp(t, b, c)
		var took []time.Duration
		for range 10 {
			start := time.Now()
			if err := put(b, ev("1")); err != nil {
				t.Fatal(err)
			}
			took = append(took, time.Since(start))
		}
		want := make([]time.Duration, 10)
		want[8] = throttleStep // at nine of ten the reading is paced
		if !slices.Equal(took, want) {
			t.Errorf("putting took %v, want %v", took, want)
		}
		if want := []State{Warning, Throttled, Blocked}; !slices.Equal(w.states, want) {
			t.Errorf("states %v, want %v", w.states, want)
		}
		s := b.Snapshot(time.Now())
		if s.BufferSize != 10 || s.BufferCapacity != 10 || s.BufferUsagePercent != 100 || s.ChunksInFlight != 10 || s.OverflowCount != 0 {
			t.Errorf("%+v", s)
		}
		put11 := make(chan error)
		go func() { put11 <- put(b, ev("2")) }()
		time.Sleep(3 * time.Second)
		synctest.Wait()
		select {
		case <-put11:
			t.Fatal("an event was taken into a full buffer")
		default:
		}
		c.setRate(1e6)
		if err := <-put11; err != nil {
			t.Fatal(err)
		}
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
		s = b.Snapshot(time.Now())
		if blocked := s.ThrottleTime; blocked < 3 || blocked > 3.1 || s.OverflowCount != 1 || s.MaxBufferSize != 10 || s.State != Normal {
			t.Errorf("%+v", s)
		}
		if want := strings.Repeat("f", 100) + "\n" + strings.Repeat(ev("1"), 10) + ev("2"); c.text() != want {
			t.Errorf("the client got %q", c.text())
		}
		if got := w.states[len(w.states)-1]; got != Normal {
			t.Errorf("the last state is %v", got)
		}
		w.settled()
	})
}

// The buffer is as full as its narrower bound.
func TestBufferBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := settings()
		cfg.BufferBytes = 1000
		c := newClient(100, 0)
		b, w := newWatched(t, cfg, c, nil)
		fillUp(t, b, c)
		for _, tt := range []struct {
			size int
			want State
		}{{600, Normal}, {100, Warning}, {200, Throttled}, {100, Blocked}} {
			if err := put(b, strings.Repeat("x", tt.size)); err != nil {
				t.Fatal(err)
			}
			if s := b.Snapshot(time.Now()); s.State != tt.want {
				t.Errorf("%v at %v %% of the bytes, want %v", s.State, s.BufferUsagePercent, tt.want)
			}
		}
		c.setRate(1e6)
		// An event larger than the buffer waits until that is empty, and passes.
		if err := put(b, strings.Repeat("y", 5000)); err != nil {
			t.Fatal(err)
		}
		if err := b.Close(); err != nil || len(c.got) != 101+1000+5000 {
			t.Errorf("%d bytes came out: %v", len(c.got), err)
		}
		w.settled()
	})
}

// Events that wait together go out in one write.
func TestBufferWritesTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newClient(100, 0)
		b, _ := newWatched(t, settings(), c, nil)
		fillUp(t, b, c)
		for range 8 {
			if err := put(b, ev("1")); err != nil {
				t.Fatal(err)
			}
		}
		before := c.writes
		c.setRate(1e9)
		if err := b.Close(); err != nil || c.writes != before+1 {
			t.Errorf("8 events went out in %d writes: %v", c.writes-before, err)
		}
	})
}

// After the client has caught up the caller writes again.
func TestBufferGoesBackToDirect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newClient(100, 1e6)
		b, w := newWatched(t, settings(), c, nil)
		for range 5 {
			fillUp(t, b, c)
			time.Sleep(time.Second)
			synctest.Wait()
			if b.writing || !c.hold {
				t.Fatal("the goroutine still writes")
			}
			if err := put(b, ev("1")); err != nil || c.Stuck() {
				t.Fatalf("stuck %v: %v", c.Stuck(), err)
			}
			time.Sleep(time.Second)
		}
		if err := b.Close(); err != nil || c.hold {
			t.Errorf("hold %v: %v", c.hold, err)
		}
		w.settled()
	})
}

func TestDrop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := settings()
		cfg.BufferSize, cfg.DropOnOverflow = 3, true
		c := newClient(100, 0)
		b, w := newWatched(t, cfg, c, nil)
		fillUp(t, b, c)
		keep := func(s string) {
			if err := b.Put([]byte(s), []int{len(s)}, true, true); err != nil {
				t.Fatal(err)
			}
		}
		for _, s := range []string{"1", "2", "3", "4"} { // 1 goes: the oldest
			if err := put(b, ev(s)); err != nil {
				t.Fatal(err)
			}
		}
		keep(ev("error"))                       // 2 goes
		if err := put(b, ev("5")); err != nil { // 3 goes
			t.Fatal(err)
		}
		if err := put(b, ev("6")); err != nil { // 4 goes, and not the error
			t.Fatal(err)
		}
		c.setRate(1e6)
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
		if want := strings.Repeat("f", 100) + "\n" + ev("error") + ev("5") + ev("6"); c.text() != want {
			t.Errorf("the client got %q, want %q", c.text(), want)
		}
		s := b.Snapshot(time.Now())
		if s.ChunksDropped != 4 || s.OverflowCount != 4 || s.ChunksInFlight != 0 || w.drops != 4 {
			t.Errorf("%+v", s)
		}
		w.settled()
	})
}

// Where nothing may be dropped the buffer blocks after all.
func TestDropNothingLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := settings()
		cfg.BufferSize, cfg.DropOnOverflow = 2, true
		c := newClient(1, 0)
		b, w := newWatched(t, cfg, c, nil)
		first := ev("the first") // goes out in part, and is kept by the gate
		if err := put(b, first); err != nil {
			t.Fatal(err)
		}
		for _, s := range []string{"error", "[DONE]"} {
			if err := b.Put([]byte(ev(s)), []int{len(ev(s))}, true, true); err != nil {
				t.Fatal(err)
			}
		}
		go func() {
			time.Sleep(time.Minute)
			c.setRate(1e6)
		}()
		start := time.Now()
		if err := put(b, ev("late")); err != nil || time.Since(start) < time.Minute {
			t.Errorf("an event was taken after %v: %v", time.Since(start), err)
		}
		if err := b.Close(); err != nil || c.text() != first+ev("error")+ev("[DONE]")+ev("late") || w.drops != 0 {
			t.Errorf("%d dropped of %q: %v", w.drops, c.text(), err)
		}
	})
}

func TestChunkDelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := settings()
		cfg.ChunkDelayMS = 30
		c := newClient(1<<20, 1e9)
		b, _ := newWatched(t, cfg, c, nil)
		start := time.Now()
		three := ev("1") + ev("2") + ev("3")
		n := len(ev("1"))
		if err := b.Put([]byte(three), []int{n, 2 * n, 3 * n}, false, true); err != nil {
			t.Fatal(err)
		}
		if d := time.Since(start); d != 60*time.Millisecond || c.writes != 3 {
			t.Errorf("three events took %v in %d writes, want 60 ms in 3", d, c.writes)
		}
		time.Sleep(time.Second) // longer than the delay: nothing to wait for
		start = time.Now()
		if err := put(b, ev("4")); err != nil || time.Since(start) != 0 {
			t.Errorf("an event after a pause took %v: %v", time.Since(start), err)
		}
		if err := b.Close(); err != nil || c.text() != three+ev("4") {
			t.Errorf("%q: %v", c.text(), err)
		}
	})
}

// Whatever holds Put up, Abandon ends it at once, and Close returns.
func TestAbandon(t *testing.T) {
	for _, tt := range []struct {
		name string
		cfg  func(*Config)
		put  func(b *Buffer) error
		lost bool
	}{
		{"while blocked", func(c *Config) { c.BufferSize = 1 }, func(b *Buffer) error { _ = put(b, ev("1")); return put(b, ev("2")) }, true},
		{"while throttled", func(c *Config) { c.BufferSize, c.ThrottleThreshold = 10, 0.1 }, func(b *Buffer) error {
			for {
				if err := put(b, ev("1")); err != nil {
					return err
				}
			}
		}, true},
		{"while it paces", func(c *Config) { c.ChunkDelayMS = 3_600_000 }, func(b *Buffer) error { _ = put(b, ev("1")); return put(b, ev("2")) }, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cfg := settings()
				tt.cfg(&cfg)
				c := newClient(100, 0)
				budget := NewBudget(1 << 20)
				b, w := newWatched(t, cfg, c, budget)
				fillUp(t, b, c)
				cause := errors.New("cancelled")
				start := time.Now()
				time.AfterFunc(20*time.Millisecond, func() {
					b.Abandon(cause)
					b.Abandon(errors.New("another"))
					close(c.hurry)
				})
				if err := tt.put(b); err != cause {
					t.Errorf("Put returns %v", err)
				}
				if err := b.Close(); err != cause {
					t.Errorf("Close returns %v", err)
				}
				if d := time.Since(start); d > 25*time.Millisecond || budget.Used() != 0 {
					t.Errorf("it took %v and left %d bytes in the budget", d, budget.Used())
				}
				if !b.Severed() {
					t.Error("the client has half an event, and nobody says so")
				}
				if s := b.Snapshot(time.Now()); s.ChunksProduced != s.ChunksConsumed+s.ChunksInFlight || s.State != Normal {
					t.Errorf("%+v", s)
				}
				w.settled()
			})
		})
	}
}

// A stream that is ended between events can be told why; one that ends inside an
// event cannot.
func TestSevered(t *testing.T) {
	for _, tt := range []struct {
		name string
		puts []string
		ends [][]int
		want bool
	}{
		{"nothing", nil, nil, false},
		{"an event", []string{ev("1")}, [][]int{{9}}, false},
		{"an event and a line end", []string{ev("1"), "\n"}, [][]int{{9}, nil}, false},
		{"a piece", []string{"data: 1"}, [][]int{nil}, true},
		{"an event and a piece", []string{ev("1") + "data"}, [][]int{{9}}, true},
		{"pieces with an end", []string{"data: 1", "\n", "\n"}, [][]int{nil, nil, {1}}, false},
		{"pieces without", []string{"data: 1", "\n"}, [][]int{nil, nil}, true},
	} {
		for _, gated := range []bool{true, false} {
			synctest.Test(t, func(t *testing.T) {
				c := newClient(1<<20, 1e9)
				w := &watched{t: t}
				var gate Gate
				if gated {
					gate = c
				}
				b := NewBuffer(settings(), c, gate, NewBudget(0), w.events())
				for i, p := range tt.puts {
					if err := b.Put([]byte(p), tt.ends[i], false, true); err != nil {
						t.Fatal(err)
					}
				}
				b.Abandon(errBroken)
				synctest.Wait()
				if err := b.Close(); gated && err != nil {
					t.Errorf("%s: %v, though all was written", tt.name, err)
				}
				if gated && b.Severed() != tt.want {
					t.Errorf("%s: severed %v", tt.name, b.Severed())
				}
				if want := c.text() != "" && tt.want; !gated && len(c.text()) == len(strings.Join(tt.puts, "")) && b.Severed() != want {
					t.Errorf("%s through the queue: severed %v", tt.name, b.Severed())
				}
			})
		}
	}
}

// The first failure is the one that is told, by whichever write it is met.
func TestClientFails(t *testing.T) {
	for _, failAt := range []int{1, 50, 150, 250} {
		synctest.Test(t, func(t *testing.T) {
			c := newClient(100, 1e5)
			c.failAt = failAt
			budget := NewBudget(1 << 20)
			b, w := newWatched(t, settings(), c, budget)
			var err error
			for i := 0; err == nil && i < 1000; i++ {
				err = put(b, ev("1"))
			}
			if err != errBroken || b.Close() != errBroken || put(b, ev("1")) != errBroken {
				t.Errorf("ended with %v", err)
			}
			if budget.Used() != 0 || budget.holders.Load() != 0 || !b.Severed() {
				t.Errorf("%d bytes, %d holders, severed %v", budget.Used(), budget.holders.Load(), b.Severed())
			}
			w.settled()
		})
	}
}

// What a comment left behind a client's back is not lost.
func TestCloseWritesWhatIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := settings()
		cfg.HeartbeatInterval = time.Second
		c := newClient(5, 1)
		b, _ := newWatched(t, cfg, c, nil)
		b.Heartbeat(false)
		time.Sleep(1500 * time.Millisecond)
		synctest.Wait()
		if !c.Stuck() {
			t.Fatal("the client took the comment")
		}
		if err := b.Close(); err != nil || c.text() != string(comment) {
			t.Errorf("%q: %v", c.text(), err)
		}
	})
}

// Where an event ends is told right whatever stands between events and at the
// body's end.
func TestRelayMarksEnds(t *testing.T) {
	for _, tt := range []struct {
		f    Framing
		max  int
		body string
		want []int
	}{
		{SSE, 100, "data: 1\n\ndata: 2\n\n", []int{9, 18}},
		{SSE, 100, "data: 1\n\n\n\ndata: 2", []int{9, 18}},
		{SSE, 100, "\n\ndata: 1", []int{9}},
		{NDJSON, 100, "{}\n\n{}\n{}", []int{3, 7, 9}},
		{SSE, 8, "data: 12345", nil},
	} {
		synctest.Test(t, func(t *testing.T) {
			c := copying{Relay: &Relay{Framing: tt.f, Length: -1, MaxEvent: tt.max, Buffer: idle(t)}, splitter: NewSplitter(tt.f)}
			data := []byte(tt.body)
			if passed := c.pass(data, time.Now()); passed < len(data) {
				c.last(data, passed, time.Now())
			}
			if !slices.Equal(c.ends, tt.want) {
				t.Errorf("%q: events end at %v, want %v", tt.body, c.ends, tt.want)
			}
		})
	}
	// The end of an event that passed in pieces is one too.
	synctest.Test(t, func(t *testing.T) {
		c := copying{Relay: &Relay{Framing: SSE, Length: -1, MaxEvent: 8, Buffer: idle(t)}, splitter: NewSplitter(SSE)}
		c.pass([]byte("data: 12345"), time.Now())
		c.pass([]byte("6\n\ndata: 7"), time.Now())
		if !slices.Equal(c.ends, []int{3}) {
			t.Errorf("events end at %v, want at 3", c.ends)
		}
	})
}
