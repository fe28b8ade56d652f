package proxy

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"time"
)

// listener wraps each accepted connection, and lets no more in than allowed:
// beyond that they wait in the system's queue.
type listener struct {
	net.Listener
	places chan struct{} // nil is no limit
	done   chan struct{} // closed with the listener
	once   sync.Once
}

func newListener(ln net.Listener, maxConnections int) *listener {
	l := &listener{Listener: ln, done: make(chan struct{})}
	if maxConnections > 0 {
		l.places = make(chan struct{}, maxConnections)
	}
	return l
}

func (l *listener) Accept() (net.Conn, error) {
	c, err := l.accept()
	if err != nil {
		return nil, err // not a nil *clientConn, which would be no nil net.Conn
	}
	return c, nil
}

// strictListener watches the heads of what net/http is given, and what it refuses.
type strictListener struct {
	net.Listener
	refuse func(unread) []byte
}

func (l strictListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &strictConn{Conn: c, refuse: l.refuse}, nil
}

func (l *listener) accept() (*clientConn, error) {
	if l.places != nil {
		select {
		case l.places <- struct{}{}:
		case <-l.done:
			return nil, net.ErrClosed
		}
	}
	c, err := l.Listener.Accept()
	if err != nil {
		l.leave()
		return nil, err
	}
	return &clientConn{Conn: c, closed: l.leave}, nil
}

func (l *listener) leave() {
	if l.places != nil {
		<-l.places
	}
}

func (l *listener) Close() error {
	l.once.Do(func() { close(l.done) })
	return l.Listener.Close()
}

// tlsListener makes the handshake itself, each in its own goroutine, since only
// then is it known whether the client speaks HTTP/1.1, whose heads are watched,
// or HTTP/2.
type tlsListener struct {
	*listener
	config  *tls.Config
	timeout time.Duration
	refuse  func(unread) []byte
	ready   chan net.Conn
	failed  chan error
	ctx     context.Context
	stop    context.CancelFunc
	wg      sync.WaitGroup
}

func newTLSListener(l *listener, config *tls.Config, timeout time.Duration, refuse func(unread) []byte) *tlsListener {
	t := &tlsListener{listener: l, config: config, timeout: timeout, refuse: refuse, ready: make(chan net.Conn), failed: make(chan error)}
	t.ctx, t.stop = context.WithCancel(context.Background())
	t.wg.Go(t.run)
	return t
}

// run accepts until the listener is closed. Each failure is for net/http, which asks
// again some time later if that may help; until then nothing is tried.
func (t *tlsListener) run() {
	for {
		c, err := t.accept()
		if err == nil {
			t.wg.Go(func() { t.handshake(c) })
			continue
		}
		select {
		case t.failed <- err:
		case <-t.ctx.Done():
			return
		}
	}
}

func (t *tlsListener) handshake(c *clientConn) {
	conn := tls.Server(c, t.config)
	ctx, cancel := context.WithTimeout(t.ctx, t.timeout)
	defer cancel()
	if err := conn.HandshakeContext(ctx); err != nil {
		if e, ok := errors.AsType[tls.RecordHeaderError](err); ok && e.Conn != nil && plainRequest(e.RecordHeader) {
			_, _ = io.WriteString(e.Conn, wantsTLS) // a lost answer to a mistake is no loss
		}
		conn.Close() // a client that does not speak our TLS gets the alert, no more
		return
	}
	var out net.Conn = conn
	if conn.ConnectionState().NegotiatedProtocol != "h2" {
		out = &strictTLSConn{strictConn: strictConn{Conn: conn, refuse: t.refuse}, tls: conn}
	}
	select {
	case t.ready <- out:
	case <-t.ctx.Done():
		conn.Close()
	}
}

const wantsTLS = "HTTP/1.0 400 Bad Request\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\nThis port speaks HTTPS: use https:// in the URL.\n"

// plainRequest tells whether what should begin a TLS record begins a request.
func plainRequest(start [5]byte) bool {
	switch string(start[:]) {
	case "GET /", "HEAD ", "POST ", "PUT /", "DELET", "OPTIO":
		return true
	}
	return false
}

func (t *tlsListener) Accept() (net.Conn, error) {
	select {
	case c := <-t.ready:
		return c, nil
	case err := <-t.failed:
		return nil, err
	case <-t.ctx.Done():
		return nil, net.ErrClosed
	}
}

func (t *tlsListener) Close() error {
	err := t.listener.Close()
	t.stop()
	t.wg.Wait()
	return err
}

type connKey struct{}

// conns is what a handler finds of its connection.
type conns struct {
	client *clientConn
	strict *strictConn // nil with HTTP/2, and where requests are plain
}

// connContext lets handlers find the connection that net/http hides.
func connContext(ctx context.Context, c net.Conn) context.Context {
	var found conns
	switch c := c.(type) {
	case *strictConn:
		found.strict = c
	case *strictTLSConn:
		found.strict = &c.strictConn
	}
	for c != nil && found.client == nil {
		switch layer := c.(type) {
		case *clientConn:
			found.client = layer
		case interface{ NetConn() net.Conn }:
			c = layer.NetConn()
		default:
			c = nil
		}
	}
	return context.WithValue(ctx, connKey{}, found)
}

func connsOf(r *http.Request) conns {
	c, _ := r.Context().Value(connKey{}).(conns)
	return c
}
