//go:build unix

package poll

import "syscall"

// Read reads from a socket that does not block. again tells that there is
// nothing now; the end is 0 bytes without an error.
func Read(fd uintptr, p []byte) (n int, again bool, err error) { return ask(read, fd, p) }

// Write writes to a socket that does not block. again tells that it takes nothing
// now.
func Write(fd uintptr, p []byte) (n int, again bool, err error) { return ask(write, fd, p) }

func ask(call func(uintptr, []byte) (int, syscall.Errno), fd uintptr, p []byte) (n int, again bool, err error) {
	for {
		n, errno := call(fd, p)
		switch errno {
		case 0:
			return n, false, nil
		case syscall.EINTR:
		case syscall.EAGAIN:
			return 0, true, nil
		default:
			return 0, false, errno
		}
	}
}

// Quiet tells that a socket is open at both ends and has nothing to say. It takes
// nothing from it.
func Quiet(fd uintptr) bool {
	var one [1]byte
	for {
		if errno := peek(fd, one[:]); errno != syscall.EINTR {
			return errno == syscall.EAGAIN
		}
	}
}
