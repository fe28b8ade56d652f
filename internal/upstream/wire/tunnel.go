package wire

import (
	"context"
	"errors"
	"io"
	"net/http"
	"time"
)

// upgrade makes the connection itself the answer's body.
func (b *body) upgrade(line statusLine, h http.Header) error {
	c := b.c
	if b.sender != nil && !b.sender.settle(sendGrace) {
		return malformed("it switches protocols before it had the whole request")
	}
	c.await = anything
	if err := errors.Join(c.arm(0, 0), c.nc.SetWriteDeadline(time.Time{})); err != nil {
		return err
	}
	b.resp.Status, b.resp.ProtoMajor, b.resp.ProtoMinor = line.status, 1, line.minor
	b.resp.Header, b.resp.Length = h, -1
	b.resp.Body = &tunnel{c: c, ctx: b.ctx, stop: b.stop}
	return nil
}

// tunnel is the connection after 101. No limit of time holds here: what flows,
// and when, is the protocol's own affair.
type tunnel struct {
	c    *conn
	ctx  context.Context
	stop func() bool
}

func (t *tunnel) Read(p []byte) (int, error) {
	if t.c.br.Buffered() > 0 {
		return t.c.br.Read(p)
	}
	n, err := t.c.nc.Read(p)
	return n, t.explain(err)
}

// Wait returns once Read will not block.
func (t *tunnel) Wait() error {
	if err := t.c.fill(); err != nil && err != io.EOF {
		return t.explain(err)
	}
	return nil
}

func (t *tunnel) Write(p []byte) (int, error) {
	n, err := t.c.nc.Write(p)
	return n, t.explain(err)
}

// CloseWrite tells the backend that nothing more will come.
func (t *tunnel) CloseWrite() error {
	half, ok := t.c.nc.(interface{ CloseWrite() error })
	if !ok {
		return errors.ErrUnsupported
	}
	return t.explain(half.CloseWrite())
}

func (t *tunnel) Close() error {
	t.stop()
	t.c.close()
	return nil
}

func (t *tunnel) explain(err error) error {
	if err == nil || err == io.EOF {
		return err
	}
	if t.ctx.Err() != nil {
		err = context.Cause(t.ctx)
	}
	return &Error{Backend: t.c.t.host, Phase: Body, Sent: true, Reused: t.c.served > 1, Err: err}
}
