package stream

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"sync"
	"testing"
	"time"
)

// slowClient is a client and the kernel's buffer before it: it takes bytes at a
// steady rate, in the test's own time.
type slowClient struct {
	mu     sync.Mutex
	window int     // what the kernel holds for it
	rate   float64 // bytes a second; 0 takes none
	inside float64 // bytes in the kernel
	since  time.Time

	look   func() // called before each write; nil is not
	got    []byte // all that the kernel took
	writes int
	kept   []byte
	hold   bool
	failAt int           // the byte at which the connection breaks; 0 is never
	hurry  chan struct{} // closed: no write waits any more
}

func newClient(window int, rate float64) *slowClient {
	return &slowClient{window: window, rate: rate, since: time.Now(), hurry: make(chan struct{})}
}

var (
	errBroken  = errors.New("broken pipe")
	errHurried = errors.New("deadline exceeded")
)

// accept takes what fits of p.
func (c *slowClient) accept(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	c.inside = max(c.inside-c.rate*now.Sub(c.since).Seconds(), 0)
	c.since = now
	n := min(len(p), max(c.window-int(c.inside), 0))
	if c.failAt > 0 && len(c.got)+n >= c.failAt {
		return 0, errBroken
	}
	c.got = append(c.got, p[:n]...)
	c.inside += float64(n)
	return n, nil
}

// timeFor is how long the client takes to make room for some of n bytes.
func (c *slowClient) timeFor(n int) time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.rate == 0 {
		return 20 * time.Millisecond
	}
	return time.Duration(float64(min(n, 1+c.window/4))/c.rate*float64(time.Second)) + time.Microsecond
}

func (c *slowClient) setRate(rate float64) {
	_, _ = c.accept(nil)
	c.mu.Lock()
	c.rate = rate
	c.mu.Unlock()
}

func (c *slowClient) Write(p []byte) (int, error) {
	c.writes++
	if c.look != nil {
		c.look()
	}
	if c.hold {
		if len(c.kept) > 0 {
			c.kept = append(c.kept, p...)
			return len(p), nil
		}
		n, err := c.accept(p)
		if err != nil {
			return 0, err
		}
		c.kept = append(c.kept, p[n:]...)
		return len(p), nil
	}
	return c.block(p)
}

func (c *slowClient) block(p []byte) (int, error) {
	written := 0
	for {
		n, err := c.accept(p[written:])
		written += n
		if err != nil || written == len(p) {
			return written, err
		}
		select {
		case <-c.hurry:
			return written, errHurried
		case <-time.After(c.timeFor(len(p) - written)):
		}
	}
}

func (c *slowClient) FlushError() error { return nil }
func (c *slowClient) Hold(on bool)      { c.hold = on }
func (c *slowClient) Stuck() bool       { return len(c.kept) > 0 }

func (c *slowClient) Push() error {
	p := c.kept
	c.kept = nil
	_, err := c.block(p)
	return err
}

func (c *slowClient) text() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return string(c.got)
}

// watched counts what a buffer tells, and checks that each change of state is
// explained by its fill.
type watched struct {
	t      testing.TB
	mu     sync.Mutex
	of     map[State]int
	began  int
	ended  int
	drops  int
	wait   time.Duration // throttled and blocked
	states []State       // as they came
	passed [4]int64
	buffer *Buffer
}

func (w *watched) events() *Events {
	w.of = map[State]int{}
	return &Events{
		Began: func() { w.mu.Lock(); w.began++; w.of[Normal]++; w.mu.Unlock() },
		State: func(from, to State) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.of[from]--
			w.of[to]++
			w.states = append(w.states, to)
			if b := w.buffer; b != nil {
				if b.state != from || from == to || b.cfg.stateAt(b.fill()) != to {
					w.t.Errorf("from %v to %v at a fill of %v", from, to, b.fill())
				}
			}
		},
		Ended:     func(last State) { w.mu.Lock(); w.ended++; w.of[last]--; w.mu.Unlock() },
		Passed:    func(a, b, c, d int64) { w.passed = [4]int64{a, b, c, d} },
		Dropped:   func(n int) { w.drops += n },
		Throttled: func(d time.Duration) { w.wait += d },
		Blocked:   func(d time.Duration) { w.wait += d },
	}
}

// settled checks that a stream left nothing behind.
func (w *watched) settled() {
	w.t.Helper()
	if w.began != w.ended {
		w.t.Errorf("%d streams began and %d ended", w.began, w.ended)
	}
	for s, n := range w.of {
		if n != 0 {
			w.t.Errorf("%d streams are left %v", n, s)
		}
	}
}

func settings() Config {
	return Config{BufferSize: 10, BufferBytes: 1 << 20, WarningThreshold: 0.7, ThrottleThreshold: 0.9, MaxEventBytes: 1 << 20}
}

// newWatched makes a buffer before a client. Without a budget it gets one of its
// own, and its changes of state are checked: others would change the fill at any
// time.
func newWatched(t testing.TB, cfg Config, c *slowClient, budget *Budget) (*Buffer, *watched) {
	w := &watched{t: t}
	if budget != nil {
		return NewBuffer(cfg, c, c, budget, w.events()), w
	}
	w.buffer = NewBuffer(cfg, c, c, NewBudget(1<<30), w.events())
	return w.buffer, w
}

// put puts one event.
func put(b *Buffer, ev string) error { return b.Put([]byte(ev), []int{len(ev)}, false, true) }

// fillUp makes the client stop with a kernel full of bytes, and the buffer write
// from its goroutine from here on.
func fillUp(t *testing.T, b *Buffer, c *slowClient) {
	t.Helper()
	ev := string(bytes.Repeat([]byte("f"), c.window)) + "\n"
	if err := put(b, ev); err != nil {
		t.Fatal(err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.writing {
		t.Fatal("the client took it all")
	}
}

// steadySource gives a body in random pieces after random waits.
type steadySource struct {
	body  []byte
	now   []byte
	rnd   *rand.Rand
	pause time.Duration // at most, before each piece
	piece int           // at most
	end   error
	stop  chan struct{} // closed: the exchange is over
}

var errStopped = errors.New("the request was given up")

func (s *steadySource) Wait() error {
	if len(s.now) > 0 {
		return nil
	}
	if s.pause > 0 {
		select {
		case <-s.stop:
			return errStopped
		case <-time.After(time.Duration(s.rnd.Int64N(int64(s.pause)))):
		}
	}
	n := min(len(s.body), 1+s.rnd.IntN(s.piece))
	s.now, s.body = s.body[:n], s.body[n:]
	return nil
}

func (s *steadySource) Ready() bool { return len(s.now) > 0 }

func (s *steadySource) Read(p []byte) (int, error) {
	if len(s.now) == 0 && len(s.body) == 0 {
		return 0, s.end
	}
	if err := s.Wait(); err != nil {
		return 0, err
	}
	n := copy(p, s.now)
	s.now = s.now[n:]
	return n, nil
}

// Await has turns taken by another goroutine, now and then, as the loop of an
// upstream does. A turn takes no time.
func (s *steadySource) Await(turn func() bool) (turned bool, err error) {
	if s.rnd.IntN(4) == 0 {
		return false, s.Wait()
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for more := true; more; {
			if err = s.Wait(); err != nil {
				return
			}
			turned = true
			began := time.Now()
			more = turn()
			if time.Since(began) > 0 {
				err = errBlocked
				return
			}
		}
	}()
	<-done
	return turned, err
}

var errBlocked = errors.New("a turn has blocked")
