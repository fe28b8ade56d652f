package stream

import (
	"errors"
	"fmt"
	"io"
	"time"
)

// Source is the body of an upstream's answer.
type Source interface {
	// Read returns what is there, without waiting for more than one byte.
	io.Reader
	// Wait blocks until Read will not, so that no buffer is held meanwhile.
	Wait() error
	// Ready tells that Read has something, be it the end, without the network.
	Ready() bool
}

// Awaiter is a Source that can be read in turns, by a goroutine that serves many.
type Awaiter interface {
	// Await is Wait, and may have turn called meanwhile, in another goroutine, each
	// time Read will not block, for as long as turn returns true. A turn must not
	// block, nor panic. If any was called, turned is true, and what Read does now is
	// open.
	Await(turn func() bool) (turned bool, err error)
}

// Sink is the client's side. Write may keep bytes back until FlushError.
type Sink interface {
	io.Writer
	FlushError() error
}

// Relay passes one answer on. The zero value of each field means: off.
type Relay struct {
	Framing Framing
	// Length is the body's length in bytes where it is known, else -1. It only
	// saves a flush before the last byte.
	Length int64
	// MaxEvent is the longest event in bytes that is held until its end.
	MaxEvent int
	// Event is shown each whole event before it is written, with the time at
	// which its last byte was read. It must not keep the bytes. None of these
	// funcs may block, but for those that say so: they may be called by a
	// goroutine that serves many.
	Event func(event []byte, at time.Time)
	// Piece is shown all other bytes before they are written: those of a body
	// without events, and the parts of an event longer than MaxEvent.
	Piece func(piece []byte, at time.Time)
	// Settle is called, where Event has set Unsettled, before what it was shown
	// goes out. It may block.
	Settle func()
	// Pass is shown all bytes in order before they go to the client. If it returns
	// false, Room is called before the next read, and may block. Both may be nil.
	Pass func(p []byte) bool
	Room func()
	// Gone is told, once, that the client gets nothing more. May be nil.
	Gone func()
	// Last is told that the body has ended well, when Pass was shown all of it and
	// before its last bytes go out; if the end was not known then, before the end
	// does. It may block. If that takes too long goOn, called from any goroutine before
	// Last returns, lets the bytes go out meanwhile.
	Last func(goOn func())
	// Finish goes on reading, and showing, after the client has gone.
	Finish bool
	// Buffer, if there is one, takes what goes to the client, in place of the
	// sink that it stands before.
	Buffer *Buffer
	// Keep is set by Event if the event must not be dropped.
	Keep bool
	// Unsettled is set by Event if Settle is to be called.
	Unsettled bool

	// What has passed, for whoever asks after Copy returned.
	BytesIn, BytesOut int64
	Events            int64
	// Ended tells that the body came to a clean end.
	Ended bool
	// Oversize tells that an event was longer than MaxEvent and so never shown.
	Oversize bool
	// Broken tells that the client has the first part of an event whose end
	// never came: nothing can be added to the stream any more.
	Broken bool

	copying copying
}

// ReadError is the upstream's failure to deliver the body.
type ReadError struct{ Err error }

func (e *ReadError) Error() string { return fmt.Sprintf("read the upstream's answer: %v", e.Err) }
func (e *ReadError) Unwrap() error { return e.Err }

// WriteError is the client's failure to take it.
type WriteError struct{ Err error }

func (e *WriteError) Error() string { return fmt.Sprintf("write to the client: %v", e.Err) }
func (e *WriteError) Unwrap() error { return e.Err }

// Copy moves src to dst until the body ends or one side fails. The error is a
// *ReadError, a *WriteError, or nil after a clean end. With Finish and both
// sides failed it is the *ReadError.
//
// Events that are ready together go out in one write, and are flushed before
// Copy waits for more. The calling goroutine does it all, but for what an
// Awaiter's does while this one sleeps.
func (r *Relay) Copy(dst Sink, src Source) error {
	// The client's side may still hold back the head.
	c := &r.copying
	*c = copying{Relay: r, dst: dst, src: src, splitter: NewSplitter(r.Framing), size: smallBuffer, unflushed: true}
	c.awaiter, _ = src.(Awaiter)
	defer c.release()
	for {
		err := c.step()
		switch {
		case err == nil:
		case errors.Is(err, io.EOF):
			if c.gone != nil {
				return c.gone
			}
			return nil
		default:
			return err
		}
	}
}

// copying is the state of one Copy, owned by its goroutine.
type copying struct {
	*Relay
	dst      Sink
	src      Source
	awaiter  Awaiter // src, if it is one
	splitter Splitter
	size     int    // of the next buffer
	buf      []byte // borrowed; nil while nothing is held
	held     int    // bytes in buf that wait for their event's end
	gone     error  // why the client no longer gets anything
	crowded  bool   // Room is to be called
	thrown   *Thrown

	// What was read, between take and give.
	taken   bool
	data    []byte // with what was held before
	whole   int    // bytes of it that are to go out
	readErr error

	ended     bool // Last was told
	unflushed bool // the client's side may hold back bytes

	ends []int // of the events in what is to be passed; only for a Buffer
}

// step waits for bytes, makes one read, and passes on what it completed. It
// returns io.EOF after a clean end.
func (c *copying) step() error {
	if c.crowded {
		c.crowded = false
		c.Relay.Room()
	}
	if c.held == 0 {
		c.release()
	}
	switch turned, err := c.wait(); {
	case err != nil && !errors.Is(err, io.EOF):
		return &ReadError{err}
	case c.taken: // in a turn, which left the rest to us
	case turned && c.gone != nil && !c.Finish:
		return c.gone
	case turned:
		return nil
	default:
		c.take()
	}
	return c.give()
}

// wait returns when there is something to take, or when turns were taken.
func (c *copying) wait() (turned bool, err error) {
	switch {
	case c.easy():
		turned, err = c.awaiter.Await(c.turn)
		if c.thrown != nil {
			panic(c.thrown)
		}
		return turned, err
	case c.held == 0:
		return false, c.src.Wait()
	}
	return false, nil // Read waits
}

// easy tells that the next step blocks nowhere, as far as can be seen: the client
// takes what comes, and nobody else is waited for.
func (c *copying) easy() bool {
	return c.awaiter != nil && c.gone == nil && !c.crowded && c.size == smallBuffer && c.Buffer != nil && c.Buffer.Direct()
}

// turn is a step without waiting, and tells whether the next one is such a step
// too. If this one is not, it stops before what may block.
func (c *copying) turn() (more bool) {
	defer c.catch(&more)
	c.take()
	if c.readErr != nil || c.Unsettled || c.BytesIn == c.Length {
		return false
	}
	if c.give() != nil { // c.gone
		return false
	}
	if c.held == 0 {
		c.release()
	}
	return c.easy()
}

// take makes one read and shows what it completed.
func (c *copying) take() {
	c.room()
	n, err := c.src.Read(c.buf[c.held:])
	at := time.Now()
	c.BytesIn += int64(n)
	if c.Framing == Bytes && n == len(c.buf) {
		c.size = largeBuffer
	}
	c.data = c.buf[:c.held+n]
	c.whole = c.pass(c.data, at)
	c.Ended = err != nil && errors.Is(err, io.EOF)
	if c.Ended && c.whole < len(c.data) {
		c.last(c.data, c.whole, at)
		c.whole = len(c.data)
	}
	c.taken, c.readErr = true, err
}

// give passes on what take has found whole. It returns io.EOF after a clean end.
func (c *copying) give() error {
	c.taken = false
	if c.Unsettled {
		c.Settle()
		c.Unsettled = false
	}
	out := c.data[:c.whole]
	if c.Pass != nil && len(out) > 0 {
		c.crowded = !c.Pass(out)
	}
	if err := c.send(out); err != nil {
		return err
	}
	c.held = copy(c.buf, c.data[c.whole:])
	switch {
	case c.Ended:
		return io.EOF
	case c.readErr != nil:
		return &ReadError{c.readErr}
	}
	return nil
}

// send writes to the client, after Last if these are the last bytes.
func (c *copying) send(out []byte) error {
	if (c.Ended || c.BytesIn == c.Length) && !c.ended && c.Last != nil {
		c.ended = true
		return c.sendLast(out)
	}
	return c.write(out, c.Ended)
}

// sendLast has Last come first, which may let the bytes go out before it returns.
func (c *copying) sendLast(out []byte) (err error) {
	gone := false
	c.Last(func() { gone, err = true, c.write(out, true) })
	if !gone {
		err = c.write(out, c.Ended)
	}
	return err
}

// pass shows what is whole in data and returns how much of it may go out.
func (c *copying) pass(data []byte, at time.Time) (passed int) {
	c.ends = c.ends[:0]
	for passed < len(data) {
		n, event := c.splitter.Next(data[passed:])
		if n == 0 {
			break
		}
		unit := data[passed : passed+n]
		passed += n
		switch {
		case c.Framing == Bytes:
			c.piece(unit, at)
		case event && c.Broken: // its beginning has passed already
			c.Broken = false
			c.piece(unit, at)
			c.mark(passed)
		case event:
			c.show(unit, at)
			c.mark(passed)
		}
	}
	rest := data[passed:]
	if c.Framing != Bytes && len(rest) > 0 && (c.Broken || len(rest) >= c.MaxEvent) {
		c.splitter.Skip(rest)
		c.Oversize, c.Broken = true, true
		c.piece(rest, at)
		passed = len(data)
	}
	return passed
}

// last passes what is held at a clean end: a last event that lacks its end, as
// the last line of NDJSON may.
func (c *copying) last(data []byte, passed int, at time.Time) {
	rest := data[passed:]
	if c.Broken {
		c.piece(rest, at)
		return
	}
	c.show(rest, at)
	c.mark(len(data))
}

// mark notes for the buffer that an event ends there in what is to be passed.
func (c *copying) mark(end int) {
	if c.Buffer != nil {
		c.ends = append(c.ends, end)
	}
}

func (c *copying) show(event []byte, at time.Time) {
	c.Events++
	if c.Event != nil {
		c.Event(event, at)
	}
}

func (c *copying) piece(piece []byte, at time.Time) {
	if c.Piece != nil {
		c.Piece(piece, at)
	}
}

// write hands bytes to the client and flushes them, unless more is at hand that
// can go out with them. The server flushes the last bytes of a body itself.
func (c *copying) write(p []byte, end bool) error {
	if c.gone != nil {
		return nil
	}
	if c.Buffer != nil {
		return c.put(p, end)
	}
	var err error
	if len(p) > 0 {
		_, err = c.dst.Write(p)
		c.unflushed = true
	}
	if err == nil {
		c.BytesOut += int64(len(p))
		if c.unflushed && !end && c.BytesIn != c.Length && !c.src.Ready() {
			c.unflushed = false
			err = c.dst.FlushError()
		}
	}
	return c.lost(err)
}

// put hands bytes to the buffer, which flushes by itself. A head that came with
// the beginning of an event does not wait for the event's end.
func (c *copying) put(p []byte, end bool) error {
	if len(p) == 0 {
		if !c.unflushed || end || c.src.Ready() {
			return nil
		}
		c.unflushed = false
		return c.lost(c.Buffer.Flush())
	}
	c.unflushed = false
	// An event that passes in pieces must lose none of them.
	err := c.Buffer.Put(p, c.ends, c.Keep || c.Oversize, !end)
	c.Keep = false
	if err == nil {
		c.BytesOut += int64(len(p))
	}
	return c.lost(err)
}

// lost decides what the client's failure means for the copying.
func (c *copying) lost(err error) error {
	if err == nil {
		return nil
	}
	c.gone = &WriteError{err}
	if c.Gone != nil {
		c.Gone()
	}
	if c.Finish {
		return nil
	}
	return c.gone
}

// room makes sure that there is a buffer with space left.
func (c *copying) room() {
	switch {
	case c.buf == nil:
		c.buf = borrow(c.size)
	case c.held == len(c.buf):
		grown := borrow(2 * len(c.buf))
		copy(grown, c.buf[:c.held])
		giveBack(c.buf)
		c.buf = grown
	}
}

func (c *copying) release() {
	if c.buf != nil {
		giveBack(c.buf)
		c.buf = nil
	}
}
