package wire

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/vega-proxy/vega-proxy/internal/lifetime"
)

// h1 is HTTP/1.1 in the clear, driven by the goroutine that calls.
type h1 struct {
	cfg    Config
	host   string // as in the Host field
	addr   string // as dialled
	dialer net.Dialer
	pool   pool

	open                 atomic.Int64
	dials, reused, stale atomic.Uint64
}

func newH1(cfg Config) *h1 {
	return &h1{
		cfg:    cfg,
		host:   hostField(cfg.URL),
		addr:   dialAddr(cfg.URL),
		dialer: net.Dialer{Timeout: cfg.ConnectTimeout},
		pool:   pool{max: cfg.MaxIdle},
	}
}

// hostField is the URL's authority without an IPv6 zone, which means nothing to
// the other side (RFC 6874, section 4).
func hostField(u *url.URL) string {
	before, zone, found := strings.Cut(u.Host, "%")
	if !found {
		return u.Host
	}
	return before + zone[strings.IndexByte(zone, ']'):]
}

func dialAddr(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = "80"
	}
	return net.JoinHostPort(u.Hostname(), port)
}

func (t *h1) RoundTrip(ctx context.Context, r *Request) (*Response, error) {
	if err := r.check(); err != nil {
		return nil, &Error{Backend: t.host, Phase: Send, Err: err}
	}
	if ctx.Err() != nil {
		return nil, &Error{Backend: t.host, Phase: Dial, Err: context.Cause(ctx)}
	}
	if c := t.pool.get(); c != nil {
		t.reused.Add(1)
		resp, err := t.exchange(ctx, c, r, 0)
		if err == nil {
			return resp, nil
		}
		if !err.stale {
			return nil, err
		}
		t.stale.Add(1)
	}
	start := time.Now()
	c, err := t.dial(ctx)
	if err != nil {
		return nil, err
	}
	resp, err := t.exchange(ctx, c, r, time.Since(start))
	if err != nil {
		return nil, err
	}
	return resp, nil
}

// dial always makes a fresh connection, and so looks the name up anew.
func (t *h1) dial(ctx context.Context) (*conn, *Error) {
	if t.pool.isClosed() {
		return nil, &Error{Backend: t.host, Phase: Dial, Err: net.ErrClosed}
	}
	nc, err := t.dialer.DialContext(ctx, "tcp", t.addr)
	if err != nil {
		e := &Error{Backend: t.host, Phase: Dial, Err: err}
		if ctx.Err() != nil {
			e.Err = fmt.Errorf("%w (%w)", context.Cause(ctx), err)
		} else if ne, ok := errors.AsType[net.Error](err); ok && ne.Timeout() {
			e.Timeout = timeoutConnect
			e.Err = fmt.Errorf("%w: %w", &limitError{timeoutConnect, t.cfg.ConnectTimeout}, err)
		}
		return nil, e
	}
	t.dials.Add(1)
	return newConn(t, nc), nil
}

// exchange sends r on c and reads the head of the answer. It owns c: whatever
// happens, c is kept, closed, or part of the answer's body.
func (t *h1) exchange(ctx context.Context, c *conn, r *Request, connectTime time.Duration) (*Response, *Error) {
	c.begin()
	b := &body{ctx: ctx, c: c}
	b.resp.Reused = c.served > 1
	b.resp.ConnectTime = connectTime
	b.stop = lifetime.AfterFunc(ctx, c.closeFunc)

	sendErr := b.send(r)
	if sendErr != nil {
		// The backend may have answered and closed before it had read the
		// request: what it said explains more than the failed write.
		c.linger()
	}
	err := b.readHead(r)
	switch {
	case err == nil:
		return &b.resp, nil
	case sendErr != nil && (peerClosed(err) || errors.Is(err, os.ErrDeadlineExceeded)):
		return nil, b.fail(Send, sendErr)
	}
	return nil, b.fail(Head, err)
}

func (t *h1) CloseIdle() { t.pool.closeIdle() }

func (t *h1) Retire() { t.pool.retire() }

func (t *h1) Close() { t.pool.close() }

func (t *h1) Stats() Stats {
	return Stats{
		Open:         int(t.open.Load()),
		Idle:         t.pool.len(),
		Dials:        t.dials.Load(),
		Reused:       t.reused.Load(),
		StaleRetries: t.stale.Load(),
	}
}
