// Package dialect knows what the bytes mean: which endpoint a path is, what the
// body of a request asks for, what an event of an answer says, whether an answer
// is whole, whose fault an error is, and how to word an error of our own so that
// the caller's SDK raises it.
//
// Everything here is a pure function over bytes, or a value that one goroutine
// feeds. The package does no I/O, starts no goroutine, keeps no state between
// calls, holds on to none of the bytes it is given, and never changes them. It
// does not decide policy: it says that a request is stateful, not that it must
// not be cached.
//
// Nothing that is read here may fail an exchange. What cannot be understood is
// reported as absent, in time linear in its length and at any depth of nesting.
package dialect
