package poll

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"
	"time"
)

// Loop is one or more epoll instances, for each of which the runtime's own poller
// waits, so that no thread is blocked in it. Its methods may be called at the
// same time.
//
// Each registration has a number of its own, never used again, so that an event
// for a descriptor's former owner finds nobody.
type Loop struct{ rings []*ring }

// ring is one epoll instance and the goroutine that asks it.
type ring struct {
	file *os.File
	raw  syscall.RawConn

	mu     sync.Mutex // guards the fields below
	ready  map[uint64]func()
	last   uint64
	closed bool
}

// New returns a loop of n goroutines, that of Run among them; each socket is told
// of by one of them. On systems without epoll the error is [errors.ErrUnsupported].
func New(n int) (*Loop, error) {
	l := &Loop{}
	for range max(n, 1) {
		r, err := newRing()
		if err != nil {
			return nil, errors.Join(err, l.Close())
		}
		l.rings = append(l.rings, r)
	}
	return l, nil
}

func newRing() (*ring, error) {
	fd, err := syscall.EpollCreate1(syscall.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("epoll_create1: %w", err)
	}
	if err := syscall.SetNonblock(fd, true); err != nil { // os.NewFile asks for it
		return nil, errors.Join(fmt.Errorf("epoll: %w", err), syscall.Close(fd))
	}
	r := &ring{file: os.NewFile(uintptr(fd), "epoll"), ready: map[uint64]func(){}}
	r.raw, err = r.file.SyscallConn()
	if err == nil {
		err = r.file.SetReadDeadline(time.Time{}) // fails if the runtime cannot wait for it
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("epoll: %w", err), r.file.Close())
	}
	return r, nil
}

// Run tells until the loop is closed, and returns when nobody is told any more.
func (l *Loop) Run() {
	var wg sync.WaitGroup
	for _, r := range l.rings[1:] {
		wg.Go(r.run)
	}
	l.rings[0].run()
	wg.Wait()
}

// Close ends Run, and all registrations.
func (l *Loop) Close() error {
	var errs []error
	for _, r := range l.rings {
		r.mu.Lock()
		r.closed = true
		r.mu.Unlock()
		errs = append(errs, r.file.Close())
	}
	return errors.Join(errs...)
}

// Add has ready called when the socket has something to say. It may be called
// once more after Remove or Forget, if that was on its way.
func (l *Loop) Add(raw syscall.RawConn, what Interest, ready func()) (Watch, error) {
	const edgeTriggered = 1 << 31 // syscall.EPOLLET is negative
	events := uint32(syscall.EPOLLIN | syscall.EPOLLRDHUP)
	if what == Hangup {
		events = syscall.EPOLLRDHUP | edgeTriggered // EPOLLHUP and EPOLLERR always come too
	}
	var w Watch
	var addErr error
	err := raw.Control(func(fd uintptr) {
		w.ring = int(fd % uintptr(len(l.rings))) // the system hands descriptors out in order
		w.number, addErr = l.rings[w.ring].add(int(fd), events, ready)
	})
	if err = errors.Join(err, addErr); err != nil {
		return Watch{}, err
	}
	return w, nil
}

// Remove ends a registration of a socket that stays open.
func (l *Loop) Remove(raw syscall.RawConn, w Watch) error {
	l.Forget(w)
	var removeErr error
	err := raw.Control(func(fd uintptr) {
		removeErr = l.rings[w.ring].control(syscall.EPOLL_CTL_DEL, int(fd), &syscall.EpollEvent{})
	})
	return errors.Join(err, removeErr)
}

// Forget is Remove for a socket that is closed, which the system forgets by
// itself.
func (l *Loop) Forget(w Watch) { l.rings[w.ring].forget(w.number) }

func (r *ring) add(fd int, events uint32, ready func()) (number uint64, err error) {
	r.mu.Lock()
	if r.closed {
		r.mu.Unlock()
		return 0, ErrClosed
	}
	r.last++
	number = r.last
	r.ready[number] = ready
	r.mu.Unlock()
	e := syscall.EpollEvent{Events: events, Fd: int32(uint32(number)), Pad: int32(number >> 32)}
	if err = r.control(syscall.EPOLL_CTL_ADD, fd, &e); err != nil {
		r.forget(number)
	}
	return number, err
}

func (r *ring) forget(number uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.ready, number)
}

func (r *ring) control(op, fd int, e *syscall.EpollEvent) error {
	var ctlErr error
	err := r.raw.Control(func(epoll uintptr) { ctlErr = syscall.EpollCtl(int(epoll), op, fd, e) })
	if err = errors.Join(err, ctlErr); err != nil {
		return fmt.Errorf("epoll_ctl: %w", err)
	}
	return nil
}

func (r *ring) run() {
	var events [128]syscall.EpollEvent
	n := 0
	wait := func(epoll uintptr) bool {
		n = epollWait(epoll, events[:])
		return n > 0
	}
	for r.raw.Read(wait) == nil {
		for i := range n {
			e := &events[i]
			r.mu.Lock()
			ready := r.ready[uint64(uint32(e.Fd))|uint64(uint32(e.Pad))<<32]
			r.mu.Unlock()
			if ready != nil {
				ready()
			}
		}
	}
}
