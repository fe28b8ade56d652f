package poll

import (
	"io"
	"syscall"
)

// Socket reads and writes a connection that the caller keeps and closes, with the
// deadlines set on it. One goroutine may read and one write at the same time.
//
// It does what a [net.Conn] does for less: the runtime wakes its watchdog thread
// with the first system call after a rest, since a call may block, and these never do.
type Socket struct {
	raw   syscall.RawConn
	in    transfer
	out   transfer
	read  calls
	write calls
}

// calls are what the connection does with its descriptor: once a socket is ready,
// or at once.
type calls struct {
	wait func(uintptr) bool
	once func(uintptr)
}

// transfer is a read or a write in progress. Its funcs are made once, so that
// none costs a closure.
type transfer struct {
	p     []byte
	n     int
	again bool
	err   error
}

// NewSocket returns the socket of a connection that gives access to it.
func NewSocket(c syscall.Conn) (*Socket, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return nil, err
	}
	s := &Socket{raw: raw}
	s.read.wait = func(fd uintptr) bool { return !s.in.receive(fd) }
	s.read.once = func(fd uintptr) { s.in.receive(fd) }
	s.write.wait = func(fd uintptr) bool { return !s.out.send(fd) }
	s.write.once = func(fd uintptr) { s.out.send(fd) }
	return s, nil
}

// Raw gives access to the descriptor.
func (s *Socket) Raw() syscall.RawConn { return s.raw }

// Read implements [io.Reader].
func (s *Socket) Read(p []byte) (int, error) {
	s.in = transfer{p: p}
	err := s.raw.Read(s.read.wait)
	return s.in.end(err)
}

// TryRead is Read without waiting; again tells that there is nothing now.
// Deadlines do not matter to it.
func (s *Socket) TryRead(p []byte) (n int, again bool, err error) {
	s.in = transfer{p: p}
	err = s.raw.Control(s.read.once)
	again = s.in.again
	n, err = s.in.end(err)
	return n, again, err
}

// Write implements [io.Writer].
func (s *Socket) Write(p []byte) (int, error) {
	s.out = transfer{p: p}
	err := s.raw.Write(s.write.wait)
	return s.out.end(err)
}

// TryWrite writes what the socket takes at once. Deadlines do not matter to it.
func (s *Socket) TryWrite(p []byte) (int, error) {
	s.out = transfer{p: p}
	err := s.raw.Control(s.write.once)
	return s.out.end(err)
}

func (t *transfer) receive(fd uintptr) (again bool) {
	t.n, t.again, t.err = Read(fd, t.p)
	if t.n == 0 && t.err == nil && !t.again && len(t.p) > 0 {
		t.err = io.EOF
	}
	return t.again
}

func (t *transfer) send(fd uintptr) (again bool) {
	for t.again = false; t.n < len(t.p) && t.err == nil && !t.again; {
		var n int
		n, t.again, t.err = Write(fd, t.p[t.n:])
		t.n += n
	}
	return t.again
}

// end lets go of the bytes. err is that of the waiting.
func (t *transfer) end(err error) (int, error) {
	t.p = nil
	if err == nil {
		err = t.err
	}
	return t.n, err
}
