package front

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"
	"time"
)

// watcher tells connections that their client has gone, without reading: a read
// could take the beginning of the next request. It is one epoll instance, which
// the runtime's own poller waits for, so that no thread is blocked in it.
//
// Each registration has a number of its own, never used again, so that an event
// for a descriptor's former owner finds nobody.
type watcher struct {
	file *os.File
	raw  syscall.RawConn

	mu    sync.Mutex // guards the fields below
	conns map[uint64]*conn
	last  uint64
}

const edgeTriggered = 1 << 31 // syscall.EPOLLET is negative

func newWatcher() (*watcher, error) {
	fd, err := syscall.EpollCreate1(syscall.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("epoll_create1: %w", err)
	}
	if err := syscall.SetNonblock(fd, true); err != nil { // os.NewFile asks for it
		return nil, errors.Join(fmt.Errorf("epoll: %w", err), syscall.Close(fd))
	}
	w := &watcher{file: os.NewFile(uintptr(fd), "epoll"), conns: map[uint64]*conn{}}
	w.raw, err = w.file.SyscallConn()
	if err == nil {
		err = w.file.SetReadDeadline(time.Time{}) // fails if the runtime cannot wait for it
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("epoll: %w", err), w.file.Close())
	}
	return w, nil
}

// add watches c's socket until it is closed or removed.
func (w *watcher) add(c *conn) error {
	w.mu.Lock()
	w.last++
	c.watched = w.last
	w.conns[c.watched] = c
	w.mu.Unlock()
	e := syscall.EpollEvent{
		Events: syscall.EPOLLRDHUP | edgeTriggered, // EPOLLHUP and EPOLLERR always come too
		Fd:     int32(uint32(c.watched)), Pad: int32(c.watched >> 32),
	}
	err := w.control(c, syscall.EPOLL_CTL_ADD, &e)
	if err != nil {
		w.forget(c)
	}
	return err
}

// remove ends the watch on a socket that stays open.
func (w *watcher) remove(c *conn) error {
	w.forget(c)
	return w.control(c, syscall.EPOLL_CTL_DEL, &syscall.EpollEvent{})
}

// forget is for a socket that is closed, which epoll forgets by itself.
func (w *watcher) forget(c *conn) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.conns, c.watched)
	c.watched = 0
}

func (w *watcher) control(c *conn, op int, e *syscall.EpollEvent) error {
	var ctlErr error
	err := c.raw.Control(func(fd uintptr) {
		err := w.raw.Control(func(epoll uintptr) { ctlErr = syscall.EpollCtl(int(epoll), op, int(fd), e) })
		if ctlErr == nil {
			ctlErr = err
		}
	})
	return errors.Join(err, ctlErr)
}

// run tells until the watcher is closed.
func (w *watcher) run() {
	var events [128]syscall.EpollEvent
	n := 0
	wait := func(fd uintptr) bool {
		var err error
		n, err = syscall.EpollWait(int(fd), events[:], 0)
		return n > 0 || err != nil && err != syscall.EINTR
	}
	for w.raw.Read(wait) == nil {
		for i := range n {
			e := &events[i]
			w.mu.Lock()
			c := w.conns[uint64(uint32(e.Fd))|uint64(uint32(e.Pad))<<32]
			w.mu.Unlock()
			if c != nil {
				c.gone()
			}
		}
	}
}

func (w *watcher) close() error { return w.file.Close() }

// readSocket is read(2).
func readSocket(fd uintptr, p []byte) (n int, again bool, err error) {
	for {
		n, err = syscall.Read(int(fd), p)
		switch err {
		case syscall.EINTR:
		case syscall.EAGAIN:
			return 0, true, nil
		default:
			return max(n, 0), false, err
		}
	}
}
