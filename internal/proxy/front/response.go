package front

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"
)

// framing is how the client learns where a body ends.
type framing uint8

const (
	undecided framing = iota // the length is told if the handler returns soon
	counted                  // by a Content-Length
	chunked
	bodiless // the status has no body
)

// response is the handler's side of an answer, with net/http's semantics but for
// these: a Content-Type is never guessed, trailers are those under
// [http.TrailerPrefix], and there is no Hijack. After the handler has returned, or
// has called Complete, it only fails.
type response struct {
	c       *conn
	x       *exchange
	header  http.Header
	isHead  bool
	closing bool // the connection ends with this answer
	over    bool // so does the handler
	timed   bool // the handler has set a write deadline

	status  int // 0 until the head is said
	framing framing
	length  int64 // when counted
	written int64

	buf  []byte // lent; nil while nothing waits to be written
	body int    // where in buf the body begins, while undecided
	err  error  // of a write; it is final

	vector [3][]byte // for large writes
}

var errOver = errors.New("the handler has returned")

// Header implements http.ResponseWriter.
func (w *response) Header() http.Header { return w.header }

// WriteHeader implements http.ResponseWriter. An interim answer goes out at once.
func (w *response) WriteHeader(status int) {
	switch {
	case w.over:
		return
	case w.status != 0:
		w.c.s.cfg.Log.Warn("superfluous WriteHeader", "status", status, "said_before", w.status)
		return
	case status < 100 || status > 999:
		panic(fmt.Sprintf("invalid status %d: it must have three digits", status))
	case status < 200 && status != http.StatusSwitchingProtocols:
		w.borrow()
		w.buf = appendStatus(w.buf, status)
		w.appendFields(false)
		w.buf = append(w.buf, "\r\n"...)
		w.send()
		return
	}
	w.status = status
	w.frame()
	w.borrow()
	w.appendHead()
	if w.framing != undecided {
		w.endHead()
	}
	w.body = len(w.buf)
}

// frame decides, as far as it can be known, how the body's end is told.
func (w *response) frame() {
	switch {
	case !hasBody(w.status):
		w.framing = bodiless
		w.closing = w.closing || w.status == http.StatusSwitchingProtocols // upgrades are not for us
	case len(w.header["Transfer-Encoding"]) > 0:
		w.framing = chunked
	default:
		given := w.header["Content-Length"]
		if len(given) == 0 || given[0] == "" {
			return
		}
		n, err := strconv.ParseInt(given[0], 10, 64)
		if err != nil || n < 0 {
			w.c.s.cfg.Log.Warn("the handler's Content-Length is no length", "value", given[0])
			return
		}
		w.framing, w.length = counted, n
	}
}

func hasBody(status int) bool {
	return status >= 200 && status != http.StatusNoContent && status != http.StatusNotModified
}

// Write implements http.ResponseWriter. The error of a failed write is final.
func (w *response) Write(p []byte) (int, error) {
	if w.over {
		return 0, errOver
	}
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	switch {
	case w.err != nil:
		return 0, w.err
	case len(p) == 0:
		return 0, nil
	case w.framing == bodiless:
		return 0, http.ErrBodyNotAllowed
	}
	w.written += int64(len(p))
	switch {
	case w.framing == counted && w.written > w.length:
		return 0, http.ErrContentLength
	case w.framing == undecided && !w.fits(len(p)):
		w.decide(false)
	}
	switch {
	case w.isHead:
	case w.fits(len(p)):
		w.borrow()
		if w.framing == chunked {
			w.buf = appendChunk(w.buf, p)
		} else {
			w.buf = append(w.buf, p...)
		}
	default:
		w.sendLarge(p)
	}
	if w.err != nil {
		return 0, w.err
	}
	return len(p), nil
}

// frameRoom is more than is put around a body at most, when its framing is
// decided late.
const frameRoom = 64

// fits tells whether n bytes more can be gathered. Of an answer to HEAD the
// bytes are only counted.
func (w *response) fits(n int) bool {
	if w.isHead {
		return w.body+int(w.written)+frameRoom <= outputSize
	}
	return len(w.buf)+n+frameRoom <= outputSize
}

// decide ends the head of an answer whose length was not given: it is known if
// the handler is done.
func (w *response) decide(done bool) {
	switch {
	case w.isHead && (!done || w.written == 0):
		w.framing = chunked // which the answer to HEAD does not say
		w.endHead()
		return
	case done && !w.hasTrailers():
		w.framing, w.length = counted, w.written
	default:
		w.framing = chunked
	}
	end := len(w.buf)
	w.endHead()
	if w.framing == chunked && end > w.body {
		w.buf = append(strconv.AppendInt(w.buf, int64(end-w.body), 16), "\r\n"...)
	}
	// What belongs in front of the body stands behind it.
	var front [frameRoom]byte
	n := copy(front[:], w.buf[end:])
	copy(w.buf[w.body+n:], w.buf[w.body:end])
	copy(w.buf[w.body:], front[:n])
	if w.framing == chunked && end > w.body {
		w.buf = append(w.buf, "\r\n"...)
	}
}

func appendChunk(to, p []byte) []byte {
	to = append(strconv.AppendInt(to, int64(len(p)), 16), "\r\n"...)
	to = append(to, p...)
	return append(to, "\r\n"...)
}

// FlushError sends what was written so far.
func (w *response) FlushError() error {
	if w.over {
		return errOver
	}
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	if w.framing == undecided {
		w.decide(false)
	}
	w.send()
	return w.err
}

// Flush implements http.Flusher.
func (w *response) Flush() { _ = w.FlushError() } // the next write tells

// EnableFullDuplex is for http.ResponseController: the body has been read.
func (w *response) EnableFullDuplex() error { return nil }

// SetReadDeadline is for http.ResponseController: the body has been read.
func (w *response) SetReadDeadline(time.Time) error { return nil }

// SetWriteDeadline is for http.ResponseController. It holds for this answer.
func (w *response) SetWriteDeadline(t time.Time) error {
	w.timed = true
	return w.c.nc.SetWriteDeadline(t)
}

// finish ends the answer and tells whether another one may follow.
func (w *response) finish() bool {
	if w.over {
		return false
	}
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	if w.framing == undecided {
		w.decide(true)
	}
	if w.framing == chunked && !w.isHead {
		w.borrow()
		w.buf = append(w.buf, "0\r\n"...)
		w.appendTrailers()
		w.buf = append(w.buf, "\r\n"...)
	}
	w.send()
	w.over = true
	if w.timed && w.c.nc.SetWriteDeadline(time.Time{}) != nil {
		return false
	}
	short := w.framing == counted && !w.isHead && w.written != w.length
	return w.err == nil && !w.closing && !short
}

// Complete ends the answer before the handler returns, for one that is held up. As
// nothing can follow on the connection until then, the client is told its end.
func (w *response) Complete() {
	if w.over {
		return
	}
	w.finish()
	if half, ok := w.c.nc.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite() // fails only on a connection that is closed or broken
	}
}

// abandon sends what is fit to be seen of an answer that has no end.
func (w *response) abandon() {
	if !w.over && w.status != 0 && w.framing != undecided {
		w.send()
	}
	w.over = true
	w.giveBack()
}
