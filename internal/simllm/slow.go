package simllm

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
	"net/http"
	"time"
)

// take hijacks the connection and registers it, so that Close can end it.
func (x *exchange) take() (net.Conn, *bufio.ReadWriter, error) {
	conn, buffered, err := x.rc.Hijack()
	if err != nil {
		return nil, nil, fmt.Errorf("take over the connection: %w", err)
	}
	x.s.mu.Lock()
	defer x.s.mu.Unlock()
	if x.s.closed {
		conn.Close() // the caller's first use of it fails
	}
	x.s.taken[conn] = struct{}{}
	return conn, buffered, nil
}

func (x *exchange) giveBack(conn net.Conn) {
	x.s.mu.Lock()
	delete(x.s.taken, conn)
	x.s.mu.Unlock()
	conn.Close() // nobody is left to hear of an error
}

// slowHead makes the answer's head arrive byte by byte. The handler goes on as
// usual and writes through a dripWriter. Where the connection is shared (HTTP/2)
// the answer comes as if nothing had been asked.
func (x *exchange) slowHead() error {
	conn, _, err := x.take()
	if err != nil {
		return nil
	}
	x.release = func() { x.giveBack(conn) }
	d := &dripWriter{conn: conn, header: x.w.Header(), x: x}
	x.w, x.rc = d, http.NewResponseController(d)
	return nil
}

// dripWriter is an http.ResponseWriter on a bare connection, whose head takes
// the time that the knob slow names. The body ends with the connection.
type dripWriter struct {
	conn   net.Conn
	header http.Header
	x      *exchange
	headed bool
	err    error // of the head
}

func (d *dripWriter) Header() http.Header { return d.header }

func (d *dripWriter) WriteHeader(status int) {
	if d.headed {
		return
	}
	d.headed = true
	var head bytes.Buffer
	fmt.Fprintf(&head, "HTTP/1.1 %d %s\r\nConnection: close\r\n", status, http.StatusText(status))
	if d.err = d.header.Write(&head); d.err != nil {
		return
	}
	head.WriteString("\r\n")
	pause := d.x.k.slow / time.Duration(head.Len())
	for _, b := range head.Bytes() {
		if d.err = d.x.wait(pause); d.err != nil {
			return
		}
		if _, d.err = d.conn.Write([]byte{b}); d.err != nil {
			return
		}
	}
}

func (d *dripWriter) Write(b []byte) (int, error) {
	d.WriteHeader(http.StatusOK)
	if d.err != nil {
		return 0, d.err
	}
	return d.conn.Write(b)
}

// Flush has nothing to do: what is written is sent.
func (d *dripWriter) Flush() {}

func (d *dripWriter) SetWriteDeadline(at time.Time) error { return d.conn.SetWriteDeadline(at) }
