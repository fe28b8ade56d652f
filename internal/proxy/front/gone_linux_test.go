package front_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vega-proxy/vega-proxy/internal/proxy/front"
)

// TestGone sees handlers learn that their client has left.
func TestGone(t *testing.T) {
	tests := []struct {
		name  string
		leave func(*net.TCPConn)
	}{
		{"close", func(c *net.TCPConn) { c.Close() }},
		{"half-close", func(c *net.TCPConn) { c.CloseWrite() }},
		{"reset", func(c *net.TCPConn) { c.SetLinger(0); c.Close() }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			began, told := make(chan struct{}), make(chan struct{})
			r := start(t, func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/first" {
					return
				}
				hook := make(chan struct{})
				defer context.AfterFunc(r.Context(), func() { close(hook) })()
				child, cancel := context.WithCancel(r.Context())
				defer cancel()
				close(began)
				<-child.Done()
				<-hook
				if err, cause := r.Context().Err(), context.Cause(r.Context()); err != context.Canceled || cause != context.Canceled {
					t.Errorf("ended with %v, because of %v", err, cause)
				}
				close(told)
			})
			nc := dial(t, r.addr)
			io.WriteString(nc, "GET /first HTTP/1.1\r\nHost: a\r\n\r\n")
			resp, err := http.ReadResponse(bufio.NewReader(nc), nil)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			io.WriteString(nc, get)
			within(t, "the handler's beginning", began)
			tt.leave(nc)
			within(t, "the handler's end", told)
		})
	}
}

// TestNotGone: what a client sends while it waits is its next request, not its
// end, and is kept.
func TestNotGone(t *testing.T) {
	began, goOn := make(chan struct{}, 2), make(chan struct{})
	r := start(t, func(w http.ResponseWriter, r *http.Request) {
		began <- struct{}{}
		<-goOn
		if err := r.Context().Err(); err != nil {
			t.Errorf("%s: %v", r.URL.Path, err)
		}
		io.WriteString(w, r.URL.Path)
	})
	nc := dial(t, r.addr)
	io.WriteString(nc, get)
	<-began
	io.WriteString(nc, "GET /b HTTP/1.1\r\nHost: a\r\n\r\n")
	goOn <- struct{}{}
	<-began
	goOn <- struct{}{}
	br := bufio.NewReader(nc)
	for _, want := range []string{"/a", "/b"} {
		resp, err := http.ReadResponse(br, nil)
		if err != nil {
			t.Fatal(err)
		}
		if body, err := io.ReadAll(resp.Body); string(body) != want || err != nil {
			t.Errorf("%q, %v", body, err)
		}
	}
}

// TestManyGone has 2,000 clients leave in the middle of an answer; goleak finds
// what they might leave behind, and so does the count of descriptors.
func TestManyGone(t *testing.T) {
	var handlers sync.WaitGroup
	r := start(t, func(w http.ResponseWriter, r *http.Request) {
		defer handlers.Done()
		io.WriteString(w, "x")
		http.NewResponseController(w).Flush()
		<-r.Context().Done()
	})
	before := descriptors(t)
	for range 20 {
		var clients sync.WaitGroup
		handlers.Add(100)
		for range 100 {
			clients.Go(func() {
				nc, err := net.Dial("tcp", r.addr)
				if err != nil {
					t.Error(err)
					handlers.Done()
					return
				}
				defer nc.Close()
				io.WriteString(nc, get)
				nc.Read(make([]byte, 1))
			})
		}
		clients.Wait()
		handlers.Wait()
	}
	if err := r.server.Close(); err != nil {
		t.Error(err)
	}
	if after := descriptors(t); after > before {
		t.Errorf("%d descriptors before, %d after", before, after)
	}
}

func descriptors(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

// TestAnswerToNobody: a failed write ends the request too.
func TestAnswerToNobody(t *testing.T) {
	done := make(chan error, 1)
	r := start(t, func(w http.ResponseWriter, r *http.Request) {
		var err error
		for err == nil {
			_, err = w.Write(make([]byte, 64<<10))
		}
		<-r.Context().Done()
		_, again := w.Write([]byte("x"))
		done <- errors.Join(err, again)
	})
	nc := dial(t, r.addr)
	io.WriteString(nc, get)
	nc.Read(make([]byte, 1))
	nc.SetLinger(0)
	nc.Close()
	if err := <-done; !strings.Contains(err.Error(), "\n") {
		t.Errorf("the error of a write is not final: %v", err)
	}
}

// TestBaseContext: its end is each request's, with its cause.
func TestBaseContext(t *testing.T) {
	errStop := errors.New("stop")
	base, stop := context.WithCancelCause(context.WithValue(t.Context(), ctxKey("base"), "b"))
	defer stop(nil)
	began := make(chan struct{})
	ended := make(chan error, 2)
	r := start(t, func(w http.ResponseWriter, r *http.Request) {
		ctx := r.Context()
		if ctx.Value(ctxKey("base")) != "b" || ctx.Value(ctxKey("conn")) != ctx.Value(ctxKey("addr")) {
			t.Error("a value is missing")
		}
		if r.URL.Path == "/a" {
			close(began)
			<-ctx.Done()
		}
		child, cancel := context.WithCancel(ctx)
		defer cancel()
		if ctx.Err() != context.Canceled || child.Err() != context.Canceled {
			t.Errorf("Err: %v, %v", ctx.Err(), child.Err())
		}
		if context.Cause(child) != errStop {
			t.Errorf("the child's cause: %v", context.Cause(child))
		}
		ended <- context.Cause(ctx)
	}, withBase(base), func(c *front.Config) {
		c.ConnContext = func(ctx context.Context, nc net.Conn) context.Context {
			ctx = context.WithValue(ctx, ctxKey("addr"), nc.RemoteAddr().String())
			return context.WithValue(ctx, ctxKey("conn"), nc.(*net.TCPConn).RemoteAddr().String())
		}
	})
	nc := dial(t, r.addr)
	io.WriteString(nc, get+"GET /b HTTP/1.1\r\nHost: a\r\n\r\n")
	within(t, "the handler's beginning", began)
	stop(errStop)
	for range 2 { // also the one that begins after it
		if err := <-ended; err != errStop {
			t.Errorf("cause: %v", err)
		}
	}
}

type ctxKey string

// TestAfterHandler: the context ends with the handler; nothing can be written.
func TestAfterHandler(t *testing.T) {
	type kept struct {
		w http.ResponseWriter
		r *http.Request
	}
	out := make(chan kept, 1)
	r := start(t, func(w http.ResponseWriter, r *http.Request) { out <- kept{w, r} })
	raw := "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nab"
	if got := talk(t, r.addr, raw); !strings.HasPrefix(got, "HTTP/1.1 200 OK\r\n") {
		t.Errorf("answer: %q", got)
	}
	k := <-out
	within(t, "the context's end", k.r.Context().Done())
	if _, err := k.w.Write([]byte("x")); err == nil {
		t.Error("a write works after the handler's return")
	}
	if err := http.NewResponseController(k.w).Flush(); err == nil {
		t.Error("a flush works after the handler's return")
	}
	if _, err := k.r.Body.(*front.Body).Bytes(); err != http.ErrBodyReadAfterClose {
		t.Errorf("Bytes after the handler's return: %v", err)
	}
	late := make(chan struct{})
	context.AfterFunc(k.r.Context(), func() { close(late) })
	within(t, "a late AfterFunc", late)
}

// TestClose closes idle and busy connections, and waits for handlers.
func TestClose(t *testing.T) {
	began := make(chan struct{})
	returned := false
	r := start(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/a" {
			return
		}
		close(began)
		<-r.Context().Done()
		time.Sleep(10 * time.Millisecond) // for a Close that does not wait
		returned = true
	})
	idle, busy := dial(t, r.addr), dial(t, r.addr)
	io.WriteString(idle, get)
	if _, err := http.ReadResponse(bufio.NewReader(idle), nil); err != nil {
		t.Fatal(err)
	}
	io.WriteString(busy, "GET /busy HTTP/1.1\r\nHost: a\r\n\r\n")
	within(t, "the handler's beginning", began)
	if err := r.server.Close(); err != nil {
		t.Error(err)
	}
	if !returned {
		t.Error("Close did not wait for the handler")
	}
	for _, nc := range []*net.TCPConn{idle, busy} {
		if b, err := io.ReadAll(nc); len(b) > 0 {
			t.Errorf("a closed connection says %q, %v", b, err)
		}
	}
	if err := r.server.Close(); err != nil {
		t.Errorf("second Close: %v", err)
	}
	if err := r.server.Serve(listen(t)); !errors.Is(err, http.ErrServerClosed) {
		t.Errorf("Serve after Close: %v", err)
	}
}
