//go:build linux && !race

package poll

import (
	"syscall"
	"unsafe"
)

// The runtime wakes its watchdog thread with the first system call after a rest,
// since a call may block. These do not: they are made without telling it, which
// saves that thread's waking, and its looking on, with each token. recvfrom and
// sendto do without what read and write see to for files.

func read(fd uintptr, p []byte) (int, syscall.Errno) {
	n, _, errno := syscall.RawSyscall6(syscall.SYS_RECVFROM, fd, uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)), 0, 0, 0)
	return int(n), errno
}

func write(fd uintptr, p []byte) (int, syscall.Errno) {
	n, _, errno := syscall.RawSyscall6(syscall.SYS_SENDTO, fd, uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)), syscall.MSG_NOSIGNAL, 0, 0)
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
