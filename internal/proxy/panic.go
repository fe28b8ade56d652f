package proxy

import (
	"errors"
	"fmt"
	"net/http"
	"runtime/debug"

	"github.com/vega-proxy/vega-proxy/internal/cache"
	"github.com/vega-proxy/vega-proxy/internal/stream"
)

// errPanicked is the end of what a panic took with it.
var errPanicked = errors.New("the proxy panicked")

// guarded is run, of which a panic ends this exchange and no other: the client is
// cut off, which is all that can be told whatever it has, and what the exchange
// holds is given back as at any other end.
func (x *exchange) guarded() (abort bool) {
	defer func() {
		if p := recover(); p != nil {
			x.panicked(x.logPanic(p))
			abort = true
		}
	}()
	return x.run()
}

// accountGuarded is account. The answer is out, and no panic can change that.
func (x *exchange) accountGuarded() {
	defer func() {
		if p := recover(); p != nil {
			x.logPanic(p)
		}
	}()
	x.account()
}

// logPanic writes the panic's line, and returns what it panicked with. It is for the
// func that recovers.
func (x *exchange) logPanic(p any) (value any) {
	stack := debug.Stack()
	if t, ok := p.(*stream.Thrown); ok {
		p, stack = t.Value, t.Stack
	}
	x.s.opts.Log.Error("panic in an exchange: the proxy has an error, please report it",
		"request_id", x.id, "panic", fmt.Sprint(p), "stack", string(stack))
	return p
}

// panicked makes the exchange one that can be accounted.
func (x *exchange) panicked(value any) {
	r := &x.report
	r.ended, r.code, r.refused = byError, internalError, false
	r.err = fmt.Errorf("%w: %v", errPanicked, value)
	if r.status == 0 {
		r.status = http.StatusInternalServerError
	}
	if x.answer != nil && x.relaying != nil {
		r.bytesRead = x.relaying.BytesIn
	}
	x.tally.metered = false // the meter may be what is wrong
	x.buffer = nil          // somebody may be sending it yet
	x.resetOld()
}

// unwind ends a stream whose exchange panics, while what it stands on is there. After
// close it does nothing.
func (s *streaming) unwind(x *exchange) {
	if s == nil || s.over {
		return
	}
	if x.answer != nil {
		x.endAnswer() // however slow the client is
	}
	x.abandon(s, errPanicked)
	_ = s.close(x, errPanicked) // which is what it returns
}

// ours tells that an error is the proxy's own: this exchange panicked, or the one did
// whose answer it shared.
func ours(err error) bool { return errors.Is(err, errPanicked) || errors.Is(err, cache.ErrUnended) }
