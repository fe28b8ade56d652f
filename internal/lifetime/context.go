// Package lifetime is a context for what comes by the thousand: it runs no
// goroutine, makes its channel only if somebody asks for it, and can be part of
// another value.
//
// It owns when such a context ends, why, and who is told. It never ends by itself:
// there are no deadlines and no parents.
package lifetime

import (
	"context"
	"sync"
	"time"
)

// Context ends with the first call of End. It is safe for concurrent use once
// Begin was called, and must not be copied.
type Context struct {
	values context.Context

	mu    sync.Mutex // guards the fields below
	err   error
	cause context.Context // ended with the cause; nil if that is no other than err
	done  chan struct{}
	first hook // most need one; used once
	more  map[*hook]struct{}
}

// hook is what is to be called at the end.
type hook struct {
	ctx   *Context
	f     func() // nil is not, or no longer
	aside bool   // in a goroutine of its own
}

// closed is the channel of contexts that ended before anybody asked for one.
var closed = func() chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}()

// Begin gives the context its values. They are those of a context that never ends.
func (c *Context) Begin(values context.Context) { c.values = values }

// Values returns the values of a context, without its end.
func Values(ctx context.Context) context.Context {
	if c, ok := ctx.(*Context); ok {
		return c.values
	}
	return context.WithoutCancel(ctx)
}

// Deadline implements [context.Context]: there is none.
func (*Context) Deadline() (deadline time.Time, ok bool) { return time.Time{}, false }

// Done implements [context.Context].
func (c *Context) Done() <-chan struct{} {
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

// Err implements [context.Context].
func (c *Context) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// Value implements [context.Context]. After the end it also finds what
// [context.Cause] asks for: a context that never ends hides it from the values.
func (c *Context) Value(key any) any {
	if v := c.values.Value(key); v != nil {
		return v
	}
	c.mu.Lock()
	cause := c.cause
	c.mu.Unlock()
	if cause != nil {
		return cause.Value(key)
	}
	return nil
}

// AfterFunc has f called when the context ends, by the goroutine that ends it,
// which f must not block. Derived contexts use it instead of a goroutine that
// waits. stop tells whether f will not be called any more.
func (c *Context) AfterFunc(f func()) (stop func() bool) { return c.after(hook{f: f}) }

// AfterFunc is [context.AfterFunc], for less where ctx is a Context.
func AfterFunc(ctx context.Context, f func()) (stop func() bool) {
	if c, ok := ctx.(*Context); ok {
		return c.after(hook{f: f, aside: true})
	}
	return context.AfterFunc(ctx, f)
}

func (c *Context) after(what hook) (stop func() bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	h := &c.first
	switch {
	case c.err != nil:
		go what.f() // the caller may hold what f needs, so not here
		return func() bool { return false }
	case h.ctx != nil: // a stop func may be called late
		h = &hook{}
		if c.more == nil {
			c.more = map[*hook]struct{}{}
		}
		c.more[h] = struct{}{}
	}
	*h = what
	h.ctx = c
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

// take returns what is to be called, once.
func (h *hook) take() (f func(), aside bool) {
	f, aside = h.f, h.aside
	h.f = nil
	return f, aside
}

// End ends the context; only the first call counts. A nil cause is
// [context.Canceled].
func (c *Context) End(cause error) {
	c.mu.Lock()
	if c.err != nil {
		c.mu.Unlock()
		return
	}
	c.err = context.Canceled
	if cause != nil {
		ended, end := context.WithCancelCause(context.Background())
		end(cause)
		c.cause = ended
	}
	if c.done != nil {
		close(c.done)
	}
	first, aside := c.first.take()
	more := c.more
	c.more = nil
	c.mu.Unlock()
	call(first, aside)
	for h := range more {
		c.mu.Lock()
		f, aside := h.take()
		c.mu.Unlock()
		call(f, aside)
	}
}

func call(f func(), aside bool) {
	switch {
	case f == nil:
	case aside:
		go f()
	default:
		f()
	}
}
