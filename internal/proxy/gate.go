package proxy

import (
	"sync"
	"syscall"
	"time"
)

// held is the state of a connection whose writes must not wait for the client.
type held struct {
	mu    sync.Mutex // held while writing; guards all below
	on    bool
	kept  []byte // what the kernel did not take
	raw   syscall.RawConn
	try   func(fd uintptr) bool // made once: a write costs no closure
	p     []byte
	n     int
	errno error
}

// Hold makes writes return at once from here on: what the kernel does not take
// is kept for Push. Only one goroutine writes at a time, and it says this.
func (c *clientConn) Hold(on bool) {
	c.held.mu.Lock()
	defer c.held.mu.Unlock()
	c.held.on = on && c.openRaw()
}

// openRaw finds the connection's descriptor. Without one, writes wait as ever.
func (c *clientConn) openRaw() bool {
	h := &c.held
	if h.raw != nil {
		return true
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return false
	}
	h.raw = raw
	h.try = func(fd uintptr) bool {
		for h.n < len(h.p) && h.errno == nil {
			var n int
			n, h.errno = ignoringEINTR(int(fd), h.p[h.n:])
			h.n += max(n, 0)
		}
		return true // done for now, whatever came of it
	}
	return true
}

func ignoringEINTR(fd int, p []byte) (int, error) {
	for {
		n, err := syscall.Write(fd, p)
		if err != syscall.EINTR {
			return n, err
		}
	}
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
	c.armWrite() // a deadline that has passed would fail the attempt
	h.p, h.n, h.errno = p, 0, nil
	err := h.raw.Write(h.try)
	h.p = nil
	switch {
	case err != nil:
		return h.n, err
	case h.errno != nil && h.errno != syscall.EAGAIN:
		return h.n, h.errno
	}
	h.kept = append(h.kept, p[h.n:]...)
	return len(p), nil
}

// hurry gives the writes in progress a last moment: the exchange is over.
func (c *clientConn) hurry() {
	c.dying.Store(true)
	_ = c.Conn.SetWriteDeadline(time.Now().Add(hurryFor)) // fails only when closed
}

const hurryFor = 100 * time.Millisecond
