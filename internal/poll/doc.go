// Package poll tells, from few goroutines, which of many sockets have something
// to say, so that none of them needs a goroutine that waits for it.
//
// It owns the system's list of sockets and nothing of theirs: it never reads,
// writes or closes one. Whoever is told must not block, since others are told
// after it.
package poll

import "errors"

// ErrClosed is what Add returns once the loop is closed.
var ErrClosed = errors.New("the poll loop is closed")

// Interest is what a registration is told of.
type Interest uint8

const (
	// Readable is told as long as a read would not block, be it for the end.
	Readable Interest = iota
	// Hangup is told once, when the peer has sent its end or the connection
	// broke, whatever is still to be read before that.
	Hangup
)

// Watch is a registration. The zero value is none.
type Watch struct {
	ring   int
	number uint64
}

// None tells that nothing is watched.
func (w Watch) None() bool { return w.number == 0 }
