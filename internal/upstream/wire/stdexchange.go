package wire

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"sync"
	"sync/atomic"
	"time"
)

// stdExchange is one request through net/http, whose hooks may run at any time
// and on any goroutine.
type stdExchange struct {
	t       *std
	ctx     context.Context // the caller's
	inner   context.Context // ends with ctx, with a limit, or with the exchange
	cancel  context.CancelCauseFunc
	r       *Request
	source  *source // nil without a body
	unhook  func() bool
	conn    atomic.Pointer[countedConn] // whose closing stops source
	watch   watchdog
	started time.Time

	tlsBegun, tlsDone, connected, http2, onKept, written, answered atomic.Bool
	connectTime                                                    atomic.Int64

	mu      sync.Mutex
	head    bool  // RoundTrip has returned: no more interim answers
	interim int64 // bytes of interim answers, about
}

func (x *stdExchange) trace() *httptrace.ClientTrace {
	return &httptrace.ClientTrace{
		TLSHandshakeStart: func() { x.tlsBegun.Store(true) },
		TLSHandshakeDone:  func(tls.ConnectionState, error) { x.tlsDone.Store(true) },
		GotConn: func(info httptrace.GotConnInfo) {
			x.onKept.Store(info.Reused)
			if info.Reused {
				x.t.reused.Add(1)
			} else {
				x.connectTime.Store(int64(time.Since(x.started)))
			}
			if tc, ok := info.Conn.(*tls.Conn); ok {
				x.http2.Store(tc.ConnectionState().NegotiatedProtocol == "h2")
				x.holdSource(tc)
			}
			x.connected.Store(true)
			x.watch.start(timeoutFirstByte, x.t.cfg.FirstByteTimeout)
		},
		WroteHeaders: func() { x.written.Store(true) },
		WroteRequest: func(info httptrace.WroteRequestInfo) {
			if info.Err == nil {
				x.watch.start(timeoutFirstByte, x.t.cfg.FirstByteTimeout)
			}
		},
		GotFirstResponseByte: func() { x.answered.Store(true) },
		Got1xxResponse: func(status int, h textproto.MIMEHeader) error {
			x.mu.Lock()
			defer x.mu.Unlock()
			// net/http bounds each interim answer, but with this hook not their number.
			if x.interim += interimSize(h); x.interim > x.t.cfg.MaxHeaderBytes {
				return fmt.Errorf("interim answers are over %d bytes", x.t.cfg.MaxHeaderBytes)
			}
			if !x.head && x.r.Informational != nil && status > http.StatusProcessing {
				x.r.Informational(status, http.Header(h))
			}
			return nil
		},
	}
}

// holdSource stops the source when an HTTP/1.1 connection is closed under it.
// net/http would wait for the source instead, before it tells of the closing.
func (x *stdExchange) holdSource(tc *tls.Conn) {
	if c, ok := tc.NetConn().(*countedConn); ok && x.source != nil && !x.http2.Load() {
		x.conn.Store(c)
		c.source.Store(x.source)
	}
}

// interimSize is about what an interim answer took on the wire.
func interimSize(h textproto.MIMEHeader) int64 {
	size := len("HTTP/1.1 100 \r\n\r\n")
	for name, values := range h {
		for _, v := range values {
			size += len(name) + len(v) + len(": \r\n")
		}
	}
	return int64(size)
}

func (x *stdExchange) headDone() {
	x.mu.Lock()
	x.head = true
	x.mu.Unlock()
}

func (x *stdExchange) phase() Phase {
	switch {
	case x.written.Load():
		return Head
	case x.connected.Load():
		return Send
	case x.tlsBegun.Load():
		return TLS
	}
	return Dial
}

// release ends the exchange's hold on everything.
func (x *stdExchange) release(grace time.Duration) {
	x.watch.stop()
	end := func() { x.cancel(context.Canceled) }
	if x.source != nil {
		x.source.settle(grace, end)
		x.unhook()
		if c := x.conn.Load(); c != nil {
			c.source.CompareAndSwap(x.source, nil)
		}
	}
	end()
	x.t.active.Add(-1)
	if x.t.closed.Load() {
		x.t.CloseIdle()
	}
}

// fail ends the exchange and says what happened in phase.
func (x *stdExchange) fail(phase Phase, err error) *Error {
	e := &Error{Backend: x.t.host, Phase: phase, Sent: x.connected.Load(), Reused: x.onKept.Load(), Err: err}
	limit, limited := errors.AsType[*limitError](context.Cause(x.inner))
	x.release(0)
	if x.ctx.Err() != nil {
		e.Err = context.Cause(x.ctx)
		return e
	}
	if limited {
		e.Timeout, e.Err = limit.limit, limit
		return e
	}
	if x.source != nil {
		if failed := x.source.failure(); failed != nil {
			e.Phase, e.Err = Send, failed
			return e
		}
	}
	if ne, ok := errors.AsType[net.Error](err); ok && ne.Timeout() && phase <= TLS {
		e.Timeout = timeoutConnect
		e.Err = fmt.Errorf("%w: %w", &limitError{timeoutConnect, x.t.cfg.ConnectTimeout}, err)
		return e
	}
	// A source that was told to stop, with no limit and no cancellation behind
	// it, was stopped by the closing of its connection.
	closed := peerClosed(err) || errors.Is(err, errUnwanted)
	switch {
	case phase <= TLS:
	case x.answered.Load():
		if closed {
			e.Err = fmt.Errorf("%w (%w)", errCut, err)
		}
	case closed || e.Reused && !x.http2.Load():
		// net/http has a private error for a kept HTTP/1.1 connection that its
		// server has closed; there, nothing else goes wrong before the first byte.
		e.Err = fmt.Errorf("%w (%w)", errNoAnswer, err)
		if e.Reused {
			e.Sent = false
			e.stale = x.source == nil || !x.source.touched.Load()
		}
	}
	return e
}
