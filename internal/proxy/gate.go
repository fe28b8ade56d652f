package proxy

import (
	"sync"
	"syscall"
	"time"

	"github.com/vega-proxy/vega-proxy/internal/poll"
)

// held is the state of a connection whose writes must not wait for the client.
type held struct {
	mu   sync.Mutex // held while writing; guards all below
	on   bool
	kept []byte       // what the kernel did not take
	sock *poll.Socket // once it was asked for
}

// Hold makes writes return at once from here on: what the kernel does not take
// is kept for Push. Only one goroutine writes at a time, and it says this.
func (c *clientConn) Hold(on bool) {
	c.held.mu.Lock()
	defer c.held.mu.Unlock()
	c.held.on = on && c.openSocket()
}

// openSocket finds the connection's socket. Without one, writes wait as ever.
func (c *clientConn) openSocket() bool {
	h := &c.held
	if h.sock != nil {
		return true
	}
	sc, ok := c.Conn.(syscall.Conn)
	if !ok {
		return false
	}
	var err error
	h.sock, err = poll.NewSocket(sc)
	return err == nil
}

// Stuck tells that the client is behind.
func (c *clientConn) Stuck() bool {
	c.held.mu.Lock()
	defer c.held.mu.Unlock()
	return len(c.held.kept) > 0
}

// Push writes what was kept, and waits for the client as any write does.
func (c *clientConn) Push() error {
	c.held.mu.Lock()
	defer c.held.mu.Unlock()
	return c.push()
}

func (c *clientConn) push() error {
	kept := c.held.kept
	c.held.kept = nil
	if len(kept) == 0 {
		return nil
	}
	_, err := c.write(kept)
	return err
}

// tryWrite hands the kernel what it takes now.
func (c *clientConn) tryWrite(p []byte) (int, error) {
	h := &c.held
	if len(h.kept) > 0 {
		h.kept = append(h.kept, p...)
		return len(p), nil
	}
	n, err := h.sock.TryWrite(p)
	if err != nil {
		return n, err
	}
	h.kept = append(h.kept, p[n:]...)
	return len(p), nil
}

// hurry gives the writes in progress a last moment: the exchange is over.
func (c *clientConn) hurry() {
	c.dying.Store(true)
	_ = c.Conn.SetWriteDeadline(time.Now().Add(hurryFor)) // fails only when closed
}

const hurryFor = 100 * time.Millisecond
