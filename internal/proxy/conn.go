package proxy

import (
	"errors"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// errStalled is the end of a client that took no byte for write_stall_timeout.
var errStalled = errors.New("the client took nothing for the write stall timeout")

// clientConn is a client's connection with rolling deadlines. A write fails
// only after a whole stall timeout without progress, so that a slow client is
// told from a dead one; a read of a request body fails after the body timeout
// without a byte. Under TLS it lies below the encryption.
//
// Deadlines are armed up to an eighth later than asked for, and then left alone
// until they come nearer than asked for: a token costs no timer.
type clientConn struct {
	net.Conn
	stall atomic.Int64 // ns; 0 is off

	// Owned by whoever writes; net/http sees to it that it is one at a time.
	writeBy time.Time // the armed deadline
	foreign bool      // net/http has set a deadline of its own, for a handshake

	mu       sync.Mutex    // guards the fields below
	bodyIdle time.Duration // while a request body is being read
	readBy   time.Time     // the armed deadline; zero is none

	stalled atomic.Bool
	dying   atomic.Bool // nothing that is written now is worth waiting for
	closed  func()      // gives the connection's place back
	once    sync.Once

	held held

	watch Watch // the last exchange's; owned by whoever serves one after the other
}

// Write is safe for concurrent use, as TLS needs it: its reader may have to say
// something too.
func (c *clientConn) Write(p []byte) (int, error) {
	c.held.mu.Lock()
	defer c.held.mu.Unlock()
	if c.held.on {
		return c.tryWrite(p)
	}
	if err := c.push(); err != nil {
		return 0, err
	}
	return c.write(p)
}

func (c *clientConn) write(p []byte) (int, error) {
	written := 0
	for {
		c.armWrite()
		n, err := c.writeSome(p[written:])
		written += n
		if again, err := c.patience(n, err); !again {
			return written, err
		}
	}
}

// writeSome writes all of p, or what it can until the deadline.
func (c *clientConn) writeSome(p []byte) (int, error) {
	if c.openSocket() {
		return c.held.sock.Write(p)
	}
	return c.Conn.Write(p)
}

// WriteBuffers writes several pieces as one, with the patience of Write.
func (c *clientConn) WriteBuffers(v *net.Buffers) (written int64, err error) {
	c.held.mu.Lock()
	defer c.held.mu.Unlock()
	if c.held.on {
		for _, p := range *v {
			n, err := c.tryWrite(p)
			written += int64(n)
			if err != nil {
				return written, err
			}
		}
		return written, nil
	}
	if err := c.push(); err != nil {
		return 0, err
	}
	for {
		c.armWrite()
		n, err := v.WriteTo(c.Conn) // takes from v what it has written
		written += n
		if again, err := c.patience(int(n), err); !again {
			return written, err
		}
	}
}

// patience decides after a write of n bytes whether what is left is tried again.
func (c *clientConn) patience(n int, err error) (again bool, final error) {
	switch {
	case err == nil || c.foreign || !errors.Is(err, os.ErrDeadlineExceeded), c.dying.Load():
		return false, err
	case n == 0:
		c.cutOff()
		return false, errStalled
	}
	c.writeBy = time.Time{} // it took something: slow, not dead
	return true, nil
}

// cutOff ends a client that took nothing. To whoever watches the connection it has
// gone, so that the exchange ends though its upstream says nothing.
func (c *clientConn) cutOff() {
	c.stalled.Store(true)
	if tcp, ok := c.Conn.(*net.TCPConn); ok {
		_ = tcp.CloseRead() // fails only on a connection that is closed or broken
	}
}

func (c *clientConn) armWrite() {
	stall := time.Duration(c.stall.Load())
	if stall <= 0 || c.foreign {
		return
	}
	now := time.Now()
	if left := c.writeBy.Sub(now); left >= stall && left <= stall+stall/8 { // later is an earlier exchange's
		return
	}
	c.writeBy = now.Add(stall + stall/8)
	c.Conn.SetWriteDeadline(c.writeBy) // fails only on a closed connection, as the write then does
	if c.dying.Load() {
		c.hurry() // which may have come just before
	}
}

// SetWriteDeadline is for net/http: it clears the deadline after every request,
// which must not cost a rolling one, and sets one for a TLS handshake.
func (c *clientConn) SetWriteDeadline(t time.Time) error {
	if t.IsZero() && !c.foreign {
		return nil
	}
	c.foreign = !t.IsZero()
	c.writeBy = time.Time{}
	return c.Conn.SetWriteDeadline(t)
}

// SetDeadline would bypass the bookkeeping of the two deadlines.
func (c *clientConn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

func (c *clientConn) Read(p []byte) (int, error) {
	c.mu.Lock()
	if c.bodyIdle > 0 {
		if now := time.Now(); c.readBy.Sub(now) < c.bodyIdle {
			c.readBy = now.Add(c.bodyIdle + c.bodyIdle/8)
			c.Conn.SetReadDeadline(c.readBy)
		}
	}
	c.mu.Unlock()
	return c.Conn.Read(p)
}

// readingBody bounds the silence between two reads while d is not 0. The end of
// the body must be told with 0: what waits for the next request, and for the
// client's leaving, may wait for ever.
func (c *clientConn) readingBody(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.bodyIdle = d
	if d == 0 && !c.readBy.IsZero() {
		c.readBy = time.Time{}
		c.Conn.SetReadDeadline(time.Time{})
	}
}

// SyscallConn gives access to the socket.
func (c *clientConn) SyscallConn() (syscall.RawConn, error) {
	sc, ok := c.Conn.(syscall.Conn)
	if !ok {
		return nil, errors.ErrUnsupported
	}
	return sc.SyscallConn()
}

// CloseWrite lets net/http say goodbye before it closes.
func (c *clientConn) CloseWrite() error {
	if cw, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return cw.CloseWrite()
	}
	return nil
}

func (c *clientConn) Close() error {
	c.once.Do(c.closed)
	return c.Conn.Close()
}

// reset makes the coming close a TCP reset: the only way to show a client that a
// body without length or chunks was cut.
func (c *clientConn) reset() {
	if tcp, ok := c.Conn.(*net.TCPConn); ok {
		tcp.SetLinger(0)
	}
}
