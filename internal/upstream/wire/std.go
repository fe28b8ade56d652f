package wire

import (
	"context"
	"maps"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// std is [http.Transport] with the limits, the error phases and the retry rule
// of this package. Two things only the cleartext pool can do: give a chunk's
// beginning before the rest of it has come, and refuse answers whose framing is
// ambiguous, which net/http resolves by RFC 9112 instead.
type std struct {
	cfg  Config
	host string
	// fresh opens a connection per request: it asks again where a kept
	// connection of pooled was dead.
	pooled, fresh *http.Transport

	closed, retired      atomic.Bool
	open, active         atomic.Int64
	dials, reused, stale atomic.Uint64
}

func newStd(cfg Config) *std {
	t := &std{cfg: cfg, host: hostField(cfg.URL)}
	t.pooled = t.transport()
	t.fresh = t.transport()
	t.fresh.DisableKeepAlives = true
	return t
}

func (t *std) transport() *http.Transport {
	dialer := &net.Dialer{Timeout: t.cfg.ConnectTimeout}
	return &http.Transport{
		Proxy: nil, // the environment's proxies are not for backends
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			nc, err := dialer.DialContext(ctx, network, addr)
			if err != nil {
				return nil, err
			}
			t.dials.Add(1)
			t.open.Add(1)
			return &countedConn{Conn: nc, open: &t.open}, nil
		},
		TLSClientConfig:        t.cfg.TLS.Clone(),
		TLSHandshakeTimeout:    t.cfg.ConnectTimeout,
		DisableCompression:     true,
		MaxIdleConnsPerHost:    t.cfg.MaxIdle,
		IdleConnTimeout:        maxIdleAge,
		MaxResponseHeaderBytes: t.cfg.MaxHeaderBytes,
		ForceAttemptHTTP2:      true,
		// A silent HTTP/2 connection is asked for a sign of life, or all its
		// requests would wait out their first-byte limit on a dead peer.
		HTTP2: &http.HTTP2Config{SendPingTimeout: 15 * time.Second, PingTimeout: 15 * time.Second},
	}
}

// countedConn counts itself down when it is closed, and stops what it was to send.
type countedConn struct {
	net.Conn
	open   *atomic.Int64
	source atomic.Pointer[source] // of the HTTP/1.1 request in progress
	once   sync.Once
}

func (c *countedConn) Close() error {
	c.once.Do(func() { c.open.Add(-1) })
	err := c.Conn.Close()
	if s := c.source.Load(); s != nil {
		s.stop()
	}
	return err
}

func (t *std) RoundTrip(ctx context.Context, r *Request) (*Response, error) {
	if err := r.check(); err != nil {
		return nil, &Error{Backend: t.host, Phase: Send, Err: err}
	}
	if ctx.Err() != nil {
		return nil, &Error{Backend: t.host, Phase: Dial, Err: context.Cause(ctx)}
	}
	if t.closed.Load() {
		return nil, &Error{Backend: t.host, Phase: Dial, Err: net.ErrClosed}
	}
	via := t.pooled
	if t.retired.Load() {
		via = t.fresh
	}
	resp, err := t.exchange(ctx, via, r)
	if err != nil && err.stale {
		t.stale.Add(1)
		resp, err = t.exchange(ctx, t.fresh, r)
	}
	if err != nil {
		return nil, err
	}
	return resp, nil
}

func (t *std) exchange(ctx context.Context, via *http.Transport, r *Request) (*Response, *Error) {
	t.active.Add(1)
	x := &stdExchange{t: t, ctx: ctx, r: r, started: time.Now()}
	inner, cancel := context.WithCancelCause(ctx)
	x.inner, x.cancel = inner, cancel
	x.watch.cancel = cancel

	req := t.request(httptrace.WithClientTrace(inner, x.trace()), x)
	if x.source != nil {
		x.unhook = context.AfterFunc(inner, x.source.stop)
	}
	resp, err := via.RoundTrip(req)
	x.headDone()
	if err != nil {
		return nil, x.fail(x.phase(), err)
	}
	return x.answer(resp)
}

// request puts r into net/http's terms.
func (t *std) request(ctx context.Context, x *stdExchange) *http.Request {
	r := x.r
	header := maps.Clone(r.Header)
	if header == nil {
		header = http.Header{}
	}
	for name := range notSent {
		delete(header, name)
	}
	if _, given := header["User-Agent"]; !given {
		header["User-Agent"] = []string{""} // or net/http would send its own
	}
	// net/http replays a request that bears one of these after it was sent,
	// whatever its method. It looks them up under their canonical names; to
	// servers a name in lower case is the same field.
	for _, name := range []string{"Idempotency-Key", "X-Idempotency-Key"} {
		if values, given := header[name]; given {
			delete(header, name)
			header[strings.ToLower(name)] = values
		}
	}
	if r.Upgrade != "" {
		header["Connection"] = []string{"Upgrade"}
		header["Upgrade"] = []string{r.Upgrade}
	}
	req := &http.Request{
		Method:     r.Method,
		URL:        target(t.cfg.URL, r.Target),
		Host:       t.host,
		Proto:      "HTTP/1.1",
		ProtoMajor: 1,
		ProtoMinor: 1,
		Header:     header,
	}
	if n := r.length(); n != 0 {
		req.ContentLength = n
		// Without GetBody net/http cannot send a body twice; whether it may be
		// is decided in RoundTrip.
		x.source = &source{r: r, x: x, done: make(chan struct{})}
		x.source.trailer = announceTrailer(r)
		req.Trailer = x.source.trailer
		req.Body = x.source
	}
	return req.WithContext(ctx)
}

// target makes a URL that net/http sends as it was given: Opaque is not encoded
// anew, but would be taken for a host if it began with two slashes.
func target(base *url.URL, raw string) *url.URL {
	u := &url.URL{Scheme: base.Scheme, Host: base.Host, Opaque: raw}
	if strings.HasPrefix(raw, "//") {
		path, query, hasQuery := strings.Cut(raw, "?")
		u.Opaque = ""
		u.Path, u.RawQuery, u.ForceQuery = path, query, hasQuery && query == ""
		if decoded, err := url.PathUnescape(path); err == nil {
			u.Path, u.RawPath = decoded, path
		}
	}
	return u
}

func announceTrailer(r *Request) http.Header {
	var trailer http.Header
	for _, name := range r.trailerNames() {
		if trailer == nil {
			trailer = http.Header{}
		}
		trailer[name] = nil
	}
	return trailer
}

func (t *std) CloseIdle() {
	t.pooled.CloseIdleConnections()
	t.fresh.CloseIdleConnections()
}

func (t *std) Retire() {
	t.retired.Store(true)
	t.CloseIdle() // and what is in use closes as it ends
}

func (t *std) Close() {
	t.closed.Store(true)
	t.CloseIdle()
}

func (t *std) Stats() Stats {
	open := t.open.Load()
	return Stats{
		Open:         int(open),
		Idle:         int(max(open-t.active.Load(), 0)),
		Dials:        t.dials.Load(),
		Reused:       t.reused.Load(),
		StaleRetries: t.stale.Load(),
	}
}
