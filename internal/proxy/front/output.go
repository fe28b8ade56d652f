package front

import (
	"net"
	"strconv"
	"sync"
)

// outputSize is how much of an answer is gathered for one write.
const outputSize = 4 << 10

var outputs = sync.Pool{New: func() any { return new([outputSize]byte) }}

func (w *response) borrow() {
	if w.buf == nil {
		w.buf = outputs.Get().(*[outputSize]byte)[:0]
	}
}

func (w *response) giveBack() {
	if cap(w.buf) == outputSize { // else a large head made it grow
		outputs.Put((*[outputSize]byte)(w.buf[:outputSize]))
	}
	w.buf = nil
}

// send writes what was gathered.
func (w *response) send() {
	if len(w.buf) > 0 && w.err == nil {
		_, err := w.c.nc.Write(w.buf)
		w.failed(err)
	}
	w.giveBack()
}

// buffersWriter is a connection of the caller's own that can write several
// pieces at once.
type buffersWriter interface {
	WriteBuffers(*net.Buffers) (int64, error)
}

// writeAll writes the pieces at once where the connection can. That is not left
// to net.Buffers: it would bypass the Write of a type that embeds a connection.
func writeAll(nc net.Conn, pieces net.Buffers) (err error) {
	switch nc := nc.(type) {
	case buffersWriter:
		_, err = nc.WriteBuffers(&pieces)
	case *net.TCPConn, *net.UnixConn:
		_, err = pieces.WriteTo(nc)
	default:
		for _, p := range pieces {
			if _, err = nc.Write(p); err != nil {
				break
			}
		}
	}
	return err
}

// sendLarge writes what was gathered and p, without copying p.
func (w *response) sendLarge(p []byte) {
	if w.framing == chunked {
		w.borrow()
		w.buf = append(strconv.AppendInt(w.buf, int64(len(p)), 16), "\r\n"...)
	}
	v := w.vector[:0]
	if len(w.buf) > 0 {
		v = append(v, w.buf)
	}
	v = append(v, p)
	if w.framing == chunked {
		v = append(v, crlf)
	}
	err := writeAll(w.c.nc, v)
	clear(w.vector[:])
	w.failed(err)
	w.giveBack()
}

var crlf = []byte("\r\n")

// failed notes the error of a write, after which nothing is worth doing for the
// client any more.
func (w *response) failed(err error) {
	if err != nil {
		w.err = err
		w.x.ctx.End(nil)
	}
}
