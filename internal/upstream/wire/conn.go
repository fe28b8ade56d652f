package wire

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/textproto"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/vega-proxy/vega-proxy/internal/poll"
)

// lingerTime is how long an answer is still looked for after a failed write.
const lingerTime = 250 * time.Millisecond

// awaiting is which limit a read is under.
type awaiting uint8

const (
	anything  awaiting = iota // no limit
	firstByte                 // of the body, counted from the end of the request
	nextByte                  // counted from the call of Read
)

// conn is one cleartext connection. It belongs to one exchange at a time; only
// closing, and the deadlines, may be touched from elsewhere.
type conn struct {
	t         *h1
	nc        net.Conn
	sock      *poll.Socket  // nc's; nil where it has none
	rw        io.ReadWriter // sock, or else nc
	br        *bufio.Reader
	fields    textproto.Reader // reads header fields from br
	born      time.Time        // all clock readings below count from here
	closed    atomic.Bool
	closeFunc func() // close as a value, made once

	// For reuse.
	served    int // requests, the one in progress included
	maxServed int // by the server's Keep-Alive; 0 is no limit
	maxIdle   time.Duration
	expires   time.Time // set while idle
	oversized bool      // br was grown for a large head: not worth keeping
	peek      func(fd uintptr)
	quiet     bool // what peek found: open, and nothing to read

	// Of the exchange in progress.
	got     bool // a byte has come
	trying  bool // Read must not wait
	await   awaiting
	sentAt  atomic.Int64 // when the request had gone out; 0 while it goes
	writeBy time.Duration

	mu        sync.Mutex
	readBy    time.Duration // the deadline that is set; 0 is none
	answered  bool          // the final head was read
	lingering bool          // a write has failed, and there is no head: the deadline is final
	awaited   chan struct{} // tells who awaits a body that it is no use any more; nil without
}

func newConn(t *h1, nc net.Conn) *conn {
	c := &conn{t: t, nc: nc, born: time.Now(), maxIdle: maxIdleAge}
	c.br = bufio.NewReaderSize(c, 4<<10)
	c.fields.R = c.br
	c.closeFunc = c.close
	c.rw = nc
	if sc, ok := nc.(syscall.Conn); ok {
		if sock, err := poll.NewSocket(sc); err == nil { // else it is closed, as reading will tell
			c.sock, c.rw = sock, sock
		}
	}
	c.peek = func(fd uintptr) { c.quiet = poll.Quiet(fd) }
	t.open.Add(1)
	return c
}

func (c *conn) close() {
	if c.closed.CompareAndSwap(false, true) {
		c.nc.Close() // nothing hangs on its error: all that mattered was read or written before
		c.t.open.Add(-1)
		c.mu.Lock()
		wake(c.awaited)
		c.mu.Unlock()
	}
}

// begin prepares for the next exchange.
func (c *conn) begin() {
	c.served++
	c.got = false
	c.await = firstByte
	c.sentAt.Store(0)
	c.mu.Lock()
	c.answered = false
	c.mu.Unlock()
}

// headRead ends lingering: the body has its own limits.
func (c *conn) headRead() {
	c.mu.Lock()
	c.answered = true
	c.lingering = false
	c.mu.Unlock()
}

// clock is the time since c was made, never 0.
func (c *conn) clock() time.Duration { return time.Since(c.born) + 1 }

// alive tells whether the server has neither closed the idle connection nor
// said something unasked. An answer that nobody asked for would otherwise be
// taken for the next request's: somebody else's words.
func (c *conn) alive() bool {
	// Control, not Read: the latter fails when an old read deadline has passed.
	return c.sock != nil && c.sock.Raw().Control(c.peek) == nil && c.quiet
}

// due is when the read that was called at start has waited long enough; 0 never.
func (c *conn) due(start time.Duration) (due, limit time.Duration) {
	switch c.await {
	case firstByte:
		if limit = c.t.cfg.FirstByteTimeout; limit == 0 {
			return 0, 0
		}
		sent := time.Duration(c.sentAt.Load())
		if sent == 0 {
			sent = c.clock()
		}
		// What came in time is not lost because the caller came late for it.
		return max(sent+limit, start+time.Millisecond), limit
	case nextByte:
		if limit = c.t.cfg.IdleTimeout; limit == 0 {
			return 0, 0
		}
		return start + limit, limit
	}
	return 0, 0
}

// arm sets the read deadline, unless the one that is set will do: it may fire up
// to an eighth of limit late, and one that fires early is armed again by Read.
// So a token costs no change of a timer.
func (c *conn) arm(due, limit time.Duration) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.lingering:
		return nil
	case due == 0:
		if c.readBy == 0 {
			return nil
		}
		c.readBy = 0
		return c.nc.SetReadDeadline(time.Time{})
	case c.readBy >= due && c.readBy <= due+limit/8:
		return nil
	}
	c.readBy = due + limit/8
	return c.nc.SetReadDeadline(c.born.Add(c.readBy))
}

// linger bounds the wait for a head after a write has failed.
func (c *conn) linger() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.answered {
		return
	}
	c.lingering = true
	c.readBy = c.clock() + lingerTime
	c.nc.SetReadDeadline(c.born.Add(c.readBy)) // fails only when closed, and then reads fail too
}

func (c *conn) isLingering() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.lingering
}

// Read reads from the socket under the limit of the moment. It is br's source.
func (c *conn) Read(p []byte) (int, error) {
	if c.trying {
		return c.tryRead(p)
	}
	start := c.clock()
	for {
		due, limit := c.due(start)
		if err := c.arm(due, limit); err != nil {
			return 0, err
		}
		n, err := c.rw.Read(p)
		if n > 0 {
			c.got = true
			return n, err
		}
		if err == nil || err == io.EOF || !errors.Is(err, os.ErrDeadlineExceeded) || c.isLingering() {
			return n, err
		}
		if due, limit = c.due(start); due != 0 && c.clock() >= due {
			return 0, c.overdue(limit)
		}
	}
}

// overdue is what is said of a byte that did not come within the limit of the
// moment.
func (c *conn) overdue(limit time.Duration) error {
	name := timeoutFirstByte
	if c.await == nextByte {
		name = timeoutIdle
	}
	return &limitError{name, limit}
}

// write sends p, bounded by the first-byte limit: that long a backend may leave
// its receive buffer full.
func (c *conn) write(p []byte) error {
	if limit := c.t.cfg.FirstByteTimeout; limit > 0 {
		due := c.clock() + limit
		if c.writeBy < due { // else what is set will do, as in arm
			c.writeBy = due + limit/8
			if err := c.nc.SetWriteDeadline(c.born.Add(c.writeBy)); err != nil {
				return err
			}
		}
	}
	_, err := c.rw.Write(p)
	if err != nil && errors.Is(err, os.ErrDeadlineExceeded) {
		return &limitError{timeoutFirstByte, c.t.cfg.FirstByteTimeout}
	}
	return err
}
