//go:build linux

package poll_test

import (
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/vega-proxy/vega-proxy/internal/poll"
	"github.com/vega-proxy/vega-proxy/internal/testkit/loop"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds waits that only a failing test sees the end of.
const patience = 20 * time.Second

// pair is a connection's two ends.
func pair(t *testing.T) (a, b *net.TCPConn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	one, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	other, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		one.Close()
		other.Close()
	})
	return one.(*net.TCPConn), other.(*net.TCPConn)
}

func raw(t *testing.T, c syscall.Conn) syscall.RawConn {
	t.Helper()
	r, err := c.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func add(t *testing.T, l *poll.Loop, c syscall.Conn, what poll.Interest, ready func()) poll.Watch {
	t.Helper()
	w, err := l.Add(raw(t, c), what, ready)
	if err != nil {
		t.Fatal(err)
	}
	if w.None() {
		t.Fatal("the registration is none")
	}
	return w
}

func say(t *testing.T, c net.Conn, what string) {
	t.Helper()
	if _, err := io.WriteString(c, what); err != nil {
		t.Fatal(err)
	}
}

func told(t *testing.T, of <-chan string, want string) {
	t.Helper()
	select {
	case got := <-of:
		if got != want {
			t.Errorf("told %q, want %q", got, want)
		}
	case <-time.After(patience):
		t.Fatalf("never told %q", want)
	}
}

// reading sends what a socket has to say, each time it is ready; its end is passed
// over.
func reading(t *testing.T, c *net.TCPConn, to chan<- string) func() {
	s, err := poll.NewSocket(c)
	if err != nil {
		t.Fatal(err)
	}
	p := make([]byte, 4)
	return func() {
		switch n, again, err := s.TryRead(p); {
		case again: // woken for nothing, which is allowed
		case err == nil:
			to <- string(p[:n])
		}
	}
}

func TestReadable(t *testing.T) {
	l := loop.Run(t, 1)
	a, b := pair(t)
	heard := make(chan string, 10)
	w := add(t, l, b, poll.Readable, reading(t, b, heard))
	say(t, a, "1")
	told(t, heard, "1")
	say(t, a, "234567") // more than one read takes: told again
	told(t, heard, "2345")
	told(t, heard, "67")
	if err := l.Remove(raw(t, b), w); err != nil {
		t.Fatal(err)
	}
	say(t, a, "8")
	// Another socket is told of after it, so this one would have been.
	c, d := pair(t)
	add(t, l, d, poll.Readable, reading(t, d, heard))
	say(t, c, "9")
	told(t, heard, "9")
	// It can be watched anew, and has not lost anything.
	add(t, l, b, poll.Readable, reading(t, b, heard))
	told(t, heard, "8")
}

// Hangup is told of an end, not of data, and once, whatever is left to be read.
func TestHangup(t *testing.T) {
	l := loop.Run(t, 1)
	a, b := pair(t)
	heard := make(chan string, 10)
	add(t, l, b, poll.Hangup, func() { heard <- "gone" })
	say(t, a, "unread")
	c, d := pair(t)
	add(t, l, d, poll.Readable, reading(t, d, heard))
	say(t, c, "1")
	told(t, heard, "1")
	if err := a.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	told(t, heard, "gone")
	say(t, c, "2")
	told(t, heard, "2") // and not "gone" again
}

// A descriptor's number comes back for the next connection, its registration does
// not.
func TestForget(t *testing.T) {
	l := loop.Run(t, 2)
	heard := make(chan string, 1000)
	for range 100 {
		a, b := pair(t)
		w := add(t, l, b, poll.Readable, reading(t, b, heard))
		say(t, a, "x")
		told(t, heard, "x")
		b.Close()
		l.Forget(w)
		a.Close()
	}
	if len(heard) != 0 {
		t.Errorf("%d were told after their end, the first %q", len(heard), <-heard)
	}
}

func TestManySockets(t *testing.T) {
	l := loop.Run(t, 3)
	heard := make(chan string, 1000)
	var ends []net.Conn
	for range 300 {
		a, b := pair(t)
		ends = append(ends, a)
		add(t, l, b, poll.Readable, reading(t, b, heard))
	}
	for _, a := range ends {
		say(t, a, "x")
	}
	for range ends {
		told(t, heard, "x")
	}
}

func TestClosedLoop(t *testing.T) {
	l, err := poll.New(2)
	if err != nil {
		t.Fatal(err)
	}
	_, b := pair(t)
	w := add(t, l, b, poll.Readable, func() {})
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l.Run() // has nothing to do any more
	if _, err := l.Add(raw(t, b), poll.Readable, func() {}); !errors.Is(err, poll.ErrClosed) {
		t.Errorf("a closed loop takes a socket: %v", err)
	}
	if err := l.Remove(raw(t, b), w); err == nil {
		t.Error("a closed loop removes a socket")
	}
	b.Close()
	if _, err := l.Add(raw(t, b), poll.Readable, func() {}); err == nil {
		t.Error("a closed socket is taken")
	}
}

func TestSocket(t *testing.T) {
	a, b := pair(t)
	s, err := poll.NewSocket(b)
	if err != nil {
		t.Fatal(err)
	}
	p := make([]byte, 10)
	if n, again, err := s.TryRead(p); n != 0 || !again || err != nil {
		t.Errorf("with nothing there: %d, %v, %v", n, again, err)
	}
	if err := b.SetReadDeadline(time.Now().Add(-time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Read(p); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("after the deadline: %v", err)
	}
	if n, again, err := s.TryRead(p); n != 0 || !again || err != nil {
		t.Errorf("with nothing there after the deadline: %d, %v, %v", n, again, err)
	}
	if err := b.SetReadDeadline(time.Time{}); err != nil {
		t.Fatal(err)
	}
	go func() { _, _ = io.WriteString(a, "hello") }()
	if n, err := s.Read(p); string(p[:n]) != "hello" || err != nil {
		t.Errorf("%q, %v", p[:n], err)
	}
	if !quiet(t, b) {
		t.Error("not quiet, though nothing is there")
	}
	say(t, a, "more")
	if n, err := s.Write([]byte("back")); n != 4 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	if n, err := io.ReadFull(a, p[:4]); string(p[:n]) != "back" || err != nil {
		t.Errorf("%q, %v", p[:n], err)
	}
	if quiet(t, b) {
		t.Error("quiet, with something to read")
	}
	a.Close()
	if n, err := s.Read(p); string(p[:n]) != "more" || err != nil {
		t.Errorf("%q, %v", p[:n], err)
	}
	if _, err := s.Read(p); err != io.EOF {
		t.Errorf("at the end: %v", err)
	}
	if _, _, err := s.TryRead(p); err != io.EOF {
		t.Errorf("at the end, without waiting: %v", err)
	}
	b.Close()
	if _, err := s.Read(p); err == nil {
		t.Error("a closed socket is read")
	}
	if _, err := s.TryWrite(p); err == nil {
		t.Error("a closed socket is written")
	}
}

func quiet(t *testing.T, c syscall.Conn) (is bool) {
	t.Helper()
	if err := raw(t, c).Control(func(fd uintptr) { is = poll.Quiet(fd) }); err != nil {
		t.Fatal(err)
	}
	return is
}

// What a peer that does not read has no room for is not written, and what waits
// for room gets there.
func TestSocketFull(t *testing.T) {
	a, b := pair(t)
	s, err := poll.NewSocket(b)
	if err != nil {
		t.Fatal(err)
	}
	much := make([]byte, 16<<20)
	n, err := s.TryWrite(much)
	if err != nil || n == 0 || n == len(much) {
		t.Fatalf("%d written of %d, %v", n, len(much), err)
	}
	if m, err := s.TryWrite(much[:1]); m != 0 || err != nil {
		t.Errorf("%d more written, %v", m, err)
	}
	if err := b.SetWriteDeadline(time.Now().Add(10 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Write(much); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("after the deadline: %v", err)
	}
	if m, err := s.TryWrite(much[:1]); m != 0 || err != nil {
		t.Errorf("%d more written after the deadline, %v", m, err)
	}
	if err := b.SetWriteDeadline(time.Time{}); err != nil {
		t.Fatal(err)
	}
	read := make(chan int64)
	go func() {
		got, _ := io.Copy(io.Discard, a)
		read <- got
	}()
	m, err := s.Write(much)
	if m != len(much) || err != nil {
		t.Errorf("%d written, %v", m, err)
	}
	b.Close()
	if got := <-read; got < int64(n+m) {
		t.Errorf("%d arrived of %d", got, n+m)
	}
}
