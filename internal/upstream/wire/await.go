package wire

import (
	"errors"
	"sync"
	"time"

	"github.com/vega-proxy/vega-proxy/internal/poll"
)

// turns is a body whose owner sleeps while the loop's goroutine reads it. What
// is the owner's otherwise, body and connection, is a turn's here.
type turns struct {
	b    *body
	turn func() bool
	back chan struct{} // wakes the owner

	mu       sync.Mutex    // held in a turn; guards the fields below
	over     bool          // there are no more turns
	turned   bool          // there was one
	handed   bool          // since turn said so
	since    time.Duration // when the last bytes came, or the waiting began
	err      error         // what reading ended with
	panicked any           // what turn threw
}

// Await is Wait for an owner that can leave its next steps to turn: it is called
// each time Read will not block, in the loop's goroutine, and so must not block.
// Once it has returned false the owner goes on. Where nothing can be left to a
// loop, Await is a Wait. It tells whether turn was called.
func (b *body) Await(turn func() bool) (turned bool, err error) {
	if b.sending() || b.c.t.cfg.Loop == nil || b.c.sock == nil || b.Ready() {
		return false, b.Wait()
	}
	t := &turns{b: b, turn: turn, back: make(chan struct{}, 1), since: b.c.clock()}
	if !t.begin() {
		return false, b.Wait()
	}
	late := t.sleep()
	t.end()
	switch {
	case t.panicked != nil:
		panic(t.panicked)
	case t.handed:
		return true, nil
	case late != nil:
		b.end(late)
	case t.err != nil:
		b.end(b.cut(t.err))
	}
	return t.turned, b.Wait() // which has nothing to wait for: the connection was closed
}

// sending tells that the body's end may have to wait for that of the request.
func (b *body) sending() bool {
	if b.sender == nil {
		return false
	}
	select {
	case <-b.sender.done:
		return false
	default:
		return true
	}
}

// begin leaves the body to the loop, if it takes it.
func (t *turns) begin() bool {
	c := t.b.c
	t.mu.Lock() // the first turn must find the watch
	defer t.mu.Unlock()
	c.awaitedBy(t.back)
	watch, err := c.t.cfg.Loop.Add(c.sock.Raw(), poll.Readable, t.ready)
	if err != nil {
		c.awaitedBy(nil)
		return false
	}
	t.b.watch = watch
	return true
}

// sleep returns when there are no more turns, or with the limit that has run out.
func (t *turns) sleep() error {
	var alarm *time.Timer
	for {
		left, late := t.left()
		switch {
		case late != nil:
			return late
		case left == 0:
			<-t.back
			return nil
		case alarm == nil:
			alarm = time.NewTimer(left)
			defer alarm.Stop()
		default:
			alarm.Reset(left)
		}
		select {
		case <-t.back:
			return nil
		case <-alarm.C:
		}
	}
}

// left is when to look again, 0 never: before the next bytes are late, whichever
// limit they will be under by then. If they are late now, the turns are over.
func (t *turns) left() (time.Duration, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := t.b.c
	if t.over {
		return 0, nil
	}
	var left time.Duration
	if due, limit := c.due(t.since); due != 0 {
		if left = due - c.clock(); left <= 0 {
			t.over = true
			return 0, c.overdue(limit)
		}
	}
	if idle := c.t.cfg.IdleTimeout; idle > 0 && (left == 0 || idle < left) {
		left = idle
	}
	return left, nil
}

// end takes the body back.
func (t *turns) end() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.over = true
	t.b.unwatch()
}

// ready is what the loop calls.
func (t *turns) ready() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.over || t.take() {
		return
	}
	t.over = true
	t.b.unwatch() // else the loop would be told until the owner has woken
	wake(t.back)
}

// take reads once, has turn called for what that brought, and tells whether to go
// on. What turn throws is the owner's to throw.
func (t *turns) take() (more bool) {
	defer func() {
		if p := recover(); p != nil {
			t.panicked, more = p, false
		}
	}()
	c := t.b.c
	switch err := c.tryFill(); {
	case errors.Is(err, errNothing):
		return true
	case err != nil:
		t.err = err
		return false
	}
	t.since = c.clock()
	for t.b.Ready() {
		t.turned = true
		if !t.turn() {
			t.handed = true
			return false
		}
	}
	return true
}

// unwatch takes the connection back from the loop, if it was left to it: before
// another exchange can have it.
func (b *body) unwatch() {
	if b.watch.None() {
		return
	}
	_ = b.c.t.cfg.Loop.Remove(b.c.sock.Raw(), b.watch) // fails for what is closed, and so forgotten
	b.watch = poll.Watch{}
	b.c.awaitedBy(nil)
}

// awaitedBy has back told when the connection is closed; at once if it is.
func (c *conn) awaitedBy(back chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.awaited = back
	if c.closed.Load() {
		wake(back)
	}
}

// wake tells a sleeper, or one that is about to sleep; nil is nobody.
func wake(back chan struct{}) {
	select {
	case back <- struct{}{}:
	default:
	}
}

// errNothing is that there is nothing to read now.
var errNothing = errors.New("nothing to read")

// tryFill is fill without waiting.
func (c *conn) tryFill() error {
	c.trying = true
	defer func() { c.trying = false }()
	return c.fill()
}

func (c *conn) tryRead(p []byte) (int, error) {
	n, again, err := c.sock.TryRead(p)
	if again {
		return 0, errNothing
	}
	c.got = c.got || n > 0
	return n, err
}
