package front

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"syscall"
	"time"

	"github.com/vega-proxy/vega-proxy/internal/lifetime"
	"github.com/vega-proxy/vega-proxy/internal/poll"
)

// conn is one client's connection while its requests are plain. Unless said
// otherwise its fields are owned by its goroutine.
type conn struct {
	s      *Server
	nc     net.Conn
	raw    syscall.RawConn // nil without a socket
	watch  *poll.Loop      // tells that the client has gone, without reading; nil where there is none
	values context.Context // nil before the first request
	remote string
	header http.Header // of the answers, emptied after each

	watched poll.Watch

	in    *input // what was read and not served; nil while that is nothing
	ahead []byte // the beginning of the next request, while in belongs to this one
	into  []byte // where the next read goes instead of in
	got   int    // what the read brought
	err   error  // or why it did not
	read  func(fd uintptr) bool

	posted bool      // the last request was a POST
	readBy time.Time // the armed read deadline; zero is none

	mu   sync.Mutex        // guards the fields below
	ctx  *lifetime.Context // of the request in progress
	left bool              // the client has gone
}

func newConn(s *Server, nc net.Conn, watch *poll.Loop) *conn {
	c := &conn{s: s, nc: nc, watch: watch}
	if sc, ok := nc.(syscall.Conn); ok {
		c.raw, _ = sc.SyscallConn() // without it, net/http will find out what is wrong
	}
	c.read = c.tryRead
	return c
}

// serve answers until the client goes or asks for what is not plain.
func (c *conn) serve() {
	keep := false
	defer func() {
		if !keep {
			c.close()
		}
	}()
	if keep = c.serveRequests(); keep {
		c.handOver()
	}
}

// serveRequests tells whether the connection is to be handed over.
func (c *conn) serveRequests() bool {
	if c.watch == nil || c.raw == nil {
		return true
	}
	idle := c.s.cfg.ReadHeaderTimeout // a new connection is to speak soon
	for {
		switch c.readHead(idle) {
		case more:
			return false
		case odd:
			return true
		}
		if c.watched.None() && !c.beWatched() {
			return true
		}
		r, x := c.request()
		if r == nil {
			return true
		}
		if !c.answer(r, x) {
			return false
		}
		idle = c.s.cfg.IdleTimeout
	}
}

// beWatched has gone called when the client goes. To read instead could take the
// beginning of the next request.
func (c *conn) beWatched() bool {
	var err error
	c.watched, err = c.watch.Add(c.raw, poll.Hangup, c.gone)
	return err == nil
}

// readHead reads until the head is whole, or odd; it returns more if it never
// will be. Silence before the head's first byte is bounded by idle.
func (c *conn) readHead(idle time.Duration) verdict {
	if c.ahead != nil {
		c.in = borrowInput()
		c.in.n = copy(c.in.data[:], c.ahead)
		c.ahead = nil
	}
	from, limit, begun := time.Now(), idle, false
	for {
		if c.in != nil {
			if v := c.judge(); v != more {
				return v
			}
			if !begun {
				from, limit, begun = time.Now(), c.s.cfg.ReadHeaderTimeout, true
			}
		}
		if !c.fill(from, limit) {
			first := c.values == nil
			if begun && errors.Is(c.err, io.EOF) && (first || c.in.n >= glance) {
				return odd // a head without its end gets an answer
			}
			return more
		}
	}
}

// glance is how much of a head must be there to be judged. Behind an earlier
// request net/http takes less than this, and the end, for the end.
const glance = 4

// judge reads what is there of the head.
func (c *conn) judge() verdict {
	if c.in.n < glance {
		return more
	}
	h := &c.in.head
	v := h.scan(c.in.data[:c.in.n])
	switch limit := c.s.cfg.MaxHead; {
	case v == more && c.in.n >= limit, v == plain && (h.line > limit || h.length > c.s.cfg.MaxBody):
		return odd
	}
	return v
}

// fill makes one read, which may take until limit after from, and tells whether
// it brought something.
func (c *conn) fill(from time.Time, limit time.Duration) bool {
	c.arm(from, limit)
	c.got = 0
	err := c.raw.Read(c.read)
	if err == nil {
		err = c.err
	}
	if err == nil && c.got == 0 {
		err = io.EOF
	}
	c.err = err
	return err == nil
}

// arm sets the read deadline to limit after from, or leaves the one that is set
// if it will do: it may come up to an eighth later. So a request does not move a
// timer.
func (c *conn) arm(from time.Time, limit time.Duration) {
	switch by := from.Add(limit); {
	case limit <= 0:
		if !c.readBy.IsZero() {
			c.readBy = time.Time{}
			c.nc.SetReadDeadline(c.readBy)
		}
	case c.readBy.Before(by) || c.readBy.After(by.Add(limit/8)):
		c.readBy = by.Add(limit / 8)
		c.nc.SetReadDeadline(c.readBy) // fails only on a closed connection, as the read then does
	}
}

// tryRead reads without waiting, and takes a buffer only if that brings
// something. It returns false to be called again once there may be more.
func (c *conn) tryRead(fd uintptr) bool {
	var again bool
	if c.into != nil {
		c.got, again, c.err = poll.Read(fd, c.into)
		return !again
	}
	in := c.in
	if in == nil {
		in = borrowInput()
	}
	c.got, again, c.err = poll.Read(fd, in.data[in.n:])
	in.n += c.got
	switch {
	case in.n > 0:
		c.in = in
	case c.in == nil:
		giveBackInput(in)
	}
	return !again
}

// gone ends the request in progress, and those to come: the client has left. It
// may be called at any time.
func (c *conn) gone() {
	c.mu.Lock()
	c.left = true
	c.mu.Unlock()
	c.endRequest(nil)
}

// endRequest ends the context of the request in progress. Without a cause the
// client has left.
func (c *conn) endRequest(cause error) {
	c.mu.Lock()
	ctx := c.ctx
	c.mu.Unlock()
	if ctx != nil {
		ctx.End(cause)
	}
}

// begin makes ctx the one that ends when something happens, or has happened.
func (c *conn) begin(ctx *lifetime.Context) {
	c.mu.Lock()
	c.ctx = ctx
	left := c.left
	c.mu.Unlock()
	switch {
	case c.s.ended.Load():
		ctx.End(context.Cause(c.s.base))
	case left:
		ctx.End(nil)
	}
}

// finish ends the request's context for good.
func (c *conn) finish() {
	c.mu.Lock()
	ctx := c.ctx
	c.ctx = nil
	c.mu.Unlock()
	ctx.End(nil)
}

// handOver gives the connection to net/http, with what was not served.
func (c *conn) handOver() {
	if !c.watched.None() {
		if err := c.watch.Remove(c.raw, c.watched); err != nil { // closed meanwhile
			c.close()
			return
		}
	}
	h := &handed{Conn: c.nc}
	if c.in != nil {
		ahead := c.in.data[:c.in.n]
		for n := 0; c.posted && n < 4 && len(ahead) > 0 && (ahead[0] == '\r' || ahead[0] == '\n'); n++ {
			ahead = ahead[1:] // as net/http does behind a POST, which it has not seen
		}
		h.ahead = bytes.Clone(ahead)
		giveBackInput(c.in)
		c.in = nil
	}
	c.arm(time.Time{}, 0)
	c.s.untrack(c) // it is no longer ours to close
	c.s.fallback.hand(h)
}

func (c *conn) close() {
	if c.in != nil {
		giveBackInput(c.in)
		c.in = nil
	}
	if !c.watched.None() {
		c.watch.Forget(c.watched)
	}
	c.nc.Close() // all that mattered was read or written before
}
