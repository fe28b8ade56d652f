package front_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vega-proxy/vega-proxy/internal/proxy/front"
)

// soon is long enough for a busy machine to do what must be done before.
const soon = 300 * time.Millisecond

func limits(c *front.Config) {
	c.ReadHeaderTimeout, c.IdleTimeout, c.BodyTimeout = soon, soon, soon
}

// TestSilence: each kind of silence ends the connection, whatever was answered
// before. That the test ends shows it.
func TestSilence(t *testing.T) {
	for _, tt := range []struct{ name, raw string }{
		{"from the beginning", ""},
		{"in the first line", "GET /"},
		{"in the head", "GET / HTTP/1.1\r\nHost: a\r\n"},
		{"between requests", get},
		{"in a later head", get + "GET / HTTP/1.1\r\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := start(t, echo, limits)
			nc := dial(t, r.addr)
			io.WriteString(nc, tt.raw)
			all, err := io.ReadAll(nc)
			if err != nil {
				t.Fatal(err)
			}
			if n := strings.Count(string(all), "HTTP/1.1 200 OK"); n != strings.Count(tt.raw, get) {
				t.Errorf("%d answers: %q", n, all)
			}
			if n := r.handedOver(); n > 0 {
				t.Errorf("%d connections were handed over", n)
			}
		})
	}
}

// TestSlowHead: a byte now and then does not prolong a head.
func TestSlowHead(t *testing.T) {
	t.Parallel()
	r := start(t, echo, limits)
	nc := dial(t, r.addr)
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() {
		for {
			if _, err := io.WriteString(nc, "G"); err != nil {
				return
			}
			time.Sleep(soon / 4)
		}
	})
	if all, err := io.ReadAll(nc); len(all) > 0 || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("%q, %v", all, err)
	}
	nc.Close()
}

// TestSlowBody: a body may take long, but not be silent.
func TestSlowBody(t *testing.T) {
	for _, length := range []int{20, 20000} { // behind the head, in a buffer of its own
		t.Run(strconv.Itoa(length), func(t *testing.T) {
			t.Parallel()
			r := start(t, func(w http.ResponseWriter, r *http.Request) {
				got, err := r.Body.(*front.Body).Bytes()
				if len(got) == length && err == nil {
					return
				}
				if !errors.Is(err, os.ErrDeadlineExceeded) {
					t.Errorf("%d bytes, %v", len(got), err)
				}
				if r.Context().Err() != nil {
					t.Error("a silent client counts as gone")
				}
				w.WriteHeader(408)
			}, func(c *front.Config) { c.BodyTimeout = 2 * soon })
			head := fmt.Sprintf("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n", length)
			nc := dial(t, r.addr)
			br := bufio.NewReader(nc)
			io.WriteString(nc, head)
			for range 4 { // together more than the limit
				time.Sleep(soon * 2 / 3)
				io.WriteString(nc, strings.Repeat("x", length/4))
			}
			if resp, err := http.ReadResponse(br, nil); err != nil || resp.StatusCode != 200 || resp.Close {
				t.Fatalf("slow body: %v, %v", resp, err)
			}
			io.WriteString(nc, head+"half")
			if resp, err := http.ReadResponse(br, nil); err != nil || resp.StatusCode != 408 || !resp.Close {
				t.Fatalf("silent body: %v, %v", resp, err)
			}
		})
	}
}

// TestLongAnswer: the limits for reading do not count while an answer goes out,
// nor does what is left of them hurt the next request.
func TestLongAnswer(t *testing.T) {
	t.Parallel()
	r := start(t, func(w http.ResponseWriter, r *http.Request) {
		time.Sleep(2 * soon)
		if err := r.Context().Err(); err != nil {
			t.Error(err)
		}
		io.WriteString(w, "x")
	}, limits)
	nc := dial(t, r.addr)
	br := bufio.NewReader(nc)
	for range 3 {
		io.WriteString(nc, get)
		resp, err := http.ReadResponse(br, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadAll(resp.Body); err != nil {
			t.Fatal(err)
		}
	}
	if n := r.handedOver(); n > 0 {
		t.Errorf("%d connections were handed over", n)
	}
}

// TestWriteDeadline holds for one answer.
func TestWriteDeadline(t *testing.T) {
	r := start(t, func(w http.ResponseWriter, r *http.Request) {
		rc := http.NewResponseController(w)
		if err := errors.Join(rc.EnableFullDuplex(), rc.SetReadDeadline(time.Now())); err != nil {
			t.Error(err)
		}
		if r.URL.Path == "/late" {
			if err := rc.SetWriteDeadline(time.Now().Add(-time.Second)); err != nil {
				t.Error(err)
			}
			io.WriteString(w, "x")
			if err := rc.Flush(); !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("a late write: %v", err)
			}
			return
		}
		if err := rc.SetWriteDeadline(time.Now().Add(time.Hour)); err != nil {
			t.Error(err)
		}
	})
	got := talk(t, r.addr, get+get+"GET /late HTTP/1.1\r\nHost: a\r\n\r\n")
	if n := strings.Count(got, "HTTP/1.1 200 OK"); n != 2 {
		t.Errorf("%d answers: %q", n, got)
	}
}

// TestHandedConn: net/http gets what was read, and the limits of its own.
func TestHandedConn(t *testing.T) {
	t.Parallel()
	server := front.New(front.Config{Handler: http.HandlerFunc(echo), ReadHeaderTimeout: soon, Log: quiet})
	ln := listen(t)
	var wg sync.WaitGroup
	wg.Go(func() { _ = server.Serve(ln) })
	nc := dial(t, ln.Addr().String())
	io.WriteString(nc, get+"BREW / HTTP/1.1\r\n")
	if _, err := http.ReadResponse(bufio.NewReader(nc), nil); err != nil {
		t.Fatal(err)
	}
	fallback := server.Fallback()
	h, err := fallback.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	if inner, ok := h.(interface{ NetConn() net.Conn }); !ok || inner.NetConn().RemoteAddr().String() != nc.LocalAddr().String() {
		t.Error("the accepted connection is not to be found")
	}
	time.Sleep(2 * soon) // the old limit must be off
	io.WriteString(nc, "more")
	nc.CloseWrite()
	if all, err := io.ReadAll(h); string(all) != "BREW / HTTP/1.1\r\nmore" || err != nil {
		t.Errorf("%q, %v", all, err)
	}
	if err := server.Close(); err != nil {
		t.Error(err)
	}
	if _, err := io.WriteString(h, "x"); err != nil {
		t.Errorf("Close closed what was handed over: %v", err)
	}
	if _, err := fallback.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Accept after Close: %v", err)
	}
	if fallback.Addr().Network() != "tcp" {
		t.Error(fallback.Addr())
	}
	wg.Wait()
}

// TestNobodyTakes: with the fallback closed, what it should get is closed.
func TestNobodyTakes(t *testing.T) {
	r := start(t, echo)
	r.server.Fallback().Close()
	if got := talk(t, r.addr, "BREW / HTTP/1.1\r\n\r\n"); got != "" {
		t.Errorf("answer: %q", got)
	}
}

// pipes is a listener of connections without a socket.
type pipes struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { p.once.Do(func() { close(p.done) }); return nil }
func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipe"} }

func TestNoSocket(t *testing.T) {
	p := &pipes{conns: make(chan net.Conn), done: make(chan struct{})}
	r := startOn(t, p, front.Config{Handler: http.HandlerFunc(echo), Log: quiet})
	client, server := net.Pipe()
	defer client.Close()
	p.conns <- server
	go io.WriteString(client, get)
	resp, err := http.ReadResponse(bufio.NewReader(client), nil)
	if err != nil || resp.StatusCode != 200 || r.handedOver() != 1 {
		t.Errorf("%v, %v, %d handed over", resp, err, r.handedOver())
	}
}

// failing fails as a listener does without descriptors, once.
type failing struct {
	net.Listener
	failed bool
}

type tooMany struct{}

func (tooMany) Error() string   { return "too many open files" }
func (tooMany) Timeout() bool   { return false }
func (tooMany) Temporary() bool { return true }

func (f *failing) Accept() (net.Conn, error) {
	if !f.failed {
		f.failed = true
		return nil, tooMany{}
	}
	return f.Listener.Accept()
}

func TestAcceptGoesOn(t *testing.T) {
	r := startOn(t, &failing{Listener: listen(t)}, front.Config{Handler: http.HandlerFunc(echo), Log: quiet})
	if got := talk(t, r.addr, get); !strings.HasPrefix(got, "HTTP/1.1 200 OK\r\n") {
		t.Errorf("answer: %q", got)
	}
}
