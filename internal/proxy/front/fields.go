package front

import (
	"net/http"
	"strconv"
	"strings"
)

func appendStatus(to []byte, status int) []byte {
	to = append(to, "HTTP/1.1 "...)
	to = strconv.AppendInt(to, int64(status), 10)
	if text := http.StatusText(status); text != "" {
		to = append(append(to, ' '), text...)
	} else {
		to = strconv.AppendInt(append(to, " status code "...), int64(status), 10)
	}
	return append(to, "\r\n"...)
}

// appendHead writes the head up to what depends on the framing.
func (w *response) appendHead() {
	w.buf = appendStatus(w.buf, w.status)
	asked := hasToken(w.header["Connection"], "close")
	w.closing = w.closing || asked
	w.appendFields(w.closing && !asked)
	if w.closing && !asked {
		w.buf = append(w.buf, "Connection: close\r\n"...)
	}
	if _, ok := w.header["Date"]; !ok {
		w.buf = w.c.s.date.append(w.buf)
	}
}

// endHead writes the framing and the head's end.
func (w *response) endHead() {
	switch {
	case w.framing == counted:
		w.buf = append(w.buf, "Content-Length: "...)
		w.buf = append(strconv.AppendInt(w.buf, w.length, 10), "\r\n"...)
	case w.framing == chunked && !w.isHead:
		w.buf = append(w.buf, "Transfer-Encoding: chunked\r\n"...)
	}
	w.buf = append(w.buf, "\r\n"...)
}

// appendFields writes the handler's fields, less those of the framing, which are
// ours.
func (w *response) appendFields(lessConnection bool) {
	for name, values := range w.header {
		switch name {
		case "Content-Length", "Transfer-Encoding":
			continue
		case "Connection":
			if lessConnection {
				continue
			}
		case "Content-Type":
			if w.status == http.StatusNotModified {
				continue
			}
		}
		if !strings.HasPrefix(name, http.TrailerPrefix) {
			w.appendField(name, values)
		}
	}
}

// appendField leaves out a name that is none, and makes line ends in a value
// into spaces: neither can be told to a handler that has gone on.
func (w *response) appendField(name string, values []string) {
	if name == "" {
		return
	}
	for i := range len(name) {
		if !isToken[name[i]] {
			return
		}
	}
	for _, value := range values {
		w.buf = append(append(w.buf, name...), ": "...)
		start := len(w.buf)
		w.buf = append(w.buf, strings.Trim(value, " \t\r\n")...)
		for i, c := range w.buf[start:] {
			if c == '\r' || c == '\n' {
				w.buf[start+i] = ' '
			}
		}
		w.buf = append(w.buf, "\r\n"...)
	}
}

func (w *response) hasTrailers() bool {
	for name := range w.header {
		if strings.HasPrefix(name, http.TrailerPrefix) {
			return true
		}
	}
	return false
}

func (w *response) appendTrailers() {
	for name, values := range w.header {
		if name, ok := strings.CutPrefix(name, http.TrailerPrefix); ok {
			w.appendField(name, values)
		}
	}
}

// hasToken tells whether a list such as Connection names a token.
func hasToken(lines []string, token string) bool {
	for _, line := range lines {
		for t := range strings.SplitSeq(line, ",") {
			if strings.EqualFold(strings.Trim(t, " \t"), token) {
				return true
			}
		}
	}
	return false
}
