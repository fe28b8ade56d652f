package wire

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
)

// section finds the end of a head, or of a trailer section: the empty line. It
// keeps its place between calls, so that a head that comes byte by byte is
// looked at once.
type section struct {
	line, seen int // where the current line begins; how far it was searched
}

// end returns the length of the section at buf's beginning, 0 if it is not
// complete. Lines that end in a bare LF are refused: recipients disagree about
// them, and that is how one answer is made to look like two.
func (s *section) end(buf []byte) (int, error) {
	for {
		i := bytes.IndexByte(buf[s.seen:], '\n')
		if i < 0 {
			s.seen = len(buf)
			return 0, nil
		}
		i += s.seen
		if i == s.line || buf[i-1] != '\r' {
			return 0, malformed("a line of its head ends without CR")
		}
		empty := i-1 == s.line
		s.line, s.seen = i+1, i+1
		if empty {
			return i + 1, nil
		}
	}
}

// fill waits for at least one byte more than is buffered.
func (c *conn) fill() error {
	_, err := c.br.Peek(c.br.Buffered() + 1)
	return err
}

func (c *conn) buffered() []byte {
	buf, _ := c.br.Peek(c.br.Buffered()) // what is there can be peeked
	return buf
}

// awaitHead returns the length of the next head once all of it is buffered.
func (c *conn) awaitHead(limit int64) (int, error) {
	var s section
	for {
		buf := c.buffered()
		n, err := s.end(buf)
		if err != nil {
			return 0, err
		}
		atLeast := n
		if n == 0 {
			atLeast = len(buf) + 1
		}
		if int64(atLeast) > limit {
			return 0, fmt.Errorf("the answer's head is over %d bytes", c.t.cfg.MaxHeaderBytes)
		}
		if n > 0 {
			return n, nil
		}
		if len(buf) == c.br.Size() {
			c.grow()
		}
		if err := c.fill(); err != nil {
			return 0, err
		}
	}
}

// grow doubles the buffer for a head that does not fit. The connection is not
// kept afterwards, so that large buffers do not pile up in the pool.
func (c *conn) grow() {
	had := bytes.NewReader(bytes.Clone(c.buffered()))
	c.br = bufio.NewReaderSize(io.MultiReader(had, c), 2*c.br.Size())
	c.br.Peek(had.Len()) // moves it over; it cannot fail
	c.fields.R = c.br
	c.oversized = true
}

// statusLine is an answer's first line, without its reason.
type statusLine struct {
	minor  int
	status int
}

// parseStatusLine reads "HTTP/1.x NNN reason". The space before an empty reason
// may be missing.
func parseStatusLine(line []byte) (statusLine, error) {
	if len(line) < len("HTTP/1.1 200") || string(line[:7]) != "HTTP/1." || line[7] != '0' && line[7] != '1' || line[8] != ' ' {
		return statusLine{}, malformed(fmt.Sprintf("status line %.40q", line))
	}
	status := 0
	for _, d := range line[9:12] {
		if d < '0' || d > '9' {
			status = 0
			break
		}
		status = status*10 + int(d-'0')
	}
	if status < 100 || len(line) > 12 && line[12] != ' ' {
		return statusLine{}, malformed(fmt.Sprintf("status line %.40q", line))
	}
	return statusLine{minor: int(line[7] - '0'), status: status}, nil
}

// readHead reads heads up to the final one and settles how the body is framed.
func (b *body) readHead(r *Request) error {
	c := b.c
	limit := c.t.cfg.MaxHeaderBytes
	for {
		n, err := c.awaitHead(limit)
		if err != nil {
			return err
		}
		limit -= int64(n)
		head := c.buffered()[:n]
		end := bytes.IndexByte(head, '\n') + 1
		line, err := parseStatusLine(head[:end-2])
		if err != nil {
			return err
		}
		c.br.Discard(end)
		fields, err := c.fields.ReadMIMEHeader()
		if err != nil {
			return fmt.Errorf("malformed answer: %w", err)
		}
		h := http.Header(fields)
		switch {
		case line.status == http.StatusSwitchingProtocols:
			if r.Upgrade == "" {
				return malformed("it switches protocols without being asked")
			}
			return b.upgrade(line, h)
		case line.status >= 200:
			return b.start(r.Method, line, h)
		case r.Informational != nil && line.status > http.StatusProcessing:
			r.Informational(line.status, h)
		}
	}
}

// start fills in the answer and finds where its body ends (RFC 9112, section
// 6.3). What is ambiguous there is refused here.
func (b *body) start(method string, line statusLine, h http.Header) error {
	length, err := contentLength(h["Content-Length"])
	if err != nil {
		return err
	}
	chunked := false
	if te, ok := h["Transfer-Encoding"]; ok {
		switch {
		case line.minor == 0 || len(te) != 1 || !strings.EqualFold(te[0], "chunked"):
			return malformed(fmt.Sprintf("transfer encoding %.40q in HTTP/1.%d", te, line.minor))
		case length >= 0:
			return malformed("both Content-Length and Transfer-Encoding")
		}
		if b.resp.Trailer, err = announced(h["Trailer"]); err != nil {
			return err
		}
		chunked = true
		delete(h, "Transfer-Encoding")
	}
	delete(h, "Trailer")

	resp := &b.resp
	resp.Status, resp.ProtoMajor, resp.ProtoMinor = line.status, 1, line.minor
	resp.Header, resp.Length, resp.Body = h, length, b
	b.c.headRead()
	b.c.obeyKeepAlive(h)
	b.keep = line.minor == 1 && !hasToken(h["Connection"], "close")
	switch {
	case method == http.MethodHead:
		b.at = atEnd
	case line.status == http.StatusNoContent || line.status == http.StatusNotModified || length == 0:
		resp.Length = 0
		b.at = atEnd
	case chunked:
		b.at = atSize
		b.chunked = true
	case length > 0:
		b.at = atData
		b.left = uint64(length)
	default:
		b.at = atData
		b.toClose = true
		b.keep = false
	}
	if b.at == atEnd {
		b.end(io.EOF)
	}
	return nil
}

// contentLength is the one value of all Content-Length fields, -1 without any.
func contentLength(values []string) (int64, error) {
	if len(values) == 0 {
		return -1, nil
	}
	for _, v := range values[1:] {
		if v != values[0] {
			return 0, malformed(fmt.Sprintf("lengths %.40q differ", values))
		}
	}
	n, err := strconv.ParseUint(values[0], 10, 63)
	if err != nil || values[0][0] == '+' {
		return 0, malformed(fmt.Sprintf("length %.40q", values[0]))
	}
	return int64(n), nil
}

// announced are the fields a Trailer field names, without values yet. What
// frames a body cannot come behind it (RFC 9110, section 6.5.1).
func announced(lines []string) (http.Header, error) {
	var trailer http.Header
	for _, line := range lines {
		for name := range strings.SplitSeq(line, ",") {
			switch name = http.CanonicalHeaderKey(strings.TrimSpace(name)); name {
			case "":
				continue
			case "Transfer-Encoding", "Trailer", "Content-Length":
				return nil, malformed(fmt.Sprintf("trailer %s", name))
			}
			if trailer == nil {
				trailer = http.Header{}
			}
			trailer[name] = nil
		}
	}
	return trailer, nil
}

// hasToken looks for token in comma-separated lists, without regard to case.
func hasToken(lines []string, token string) bool {
	for _, line := range lines {
		for item := range strings.SplitSeq(line, ",") {
			if strings.EqualFold(strings.TrimSpace(item), token) {
				return true
			}
		}
	}
	return false
}
