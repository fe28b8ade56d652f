package wire

import (
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
	"time"
)

// Phase is how far a round trip had come.
type Phase uint8

// The phases in order. Send includes the waiting for a blocked write; Head ends
// with the answer's final head.
const (
	Dial Phase = iota
	TLS
	Send
	Head
	Body
)

var phaseNames = [...]string{"connecting", "TLS handshake", "sending the request", "waiting for the answer", "reading the answer's body"}

func (p Phase) String() string { return phaseNames[p] }

// What Error.Timeout says.
const (
	timeoutConnect   = "connect"
	timeoutFirstByte = "first_byte"
	timeoutIdle      = "idle"
)

// Error is why a round trip or the reading of an answer's body failed.
type Error struct {
	// Backend is the host that was asked.
	Backend string
	Phase   Phase
	// Sent tells that the backend may have got the request. It is false for a
	// kept connection that ended without a byte of an answer: the backend had
	// closed it before.
	Sent bool
	// Timeout names the limit of [Config] that ended it: "connect",
	// "first_byte", "idle", or "" for none.
	Timeout string
	// Reused tells that it happened on a kept connection.
	Reused bool
	Err    error

	// stale marks what a fresh connection may cure.
	stale bool
}

func (e *Error) Error() string {
	return fmt.Sprintf("backend %s: %s: %v", e.Backend, e.Phase, e.Err)
}

// Unwrap returns Err: a [context.Cause], io.ErrUnexpectedEOF for an answer that
// was cut, or what the system said.
func (e *Error) Unwrap() error { return e.Err }

// limitError says which of our limits ran out.
type limitError struct {
	limit string
	after time.Duration
}

func (e *limitError) Error() string {
	switch {
	case e.limit == timeoutIdle:
		return fmt.Sprintf("no further byte within idle_timeout (%v)", e.after)
	case e.limit == timeoutConnect:
		return fmt.Sprintf("no connection within connect_timeout (%v)", e.after)
	}
	return fmt.Sprintf("no byte of the body within first_byte_timeout (%v)", e.after)
}

func (e *limitError) Is(target error) bool { return target == os.ErrDeadlineExceeded }

var (
	errNoAnswer   = fmt.Errorf("the connection was closed without an answer: %w", io.ErrUnexpectedEOF)
	errCut        = fmt.Errorf("the answer was cut: %w", io.ErrUnexpectedEOF)
	errBodyClosed = errors.New("read of a closed answer")
)

// malformed is an answer that breaks the protocol.
func malformed(what string) error { return fmt.Errorf("malformed answer: %s", what) }

// Improper tells that the backend did answer, with what is no answer of HTTP or goes
// beyond a limit of ours; Err says which.
func (e *Error) Improper() bool {
	return e.Phase == Head && e.Timeout == "" && !peerClosed(e.Err)
}

// peerClosed tells whether err is the other side's end of the connection, as
// opposed to a limit, a cancellation or nonsense in what it sent.
func peerClosed(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}
