package front

import (
	"net"
	"sync"
)

// fallback is the listener of the connections that are handed over.
type fallback struct {
	conns  chan net.Conn
	server <-chan struct{} // closed with the server
	done   chan struct{}   // closed with the listener
	once   sync.Once
}

func newFallback(server <-chan struct{}) *fallback {
	return &fallback{conns: make(chan net.Conn), server: server, done: make(chan struct{})}
}

// hand waits until c is taken, and closes it if nobody will.
func (f *fallback) hand(c net.Conn) {
	select {
	case f.conns <- c:
	case <-f.server:
		c.Close()
	case <-f.done:
		c.Close()
	}
}

// Accept implements net.Listener.
func (f *fallback) Accept() (net.Conn, error) {
	select {
	case c := <-f.conns:
		return c, nil
	case <-f.server:
	case <-f.done:
	}
	return nil, net.ErrClosed
}

// Close implements net.Listener.
func (f *fallback) Close() error {
	f.once.Do(func() { close(f.done) })
	return nil
}

// Addr implements net.Listener.
func (f *fallback) Addr() net.Addr { return handedOver{} }

type handedOver struct{}

func (handedOver) Network() string { return "tcp" }
func (handedOver) String() string  { return "handed over" }

// handed is a connection that was begun here, with what was read and not served
// in front.
type handed struct {
	net.Conn
	ahead []byte // owned by whoever reads
}

// Read implements net.Conn.
func (h *handed) Read(p []byte) (int, error) {
	if len(h.ahead) == 0 {
		return h.Conn.Read(p)
	}
	n := copy(p, h.ahead)
	if h.ahead = h.ahead[n:]; len(h.ahead) == 0 {
		h.ahead = nil
	}
	return n, nil
}

// NetConn returns the connection as it was accepted.
func (h *handed) NetConn() net.Conn { return h.Conn }

// CloseWrite lets net/http say goodbye before it closes.
func (h *handed) CloseWrite() error {
	if cw, ok := h.Conn.(interface{ CloseWrite() error }); ok {
		return cw.CloseWrite()
	}
	return nil
}
