package wire

import (
	"context"
	"io"
	"net/http"
	"sync"
	"time"
)

// answer makes net/http's response one of this package.
func (x *stdExchange) answer(resp *http.Response) (*Response, *Error) {
	a := &Response{
		Status:      resp.StatusCode,
		ProtoMajor:  resp.ProtoMajor,
		ProtoMinor:  resp.ProtoMinor,
		Header:      resp.Header,
		Length:      resp.ContentLength,
		Trailer:     resp.Trailer,
		Reused:      x.onKept.Load(),
		ConnectTime: time.Duration(x.connectTime.Load()),
	}
	if resp.StatusCode == http.StatusSwitchingProtocols {
		rwc, ok := resp.Body.(io.ReadWriteCloser)
		if !ok || x.r.Upgrade == "" {
			resp.Body.Close()
			return nil, x.fail(Head, malformed("it switches protocols without being asked"))
		}
		x.watch.stop()
		t := &stdTunnel{x: x, rwc: rwc}
		// net/http lets go of the context with the connection.
		t.unhook = context.AfterFunc(x.ctx, func() { rwc.Close() })
		a.Body, a.Length = t, -1
		return a, nil
	}
	x.watch.headRead()
	b := &stdBody{x: x, resp: a, src: resp}
	a.Body = b
	if resp.Body == http.NoBody || x.r.Method == http.MethodHead {
		b.end(io.EOF)
	}
	return a, nil
}

// stdBody is an answer's body as net/http gives it.
type stdBody struct {
	x     *stdExchange
	resp  *Response
	src   *http.Response
	begun bool
	err   error // what Read returns from now on
}

func (b *stdBody) Read(p []byte) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	if b.begun {
		b.x.watch.start(timeoutIdle, b.x.t.cfg.IdleTimeout)
	} else {
		b.x.watch.read()
	}
	n, err := b.src.Body.Read(p)
	if n > 0 || err != nil {
		b.begun = true
		b.x.watch.pause(true)
	}
	if err == io.EOF && b.resp.Length < 0 && b.x.inner.Err() != nil {
		// Closing a TLS connection makes the backend close its side, which can
		// look like a clean end to who still reads.
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		b.end(err)
	}
	return n, b.err
}

// Ready tells that the body has ended: of what net/http holds nothing is known.
func (b *stdBody) Ready() bool { return b.err != nil }

// Wait returns at once: net/http's own buffer is read only by Read.
func (b *stdBody) Wait() error { return nil }

func (b *stdBody) end(err error) {
	if err != io.EOF {
		b.src.Body.Close()
		b.err = b.x.fail(Body, err)
		return
	}
	b.err = io.EOF
	b.resp.Trailer = b.src.Trailer
	b.x.release(sendGrace)
}

// Close gives the body up, which ends the request on the backend's side.
func (b *stdBody) Close() error {
	if b.err != nil {
		return nil
	}
	b.err = errBodyClosed
	b.x.cancel(context.Canceled)
	b.src.Body.Close() // says only that the request was cancelled, just above
	b.x.release(0)
	return nil
}

// stdTunnel is the connection after 101.
type stdTunnel struct {
	x      *stdExchange
	rwc    io.ReadWriteCloser
	unhook func() bool
	once   sync.Once
}

func (t *stdTunnel) Read(p []byte) (int, error) {
	n, err := t.rwc.Read(p)
	return n, t.explain(err)
}

// Wait returns at once.
func (t *stdTunnel) Wait() error { return nil }

func (t *stdTunnel) Write(p []byte) (int, error) {
	n, err := t.rwc.Write(p)
	return n, t.explain(err)
}

func (t *stdTunnel) Close() error {
	var err error
	t.once.Do(func() {
		t.unhook()
		err = t.rwc.Close()
		t.x.release(0)
	})
	return err
}

func (t *stdTunnel) explain(err error) error {
	switch {
	case err == nil:
		return nil
	case t.x.ctx.Err() != nil:
		err = context.Cause(t.x.ctx) // even for EOF: see stdBody.Read
	case err == io.EOF:
		return err
	}
	return &Error{Backend: t.x.t.host, Phase: Body, Sent: true, Reused: t.x.onKept.Load(), Err: err}
}
