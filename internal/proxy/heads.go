package proxy

import (
	"bytes"
	"crypto/tls"
	"net"
	"strconv"
	"strings"
	"sync/atomic"
)

// strictConn looks at the raw heads of the requests on a connection, since
// net/http forgives what RFC 9112 calls ambiguous before a handler can see it:
// a Content-Length beside a Transfer-Encoding, and a Transfer-Encoding in
// HTTP/1.0. Such a connection is marked, and the handler refuses. And it answers in
// the proxy's way where net/http refuses by itself.
type strictConn struct {
	net.Conn
	refuse    func(unread) []byte
	serving   atomic.Bool // a handler is answering: what is written is not net/http's own
	heads     headScanner // owned by whoever reads
	ambiguous atomic.Bool
	off       atomic.Bool // the connection speaks another protocol now
}

func (c *strictConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if n > 0 && !c.off.Load() && c.heads.scan(p[:n]) {
		c.ambiguous.Store(true)
		c.off.Store(true)
	}
	return n, err
}

func (c *strictConn) Write(p []byte) (int, error) {
	if !c.serving.Load() {
		if u, ok := unreadOf(p); ok {
			if _, err := c.Conn.Write(c.refuse(u)); err != nil {
				return 0, err
			}
			return len(p), nil
		}
	}
	return c.Conn.Write(p)
}

// CloseWrite lets net/http say goodbye before it closes.
func (c *strictConn) CloseWrite() error {
	if cw, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return cw.CloseWrite()
	}
	return nil
}

// NetConn returns what lies below.
func (c *strictConn) NetConn() net.Conn { return c.Conn }

// strictTLSConn is a strictConn over TLS: net/http asks it for Request.TLS.
type strictTLSConn struct {
	strictConn
	tls *tls.Conn
}

func (c *strictTLSConn) ConnectionState() tls.ConnectionState { return c.tls.ConnectionState() }

// headScanner follows the framing of the requests on one connection, in
// whatever pieces the bytes come. It need not be exact where net/http refuses
// the request anyway.
type headScanner struct {
	state scanState
	line  [64]byte // the beginning of the current line
	tail  [9]byte  // and its end: a version and a CR
	n     int      // bytes of the line seen so far, those beyond its buffer too
	first bool     // a request line has been seen
	http0 bool     // the request is HTTP/1.0 or older
	skip  int64    // bytes of body, or chunk, still to come
	size  int64    // Content-Length, or one of the values below
	coded bool     // there is a Transfer-Encoding
}

const (
	noSize  = -1
	oddSize = -2 // one that is no plain number: folded, far too long, or wrong
)

type scanState uint8

const (
	inHead scanState = iota
	inBody
	inChunkSize
	inChunk
	inTrailer
	lost // net/http will refuse what comes
)

// scan follows p and tells whether a head in it is ambiguous.
func (s *headScanner) scan(p []byte) (ambiguous bool) {
	for len(p) > 0 {
		switch s.state {
		case lost:
			return false
		case inBody, inChunk:
			n := min(int64(len(p)), s.skip)
			p, s.skip = p[n:], s.skip-n
			if s.skip == 0 {
				if s.state == inBody {
					s.state = inHead
				} else {
					s.state = inChunkSize
				}
			}
		default:
			i := bytes.IndexByte(p, '\n')
			whole := i >= 0
			part := p
			if whole {
				part = p[:i]
			}
			s.keep(part)
			if !whole {
				return false
			}
			p = p[i+1:]
			if s.endLine(bytes.TrimSuffix(s.line[:min(s.n, len(s.line))], []byte{'\r'})) {
				return true
			}
			s.n = 0
		}
	}
	return false
}

// keep remembers the beginning and the end of the line that part belongs to.
func (s *headScanner) keep(part []byte) {
	if s.n < len(s.line) {
		copy(s.line[s.n:], part)
	}
	s.n += len(part)
	n := min(len(part), len(s.tail))
	copy(s.tail[:], s.tail[n:])
	copy(s.tail[len(s.tail)-n:], part[len(part)-n:])
}

// endLine handles a line, of which it gets the beginning.
func (s *headScanner) endLine(line []byte) (ambiguous bool) {
	blank := len(line) == 0
	switch s.state {
	case inTrailer:
		if blank {
			s.state = inHead
		}
	case inChunkSize:
		if blank { // the line end after a chunk
			return false
		}
		digits, _, _ := strings.Cut(string(line), ";")
		size, err := strconv.ParseUint(strings.TrimSpace(digits), 16, 63)
		switch {
		case err != nil:
			s.state = lost
		case size == 0:
			s.state = inTrailer
		default:
			s.state, s.skip = inChunk, int64(size)
		}
	case inHead:
		switch {
		case blank && !s.first: // a stray line end between requests
		case blank:
			ambiguous = s.size == oddSize || s.coded && (s.size != noSize || s.http0)
			s.endHead()
		case !s.first:
			s.first, s.coded, s.size = true, false, noSize
			s.http0 = bytes.HasSuffix(bytes.TrimSuffix(s.tail[:], []byte{'\r'}), []byte("HTTP/1.0"))
		default:
			s.field(line)
		}
	}
	return ambiguous
}

func (s *headScanner) endHead() {
	s.first = false
	switch {
	case s.coded:
		s.state = inChunkSize
	case s.size > 0:
		s.state, s.skip = inBody, s.size
	}
}

func (s *headScanner) field(line []byte) {
	switch line[0] {
	case 'c', 'C', 't', 'T':
	default:
		return
	}
	name, value, ok := bytes.Cut(line, []byte{':'})
	switch {
	case !ok:
	case strings.EqualFold(string(name), "content-length"):
		size, err := strconv.ParseUint(string(bytes.TrimSpace(value)), 10, 63)
		s.size = int64(size)
		if err != nil || s.n > len(s.line) {
			s.size = oddSize
		}
	case strings.EqualFold(string(name), "transfer-encoding"):
		s.coded = true
	}
}
