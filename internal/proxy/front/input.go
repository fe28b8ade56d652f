package front

import "sync"

// inputSize is how much is read at once, and the longest head.
const inputSize = 8 << 10

// input is what has been read of a connection and not been served, with the head
// at its beginning. It is held only while there is something in it.
type input struct {
	data [inputSize]byte
	n    int
	head head
}

var inputs = sync.Pool{New: func() any { return new(input) }}

func borrowInput() *input {
	in := inputs.Get().(*input)
	in.n, in.head = 0, head{}
	return in
}

func giveBackInput(in *input) { inputs.Put(in) }

// Buffers for bodies that do not fit behind their head.
const (
	smallBody = 16 << 10
	largeBody = 64 << 10
)

var (
	smallBodies = sync.Pool{New: func() any { return new([smallBody]byte) }}
	largeBodies = sync.Pool{New: func() any { return new([largeBody]byte) }}
)

// borrowBody returns n bytes; beyond largeBody they are made anew and left to
// the garbage collector.
func borrowBody(n int) []byte {
	switch {
	case n <= smallBody:
		return smallBodies.Get().(*[smallBody]byte)[:n]
	case n <= largeBody:
		return largeBodies.Get().(*[largeBody]byte)[:n]
	}
	return make([]byte, n)
}

func giveBackBody(b []byte) {
	switch cap(b) {
	case smallBody:
		smallBodies.Put((*[smallBody]byte)(b[:smallBody]))
	case largeBody:
		largeBodies.Put((*[largeBody]byte)(b[:largeBody]))
	}
}
