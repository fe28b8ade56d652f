//go:build linux && race

package poll

import "syscall"

func epollWait(epoll uintptr, events []syscall.EpollEvent) int {
	n, _ := syscall.EpollWait(int(epoll), events, 0) // it is asked again
	return n
}
