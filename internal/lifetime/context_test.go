package lifetime

import (
	"context"
	"errors"
	"testing"
)

func newContext(base context.Context) *Context {
	c := new(Context)
	c.Begin(context.WithoutCancel(base))
	return c
}

// TestHooks: each is called once, unless it was stopped before.
func TestHooks(t *testing.T) {
	c := newContext(t.Context())
	var calls [4]int
	var stops [4]func() bool
	for i := range calls {
		stops[i] = c.AfterFunc(func() { calls[i]++ })
	}
	if !stops[0]() || !stops[2]() {
		t.Error("a hook that was not called cannot be stopped")
	}
	late := c.AfterFunc(func() { t.Error("a stopped hook was called") })
	if stops[0]() || stops[2]() {
		t.Error("a stopped hook was stopped again")
	}
	if !late() {
		t.Error("an old stop stopped a new hook")
	}
	c.End(nil)
	c.End(nil)
	if calls != [4]int{0, 1, 0, 1} {
		t.Errorf("calls: %v", calls)
	}
	if stops[1]() || stops[3]() {
		t.Error("a hook was stopped after its call")
	}
	if len(c.more) != 0 {
		t.Errorf("%d hooks are kept", len(c.more))
	}
	called := make(chan struct{})
	if c.AfterFunc(func() { close(called) })() {
		t.Error("a hook on an ended context can be stopped")
	}
	<-called
}

// TestHookStopsHook: what a hook does to the others counts.
func TestHookStopsHook(t *testing.T) {
	c := newContext(t.Context())
	var stop func() bool
	c.AfterFunc(func() { stop() })
	stop = c.AfterFunc(func() { t.Error("a stopped hook was called") })
	c.End(nil)
}

// TestCause: the cause is the one of the end, and not that of the values.
func TestCause(t *testing.T) {
	errStop, errOther := errors.New("stop"), errors.New("other")
	base, stop := context.WithCancelCause(t.Context())
	gone, stopped := newContext(base), newContext(base)
	child, cancel := context.WithCancel(stopped)
	defer cancel()
	for _, c := range []context.Context{gone, stopped, child} {
		if c.Err() != nil || context.Cause(c) != nil {
			t.Errorf("before its end: %v, %v", c.Err(), context.Cause(c))
		}
		if _, ok := c.Deadline(); ok {
			t.Error("there is a deadline")
		}
	}
	stop(errOther)
	if gone.Err() != nil || context.Cause(gone) != nil {
		t.Errorf("the values have ended: %v, %v", gone.Err(), context.Cause(gone))
	}
	gone.End(nil)
	gone.End(errOther)
	stopped.End(errStop)
	for _, tt := range []struct {
		c    context.Context
		want error
	}{{gone, context.Canceled}, {stopped, errStop}, {child, errStop}} {
		<-tt.c.Done()
		if err, cause := tt.c.Err(), context.Cause(tt.c); err != context.Canceled || cause != tt.want {
			t.Errorf("%v because of %v, want %v", err, cause, tt.want)
		}
	}
}

// TestAfterFunc: f has a goroutine of its own, so that it may wait for whoever ends
// the context.
func TestAfterFunc(t *testing.T) {
	plain, cancel := context.WithCancel(t.Context())
	own := newContext(t.Context())
	for _, tt := range []struct {
		ctx context.Context
		end func()
	}{{plain, cancel}, {own, func() { own.End(nil) }}} {
		ended, called := make(chan struct{}), make(chan struct{})
		AfterFunc(tt.ctx, func() { <-ended; close(called) })
		stop := AfterFunc(tt.ctx, func() { t.Error("a stopped func was called") })
		if !stop() {
			t.Error("it cannot be stopped")
		}
		tt.end()
		close(ended)
		<-called
	}
}
