package front_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/vega-proxy/vega-proxy/internal/proxy/front"
)

// countingConn notes the sizes of what is written at once.
type countingConn struct {
	*net.TCPConn
	l *countingListener
}

func (c *countingConn) Write(p []byte) (int, error) {
	c.l.note(len(p))
	return c.TCPConn.Write(p)
}

// vectorConn takes several pieces at once too.
type vectorConn struct{ *countingConn }

func (c vectorConn) WriteBuffers(v *net.Buffers) (int64, error) {
	n := 0
	for _, p := range *v {
		n += len(p)
	}
	c.l.note(n)
	return v.WriteTo(c.TCPConn)
}

type countingListener struct {
	net.Listener
	vectors bool

	mu    sync.Mutex
	sizes []int
}

func (l *countingListener) note(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sizes = append(l.sizes, n)
}

func (l *countingListener) Accept() (net.Conn, error) {
	nc, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	c := &countingConn{nc.(*net.TCPConn), l}
	if l.vectors {
		return vectorConn{c}, nil
	}
	return c, nil
}

// TestWrites: a whole answer is one write, and so is each flush.
func TestWrites(t *testing.T) {
	const head = len("HTTP/1.1 200 OK\r\n")
	length := func(n string) int { return head + len("Content-Length: \r\n\r\n") + len(n) }
	const coded = head + len("Transfer-Encoding: chunked\r\n\r\n")
	large := make([]byte, 10000)
	tests := []struct {
		name    string
		answer  http.HandlerFunc
		want    []int
		vectors []int // with a connection that takes them; nil is the same
	}{
		{"nothing", func(http.ResponseWriter, *http.Request) {}, []int{length("0")}, nil},
		{"small", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "hello") }, []int{length("5") + 5}, nil},
		{"with a length", func(w http.ResponseWriter, _ *http.Request) {
			w.Header()["Content-Length"] = []string{"10"}
			io.WriteString(w, "hello")
			io.WriteString(w, "hello")
		}, []int{length("10") + 10}, nil},
		{"flushed", func(w http.ResponseWriter, _ *http.Request) {
			for range 2 {
				io.WriteString(w, "hello")
				w.(http.Flusher).Flush()
				w.(http.Flusher).Flush()
			}
		}, []int{coded + 10, 10, 5}, nil},
		{"large with a length", func(w http.ResponseWriter, _ *http.Request) {
			w.Header()["Content-Length"] = []string{"10000"}
			w.Write(large)
		}, []int{length("10000"), 10000}, []int{length("10000") + 10000}},
		{"large and flushed", func(w http.ResponseWriter, _ *http.Request) {
			io.WriteString(w, "hello")
			w.Write(large)
			w.(http.Flusher).Flush()
		}, []int{coded + 10 + 6, 10000, 2, 5}, []int{coded + 10 + 6 + 10000 + 2, 5}},
	}
	for _, tt := range tests {
		for _, vectors := range []bool{false, true} {
			t.Run(tt.name, func(t *testing.T) {
				ln := &countingListener{Listener: listen(t), vectors: vectors}
				r := startOn(t, ln, front.Config{Log: quiet, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					w.Header()["Date"] = nil
					tt.answer(w, r)
				})})
				if got := talk(t, r.addr, get); !strings.HasPrefix(got, "HTTP/1.1 200 OK\r\n") {
					t.Errorf("answer: %q", got)
				}
				want := tt.want
				if vectors && tt.vectors != nil {
					want = tt.vectors
				}
				ln.mu.Lock()
				defer ln.mu.Unlock()
				if !slices.Equal(ln.sizes, want) {
					t.Errorf("writes of %v bytes, want %v", ln.sizes, want)
				}
			})
		}
	}
}

// heldConn holds its writes back until they are let go.
type heldConn struct {
	*net.TCPConn
	entered, letGo chan struct{}
	written        *atomic.Bool
}

func (c *heldConn) Write(p []byte) (int, error) {
	close(c.entered)
	<-c.letGo
	n, err := c.TCPConn.Write(p)
	c.written.Store(true)
	return n, err
}

type heldListener struct {
	net.Listener
	conn heldConn
}

func (l *heldListener) Accept() (net.Conn, error) {
	nc, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	c := l.conn
	c.TCPConn = nc.(*net.TCPConn)
	return &c, nil
}

// TestSettle waits for the bytes that go out after the handler's return.
func TestSettle(t *testing.T) {
	conn := heldConn{entered: make(chan struct{}), letGo: make(chan struct{}), written: new(atomic.Bool)}
	r := startOn(t, &heldListener{Listener: listen(t), conn: conn}, front.Config{
		Log: quiet, Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}),
	})
	r.server.Settle(t.Context()) // there is nothing to wait for
	nc := dial(t, r.addr)
	io.WriteString(nc, get)
	within(t, "the answer", conn.entered)
	ended, end := context.WithCancel(t.Context())
	end()
	r.server.Settle(ended) // does not wait for ever
	if conn.written.Load() {
		t.Fatal("the answer was not held back")
	}
	settled := make(chan bool, 1)
	go func() {
		r.server.Settle(t.Context())
		settled <- conn.written.Load()
	}()
	time.Sleep(10 * time.Millisecond) // for a Settle that does not wait
	close(conn.letGo)
	if !<-settled {
		t.Error("Settle did not wait for the answer")
	}
}
