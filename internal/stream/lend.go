package stream

import "sync"

// Buffers are borrowed for a read and given back as soon as nothing of it is
// held, so that a stream that waits for its next token holds none.
const (
	smallBuffer = 4 << 10  // holds any usual event
	largeBuffer = 64 << 10 // for bodies that fill the small one: fewer system calls a megabyte
)

var (
	smallBuffers = sync.Pool{New: func() any { return new([smallBuffer]byte) }}
	largeBuffers = sync.Pool{New: func() any { return new([largeBuffer]byte) }}
)

// borrow returns a buffer of at least size bytes; beyond largeBuffer it is made
// anew and left to the garbage collector.
func borrow(size int) []byte {
	switch {
	case size <= smallBuffer:
		return smallBuffers.Get().(*[smallBuffer]byte)[:]
	case size <= largeBuffer:
		return largeBuffers.Get().(*[largeBuffer]byte)[:]
	default:
		return make([]byte, size)
	}
}

// giveBack ends the loan of a buffer that borrow returned.
func giveBack(b []byte) {
	switch cap(b) {
	case smallBuffer:
		smallBuffers.Put((*[smallBuffer]byte)(b[:smallBuffer]))
	case largeBuffer:
		largeBuffers.Put((*[largeBuffer]byte)(b[:largeBuffer]))
	}
}
