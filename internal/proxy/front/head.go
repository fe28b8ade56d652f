package front

import (
	"bytes"
	"strings"
)

// verdict is what is known of a head so far.
type verdict uint8

const (
	more  verdict = iota // it is not whole, and nothing speaks against it
	plain                // it is whole
	odd                  // it is net/http's
)

// maxFields is how many header fields a plain request may have.
const maxFields = 64

// span is a part of the input, which is never longer than 64 KiB.
type span struct{ from, to uint16 }

func (s span) of(p []byte) []byte { return p[s.from:s.to] }

type field struct{ name, value span }

// head is a request's head as it is read, line by line, each once. It accepts
// what RFC 9112 calls well-formed and no recipient reads in two ways, and of that
// only what needs nothing but the bytes in between: a part of what net/http takes.
type head struct {
	line int // where the line begins that is not whole
	seen int // up to here it has no end

	method, target span
	fields         [maxFields]field
	n              int // of fields
	host           int // the field's index + 1
	length         int64
	sized          bool // there is a Content-Length
	connection     bool
	close          bool // by Connection
}

// scan goes on with buf, which must begin with what it has seen before.
func (h *head) scan(buf []byte) verdict {
	for {
		i := bytes.IndexByte(buf[h.seen:], '\n')
		if i < 0 {
			h.seen = len(buf)
			return more
		}
		start, end := h.line, h.seen+i
		if end == start || buf[end-1] != '\r' {
			return odd
		}
		line := buf[start : end-1]
		h.line, h.seen = end+1, end+1
		ok := false
		switch {
		case h.method.to == 0:
			ok = h.requestLine(line)
		case len(line) > 0:
			ok = h.field(line, start)
		case h.host > 0:
			return plain
		}
		if !ok {
			return odd
		}
	}
}

// requestLine reads the first line, which begins at 0.
func (h *head) requestLine(line []byte) bool {
	method, rest, _ := bytes.Cut(line, []byte{' '})
	target, version, _ := bytes.Cut(rest, []byte{' '})
	if string(version) != "HTTP/1.1" || !isOriginForm(target) {
		return false
	}
	switch string(method) {
	case "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS":
	default:
		return false
	}
	h.method = span{0, uint16(len(method))}
	h.target = span{h.method.to + 1, uint16(len(method) + 1 + len(target))}
	return true
}

// isOriginForm tells whether a target is a path with a query perhaps, of
// visible characters, with sound escapes: url.ParseRequestURI then takes it.
func isOriginForm(target []byte) bool {
	if len(target) == 0 || target[0] != '/' {
		return false
	}
	for i, c := range target {
		switch {
		case c <= ' ' || c >= 0x7f:
			return false
		case c == '%' && (len(target) < i+3 || !isHex(target[i+1]) || !isHex(target[i+2])):
			return false
		}
	}
	return true
}

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c|0x20 && c|0x20 <= 'f'
}

// field reads the line that begins at start.
func (h *head) field(line []byte, start int) bool {
	colon := bytes.IndexByte(line, ':')
	if colon <= 0 || h.n == maxFields {
		return false
	}
	name := line[:colon]
	for _, c := range name {
		if !isToken[c] {
			return false
		}
	}
	from, to := colon+1, len(line)
	for from < to && isBlank(line[from]) {
		from++
	}
	for from < to && isBlank(line[to-1]) {
		to--
	}
	value := line[from:to]
	for _, c := range value {
		if c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	h.fields[h.n] = field{
		name:  span{uint16(start), uint16(start + colon)},
		value: span{uint16(start + from), uint16(start + to)},
	}
	h.n++
	return h.meaning(name, value)
}

// meaning reads the fields that say something about the message itself.
func (h *head) meaning(name, value []byte) bool {
	switch len(name) {
	case len("Host"):
		if is(name, "host") {
			ok := h.host == 0 && isHost(value)
			h.host = h.n
			return ok
		}
	case len("Expect"): // also Pragma, of which net/http makes a Cache-Control
		return !is(name, "expect") && !is(name, "pragma")
	case len("Upgrade"): // also Trailer
		return !is(name, "upgrade") && !is(name, "trailer")
	case len("Connection"):
		if is(name, "connection") {
			ok := !h.connection
			h.connection, h.close = true, is(value, "close")
			return ok && (h.close || is(value, "keep-alive"))
		}
	case len("Content-Length"):
		if is(name, "content-length") {
			ok := !h.sized
			h.sized = true
			h.length, ok = number(value, ok)
			return ok
		}
	case len("Transfer-Encoding"):
		return !is(name, "transfer-encoding")
	}
	return true
}

// is compares without regard to case; lower is in lower case.
func is(p []byte, lower string) bool {
	return len(p) == len(lower) && strings.EqualFold(string(p), lower)
}

// number reads digits, of which more than ten are not plain.
func number(p []byte, ok bool) (n int64, _ bool) {
	if len(p) == 0 || len(p) > 10 {
		return 0, false
	}
	for _, c := range p {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = 10*n + int64(c-'0')
	}
	return n, ok
}

func isBlank(c byte) bool { return c == ' ' || c == '\t' }

// isHost tells whether a Host is a name or an address, with a port perhaps.
func isHost(p []byte) bool {
	for _, c := range p {
		switch {
		case 'a' <= c|0x20 && c|0x20 <= 'z', '0' <= c && c <= '9':
		case c == '.', c == '-', c == '_', c == ':', c == '[', c == ']':
		default:
			return false
		}
	}
	return len(p) > 0
}

// isToken has the characters of names (RFC 9110, section 5.6.2).
var isToken = func() (t [256]bool) {
	for _, c := range "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ" {
		t[c] = true
	}
	return t
}()

// canonical writes a name as http.CanonicalHeaderKey would.
func canonical(name []byte) {
	upper := true
	for i, c := range name {
		if upper && 'a' <= c && c <= 'z' || !upper && 'A' <= c && c <= 'Z' {
			name[i] = c ^ 0x20
		}
		upper = c == '-'
	}
}
