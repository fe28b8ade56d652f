//go:build linux && !race

package poll

import (
	"syscall"
	"unsafe"
)

// The runtime wakes its watchdog thread with the first system call after a rest,
// since a call may block. These do not: they are made without telling it, which
// saves that thread's waking, and its looking on, with each token.

func read(fd uintptr, p []byte) (int, syscall.Errno) {
	n, _, errno := syscall.RawSyscall(syscall.SYS_READ, fd, uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)))
	return int(n), errno
}

func write(fd uintptr, p []byte) (int, syscall.Errno) {
	n, _, errno := syscall.RawSyscall(syscall.SYS_WRITE, fd, uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)))
	return int(n), errno
}

// epollWait does not wait. What is not above 0 is no event.
func epollWait(epoll uintptr, events []syscall.EpollEvent) int {
	n, _, _ := syscall.RawSyscall6(syscall.SYS_EPOLL_PWAIT, epoll,
		uintptr(unsafe.Pointer(unsafe.SliceData(events))), uintptr(len(events)), 0, 0, 0)
	return int(n)
}

func peek(fd uintptr, p []byte) syscall.Errno {
	const flags = syscall.MSG_PEEK | syscall.MSG_DONTWAIT
	_, _, errno := syscall.RawSyscall6(syscall.SYS_RECVFROM, fd, uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)), flags, 0, 0)
	return errno
}
