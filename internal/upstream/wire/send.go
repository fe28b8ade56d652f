package wire

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// maxPooledHead is the largest buffer that is kept for the next head.
	maxPooledHead = 4 * inlineBody
	// bodyPiece is how much of a large body is handed to the kernel at once;
	// each piece has the whole write limit.
	bodyPiece = 256 << 10
	// streamPiece is how much of a stream travels in one chunk.
	streamPiece = 32 << 10
	// chunkHead is room for streamPiece in hex and CRLF.
	chunkHead = 6
)

var (
	heads  = sync.Pool{New: func() any { return new(bytes.Buffer) }}
	pieces = sync.Pool{New: func() any { return new([chunkHead + streamPiece + 2]byte) }}
)

// writeHead composes the request's head, up to the empty line.
func writeHead(buf *bytes.Buffer, r *Request, host string) {
	buf.WriteString(r.Method)
	buf.WriteByte(' ')
	buf.WriteString(r.Target)
	buf.WriteString(" HTTP/1.1\r\nHost: ")
	buf.WriteString(host)
	buf.WriteString("\r\n")
	r.Header.WriteSubset(buf, notSent) // a bytes.Buffer takes everything
	if r.Upgrade != "" {
		buf.WriteString("Connection: Upgrade\r\nUpgrade: ")
		buf.WriteString(r.Upgrade)
		buf.WriteString("\r\n")
	}
	switch n := r.length(); {
	case n < 0:
		buf.WriteString("Transfer-Encoding: chunked\r\n")
		if names := r.trailerNames(); len(names) > 0 {
			buf.WriteString("Trailer: ")
			buf.WriteString(strings.Join(names, ", "))
			buf.WriteString("\r\n")
		}
	case n > 0 || lengthExpected(r.Method):
		buf.WriteString("Content-Length: ")
		buf.Write(strconv.AppendInt(buf.AvailableBuffer(), n, 10))
		buf.WriteString("\r\n")
	}
	buf.WriteString("\r\n")
}

// send writes the head, with up to inlineBody of a body in memory, in one
// write. A helper sends what is left.
func (b *body) send(r *Request) error {
	buf := heads.Get().(*bytes.Buffer)
	buf.Reset()
	writeHead(buf, r, b.c.t.host)
	n := min(len(r.Body), inlineBody)
	buf.Write(r.Body[:n])
	err := b.c.write(buf.Bytes())
	if buf.Cap() <= maxPooledHead {
		heads.Put(buf)
	}
	if err != nil {
		return err
	}
	if r.length() == int64(n) {
		b.c.sentAt.Store(int64(b.c.clock()))
		return nil
	}
	b.sender = &sender{c: b.c, r: r, rest: r.Body[n:], done: make(chan struct{})}
	go b.sender.run()
	return nil
}

// sender writes what did not fit into the first write, while the answer is
// already waited for. The exchange owns it and ends it with settle.
type sender struct {
	c        *conn
	r        *Request
	rest     []byte
	failed   atomic.Pointer[error]
	stopping atomic.Bool // settle has given up on it
	done     chan struct{}
}

// sourceError is a failure of the body's source, not of the connection.
type sourceError struct{ err error }

func (e *sourceError) Error() string { return "reading the request's body: " + e.err.Error() }
func (e *sourceError) Unwrap() error { return e.err }

func missing(left, length int64) error {
	return fmt.Errorf("%d of %d bytes are missing: %w", left, length, io.ErrUnexpectedEOF)
}

func (s *sender) run() {
	defer close(s.done)
	err := s.writeBody()
	if err == nil {
		s.c.sentAt.Store(int64(s.c.clock()))
		return
	}
	if s.stopping.Load() {
		return // it failed because the exchange has
	}
	s.failed.Store(&err)
	if _, ours := errors.AsType[*sourceError](err); !ours && peerClosed(err) {
		s.c.linger() // there may be an answer that says why
	} else {
		s.c.close() // what the backend has is not to be taken for the whole
	}
}

func (s *sender) writeBody() error {
	for len(s.rest) > 0 {
		n := min(len(s.rest), bodyPiece)
		if err := s.c.write(s.rest[:n]); err != nil {
			return err
		}
		s.rest = s.rest[n:]
	}
	if s.r.Stream == nil {
		return nil
	}
	piece := pieces.Get().(*[chunkHead + streamPiece + 2]byte)
	defer pieces.Put(piece)
	if s.r.Length >= 0 {
		return s.writeSized(piece[:])
	}
	return s.writeChunked(piece[:])
}

func (s *sender) writeSized(piece []byte) error {
	for left := s.r.Length; left > 0; {
		n, err := s.r.Stream.Read(piece[:min(int64(len(piece)), left)])
		if n > 0 {
			if werr := s.c.write(piece[:n]); werr != nil {
				return werr
			}
		}
		left -= int64(n)
		if err == io.EOF && left > 0 {
			return &sourceError{missing(left, s.r.Length)}
		}
		if err != nil && err != io.EOF {
			return &sourceError{err}
		}
	}
	return nil
}

func (s *sender) writeChunked(piece []byte) error {
	for {
		n, err := s.r.Stream.Read(piece[chunkHead : chunkHead+streamPiece])
		if n > 0 {
			var size [chunkHead]byte
			head := append(strconv.AppendInt(size[:0], int64(n), 16), '\r', '\n')
			from := chunkHead - len(head)
			copy(piece[from:], head)
			to := chunkHead + n
			copy(piece[to:], "\r\n")
			if werr := s.c.write(piece[from : to+2]); werr != nil {
				return werr
			}
		}
		switch {
		case err == io.EOF:
			return s.c.write(s.lastChunk())
		case err != nil:
			return &sourceError{err}
		}
	}
}

func (s *sender) lastChunk() []byte {
	var trailer http.Header
	if s.r.Trailer != nil {
		trailer = s.r.Trailer()
	}
	var buf bytes.Buffer
	buf.WriteString("0\r\n")
	trailer.WriteSubset(&buf, notSent)
	buf.WriteString("\r\n")
	return buf.Bytes()
}

// settle ends the sender and tells whether the whole request went out. It waits
// up to grace for that; then it closes the connection and stops the source.
func (s *sender) settle(grace time.Duration) bool {
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case <-s.done:
		return s.failed.Load() == nil
	case <-timer.C:
	}
	s.stopping.Store(true)
	s.c.close()
	switch {
	case s.r.Stream == nil:
		<-s.done // its write fails now
	case s.r.StopStream != nil:
		s.r.StopStream()
		<-s.done
	}
	return false
}

// err is why the request could not be sent as a whole; nil if that was no
// failure of its own, but the exchange's end.
func (s *sender) err() error {
	if p := s.failed.Load(); p != nil && !errors.Is(*p, net.ErrClosed) {
		return *p
	}
	return nil
}
