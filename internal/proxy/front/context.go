package front

import (
	"context"
	"sync"
	"time"
)

// requestContext ends when the client goes, when the base context ends, and when
// the handler has returned. It runs no goroutine and makes its channel only if
// somebody asks for it.
type requestContext struct {
	values context.Context // the connection's; never ends
	base   context.Context

	mu     sync.Mutex // guards the fields below
	err    error
	byBase bool
	done   chan struct{}
	first  hook // most requests need one; used once
	more   map[*hook]struct{}
}

// hook is what is to be called at the end.
type hook struct {
	ctx *requestContext
	f   func() // nil is not, or no longer
}

// closed is the channel of contexts that ended before anybody asked for one.
var closed = func() chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}()

func (*requestContext) Deadline() (deadline time.Time, ok bool) { return time.Time{}, false }

func (c *requestContext) Done() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.done == nil {
		if c.err != nil {
			c.done = closed
		} else {
			c.done = make(chan struct{})
		}
	}
	return c.done
}

func (c *requestContext) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// Value finds the connection's values. After the base context has ended this one
// it also finds what context.Cause asks for: a context that never ends hides it
// from the connection's values.
func (c *requestContext) Value(key any) any {
	if v := c.values.Value(key); v != nil {
		return v
	}
	c.mu.Lock()
	byBase := c.byBase
	c.mu.Unlock()
	if byBase {
		return c.base.Value(key)
	}
	return nil
}

// AfterFunc has f called when the context ends, by the goroutine that ends it,
// which f must not block. context.AfterFunc and derived contexts use it instead
// of a goroutine that waits. stop tells whether f will not be called any more.
func (c *requestContext) AfterFunc(f func()) (stop func() bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	h := &c.first
	switch {
	case c.err != nil:
		go f() // the caller may hold what f needs, so not here
		return func() bool { return false }
	case h.ctx != nil: // a stop func may be called late
		h = &hook{}
		if c.more == nil {
			c.more = map[*hook]struct{}{}
		}
		c.more[h] = struct{}{}
	}
	h.ctx, h.f = c, f
	return h.stop
}

func (h *hook) stop() bool {
	h.ctx.mu.Lock()
	defer h.ctx.mu.Unlock()
	stopped := h.f != nil
	h.f = nil
	delete(h.ctx.more, h)
	return stopped
}

// end ends the context; only the first call counts.
func (c *requestContext) end(byBase bool) {
	c.mu.Lock()
	if c.err != nil {
		c.mu.Unlock()
		return
	}
	c.err, c.byBase = context.Canceled, byBase
	if c.done != nil {
		close(c.done)
	}
	first, more := c.first.f, c.more
	c.first.f, c.more = nil, nil
	c.mu.Unlock()
	if first != nil {
		first()
	}
	for h := range more {
		c.mu.Lock()
		f := h.f
		h.f = nil
		c.mu.Unlock()
		if f != nil {
			f()
		}
	}
}
