package wire

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

var errGone = errors.New("the client went away")

// blocked is a body's source that gives something, and then waits for stop.
type blocked struct {
	first   string
	reached chan bool // closed when it waits
	stopped chan bool
}

func newBlocked(first string) *blocked {
	return &blocked{first: first, reached: make(chan bool), stopped: make(chan bool)}
}

func (b *blocked) stop() { close(b.stopped) }

func (b *blocked) Read(p []byte) (int, error) {
	if b.first != "" {
		n := copy(p, b.first)
		b.first = b.first[n:]
		return n, nil
	}
	close(b.reached)
	<-b.stopped
	return 0, errors.New("stopped")
}

// TestCancel cancels in each phase: the backend sees the end of the connection,
// and the caller the cause.
func TestCancel(t *testing.T) {
	each(t, func(t *testing.T, im implementation) {
		run := func(t *testing.T, r *Request, phase Phase, play func(p *peer, reached func()), reached chan bool) {
			gone := make(chan bool)
			signal := func() { close(reached) }
			tr := im.start(t, func(_ int, p *peer) {
				defer close(gone)
				play(p, signal)
				p.untilGone()
			})
			ctx, cancel := context.WithCancelCause(t.Context())
			go func() {
				<-reached
				cancel(errGone)
			}()
			resp, err := tr.RoundTrip(ctx, r)
			if err == nil {
				_, err = io.ReadAll(resp.Body)
			}
			if e, ok := errors.AsType[*Error](err); !ok || e.Phase != phase || !errors.Is(err, errGone) || e.Timeout != "" {
				t.Errorf("got %v", err)
			}
			<-gone
			until(t, "the connection is closed", func() bool { return tr.Stats().Open == 0 })
		}
		t.Run("head", func(t *testing.T) {
			run(t, get, Head, func(p *peer, reached func()) { p.request(); reached() }, make(chan bool))
		})
		t.Run("first byte", func(t *testing.T) {
			run(t, get, Body, func(p *peer, reached func()) {
				p.request()
				p.say(chunkedHead)
				time.AfterFunc(20*time.Millisecond, reached) // the head is likely to be read by then
			}, make(chan bool))
		})
		t.Run("body", func(t *testing.T) {
			run(t, get, Body, func(p *peer, reached func()) {
				p.request()
				p.say(chunkedHead + "5\r\nhello\r\n")
				time.AfterFunc(20*time.Millisecond, reached)
			}, make(chan bool))
		})
		t.Run("stream that waits", func(t *testing.T) {
			b := newBlocked("hello")
			r := &Request{Method: "POST", Target: "/", Stream: b, Length: -1, StopStream: b.stop}
			run(t, r, Head, func(p *peer, _ func()) { p.head() }, b.reached)
		})
		t.Run("backend that does not read", func(t *testing.T) {
			r := &Request{Method: "POST", Target: "/", Body: filled(64 << 20)}
			run(t, r, Head, func(p *peer, reached func()) { p.head(); reached() }, make(chan bool))
		})
	})
}

func TestCancelBefore(t *testing.T) {
	each(t, func(t *testing.T, im implementation) {
		tr := im.start(t, nil)
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(errGone)
		_, err := tr.RoundTrip(ctx, get)
		if e, ok := errors.AsType[*Error](err); !ok || e.Phase != Dial || e.Sent || !errors.Is(err, errGone) {
			t.Errorf("got %v", err)
		}
	})
}

// deaf is an address where connections are neither accepted nor refused: the
// queue of its listener is full.
func deaf(t *testing.T) string {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Close(fd) })
	if err := errors.Join(syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}), syscall.Listen(fd, 0)); err != nil {
		t.Fatal(err)
	}
	sa, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	addr := (&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: sa.(*syscall.SockaddrInet4).Port}).String()
	for {
		c, err := net.DialTimeout("tcp", addr, 300*time.Millisecond)
		if err != nil {
			return addr
		}
		t.Cleanup(func() { c.Close() })
	}
}

func TestConnectTimeout(t *testing.T) {
	addr := deaf(t)
	each(t, func(t *testing.T, im implementation) {
		cfg := im.serve(t, nil)
		cfg.URL.Host = addr
		cfg.ConnectTimeout = 30 * time.Millisecond
		_, err := im.open(t, cfg).RoundTrip(t.Context(), get)
		if e, ok := errors.AsType[*Error](err); !ok || e.Phase != Dial || e.Sent || e.Timeout != "connect" || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("got %v", err)
		}

		cfg.ConnectTimeout = time.Hour
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(30*time.Millisecond, func() { cancel(errGone) })
		_, err = im.open(t, cfg).RoundTrip(ctx, get)
		if e, ok := errors.AsType[*Error](err); !ok || e.Phase != Dial || e.Sent || e.Timeout != "" || !errors.Is(err, errGone) {
			t.Errorf("cancelled: got %v", err)
		}
	})
}

func TestHandshakeFails(t *testing.T) {
	std := implementations[1]
	t.Run("unknown authority", func(t *testing.T) {
		cfg := std.serve(t, func(_ int, p *peer) { io.Copy(io.Discard, p.br) })
		cfg.TLS = nil
		_, err := std.open(t, cfg).RoundTrip(t.Context(), get)
		if e, ok := errors.AsType[*Error](err); !ok || e.Phase != TLS || e.Sent || e.Timeout != "" {
			t.Errorf("got %v", err)
		}
	})
	t.Run("silence", func(t *testing.T) {
		cfg := h1Only.serve(t, func(_ int, p *peer) { p.untilGone() })
		cfg.URL.Scheme = "https"
		cfg.ConnectTimeout = 50 * time.Millisecond
		_, err := std.open(t, cfg).RoundTrip(t.Context(), get)
		if e, ok := errors.AsType[*Error](err); !ok || e.Phase != TLS || e.Sent || e.Timeout != "connect" {
			t.Errorf("got %v", err)
		}
	})
}

// TestAbortedRoundTripsLeaveNothing ends thousands of exchanges in the middle.
func TestAbortedRoundTripsLeaveNothing(t *testing.T) {
	each(t, func(t *testing.T, im implementation) {
		n := 5000
		if im != h1Only {
			n = 500 // each with a handshake, or with a loop's goroutine at every read
		}
		tr := im.start(t, func(_ int, p *peer) {
			p.head()
			io.WriteString(p.Conn, chunkedHead+"5\r\nhello\r\n")
			p.untilGone()
		})
		goroutines, descriptors := runtime.NumGoroutine(), openDescriptors(t)
		for i := range n {
			ctx, cancel := context.WithCancelCause(t.Context())
			r := get
			switch i % 3 {
			case 1:
				r = &Request{Method: "POST", Target: "/", Body: filled(80 << 10)}
			case 2:
				r = &Request{Method: "POST", Target: "/", Stream: strings.NewReader("hello"), Length: -1}
			}
			resp, err := tr.RoundTrip(ctx, r)
			if err != nil {
				cancel(nil)
				t.Fatal(err)
			}
			switch i % 2 {
			case 0:
				cancel(errGone)
				_, err = io.ReadAll(resp.Body)
				if !errors.Is(err, errGone) {
					t.Fatalf("%d: %v", i, err)
				}
			case 1:
				resp.Body.Close()
			}
			cancel(nil)
		}
		until(t, "as many goroutines as before", func() bool { return runtime.NumGoroutine() <= goroutines })
		until(t, "as many descriptors as before", func() bool { return openDescriptors(t) <= descriptors })
		if stats := tr.Stats(); stats.Open != 0 || stats.Idle != 0 {
			t.Errorf("%+v", stats)
		}
	})
}

func openDescriptors(t *testing.T) int {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}
