package stream

import (
	"fmt"
	"runtime/debug"
)

// Thrown is what a turn panicked with. It is thrown again by the goroutine whose
// turn it was, since the one that took it serves others.
type Thrown struct {
	Value any
	Stack []byte // of the turn
}

func (t *Thrown) String() string { return fmt.Sprint(t.Value) }

// catch ends a turn that panics; it is for a defer.
func (c *copying) catch(more *bool) {
	if p := recover(); p != nil {
		c.thrown, *more = &Thrown{p, debug.Stack()}, false
	}
}
