package wire

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/vega-proxy/vega-proxy/internal/poll"
)

// place is where in the body's framing the next byte belongs.
type place uint8

const (
	atEnd     place = iota
	atData          // of which left bytes remain, or all up to the close
	atDataEnd       // the CRLF after a chunk
	atSize          // a chunk's size line
	atTrailer       // what follows the last chunk
)

// body is one exchange on a connection: the answer, and the reading of its body.
// When the body has ended it lets go of the connection, which may serve another
// exchange by then.
type body struct {
	resp   Response
	ctx    context.Context
	stop   func() bool // of ctx's hold on the connection; false when it has let go
	c      *conn
	sender *sender // nil if the whole request went out in the first write
	keep   bool    // both sides and the framing allow another request
	watch  poll.Watch

	chunked, toClose bool
	at               place
	left             uint64
	err              error // what Read returns from now on
}

// Read gives what is there, from several chunks if they have come, and waits
// only while it has nothing.
func (b *body) Read(p []byte) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	if len(p) == 0 {
		return 0, nil
	}
	n, err := b.read(p)
	if n > 0 {
		b.c.await = nextByte
	}
	if err != nil {
		b.end(err)
		err = b.err
	}
	return n, err
}

// Ready tells that Read has something to return, be it the end, without the
// network: what is at hand can go out together.
func (b *body) Ready() bool {
	for b.err == nil && (b.at != atData || b.c.br.Buffered() == 0) {
		moved, err := b.advance()
		switch {
		case err != nil:
			b.end(err)
		case b.at == atEnd:
			return true // the end is Read's to tell
		case !moved:
			return false
		}
	}
	return true
}

// Wait returns once Read will not block: a byte, the end or an error is there.
func (b *body) Wait() error {
	for !b.Ready() {
		if err := b.c.fill(); err != nil {
			b.end(b.cut(err))
		}
	}
	if b.err == io.EOF {
		return nil
	}
	return b.err
}

func (b *body) read(p []byte) (n int, err error) {
	br := b.c.br
	for {
		switch b.at {
		case atEnd:
			return n, io.EOF
		case atData:
			if n == len(p) || n > 0 && br.Buffered() == 0 {
				return n, nil
			}
			part := p[n:]
			if !b.toClose {
				part = part[:min(uint64(len(part)), b.left)]
			}
			m, err := br.Read(part)
			n += m
			if err != nil {
				return n, b.cut(err)
			}
			if b.toClose {
				return n, nil
			}
			if b.left -= uint64(m); b.left == 0 {
				b.at = atEnd
				if b.chunked {
					b.at = atDataEnd
				}
			}
		default:
			moved, err := b.advance()
			switch {
			case err != nil:
				return n, err
			case moved:
			case n > 0:
				return n, nil
			default:
				if err := b.c.fill(); err != nil {
					return 0, b.cut(err)
				}
			}
		}
	}
}

// cut is what the connection's end means in the middle of a body.
func (b *body) cut(err error) error {
	if err == io.EOF && !b.toClose {
		return io.ErrUnexpectedEOF
	}
	return err
}

// advance goes over what stands between chunks, as far as it is buffered, and
// tells whether that was anything. It never blocks. What has to fit into the
// buffer to be understood is bounded by it.
func (b *body) advance() (moved bool, err error) {
	if b.at == atData || b.at == atEnd {
		return false, nil
	}
	br := b.c.br
	buf := b.c.buffered()
	switch b.at {
	case atDataEnd:
		if len(buf) < 2 {
			return false, nil
		}
		if string(buf[:2]) != "\r\n" {
			return false, malformed("a chunk is longer than its size")
		}
		br.Discard(2)
		b.at = atSize
	case atSize:
		end := bytes.IndexByte(buf, '\n')
		if end < 0 {
			if len(buf) == br.Size() {
				return false, malformed("endless size line of a chunk")
			}
			return false, nil
		}
		if b.left, err = chunkSize(buf[:end]); err != nil {
			return false, err
		}
		br.Discard(end + 1)
		b.at = atData
		if b.left == 0 {
			b.at = atTrailer
		}
	case atTrailer:
		return b.readTrailer(buf)
	}
	return true, nil
}

// chunkSize parses a size line without its LF. Extensions are dropped, as no
// recipient is bound to know them.
func chunkSize(line []byte) (uint64, error) {
	digits, ok := bytes.CutSuffix(line, []byte{'\r'})
	if !ok || bytes.IndexByte(digits, '\r') >= 0 {
		return 0, malformed("size line of a chunk without CRLF")
	}
	digits, _, _ = bytes.Cut(bytes.TrimRight(digits, " \t"), []byte{';'})
	if len(digits) == 0 || len(digits) > 16 {
		return 0, malformed(fmt.Sprintf("chunk size %.40q", digits))
	}
	var n uint64
	for _, d := range digits {
		switch {
		case d >= '0' && d <= '9':
			d -= '0'
		case d|0x20 >= 'a' && d|0x20 <= 'f':
			d = d | 0x20 - 'a' + 10
		default:
			return 0, malformed(fmt.Sprintf("chunk size %.40q", digits))
		}
		n = n<<4 | uint64(d)
	}
	return n, nil
}

func (b *body) readTrailer(buf []byte) (moved bool, err error) {
	var s section
	end, err := s.end(buf)
	switch {
	case err != nil:
		return false, err
	case end == 0 && len(buf) == b.c.br.Size():
		return false, malformed("endless trailers")
	case end == 0:
		return false, nil
	case end > 2:
		fields, err := b.c.fields.ReadMIMEHeader()
		if err != nil {
			return false, fmt.Errorf("malformed trailers: %w", err)
		}
		if b.resp.Trailer == nil {
			b.resp.Trailer = http.Header{}
		}
		for name, values := range fields {
			if !notSent[name] {
				b.resp.Trailer[name] = values
			}
		}
	default:
		b.c.br.Discard(2)
	}
	b.at = atEnd
	return true, nil
}

// Close gives the body up. A connection whose last bytes are at hand is kept,
// else it is closed, so that the backend stops.
func (b *body) Close() error {
	if b.err != nil {
		return nil
	}
	if !b.chunked && !b.toClose && b.left <= uint64(b.c.br.Buffered()) {
		b.c.br.Discard(int(b.left))
		b.end(io.EOF)
	} else {
		b.c.close()
		b.release(0)
	}
	b.err = errBodyClosed
	return nil
}

// end is called once: with io.EOF after a clean end, else with what went wrong.
func (b *body) end(err error) {
	if err != io.EOF {
		b.err = b.fail(Body, err)
		return
	}
	b.err = io.EOF
	c := b.c
	if b.release(sendGrace) && b.keep && !c.oversized && !c.spent() && c.br.Buffered() == 0 {
		c.t.pool.put(c)
		return
	}
	c.close()
}

// release ends what else holds the connection, and tells whether it is still fit
// for another request.
func (b *body) release(grace time.Duration) bool {
	b.unwatch()
	sent := b.sender == nil || b.sender.settle(grace)
	return b.stop() && sent
}

// fail closes the connection and says what happened in phase.
func (b *body) fail(phase Phase, err error) *Error {
	c := b.c
	c.close()
	b.release(0)
	e := &Error{Backend: c.t.host, Phase: phase, Sent: true, Reused: c.served > 1, Err: err}
	if b.ctx.Err() != nil {
		e.Err = context.Cause(b.ctx)
		return e
	}
	ours := false // the request's source failed, not the connection
	if b.sender != nil {
		if sendErr := b.sender.err(); sendErr != nil {
			_, ours = errors.AsType[*sourceError](sendErr)
			if ours || phase == Head || !peerClosed(sendErr) {
				e.Phase, e.Err = Send, sendErr
			}
		}
	}
	if limit, ok := errors.AsType[*limitError](e.Err); ok {
		e.Timeout = limit.limit
		return e
	}
	if ours || !peerClosed(e.Err) {
		return e
	}
	if !c.got {
		e.Err = fmt.Errorf("%w (%w)", errNoAnswer, e.Err)
		if e.Reused {
			e.Sent = false
			e.stale = b.sender == nil || b.sender.r.Stream == nil
		}
	} else {
		e.Err = fmt.Errorf("%w (%w)", errCut, e.Err)
	}
	return e
}
