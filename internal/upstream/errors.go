package upstream

import "time"

// Code names what kept a request from being answered. The strings are what
// clients see in X-Vega-Error.
type Code string

const (
	NoUpstream  Code = "no_upstream"          // none serves the model
	BreakerOpen Code = "breaker_open"         // all that serve it are failing
	Overloaded  Code = "overloaded"           // all places and queues are full
	Unreachable Code = "upstream_unreachable" // no connection came about
	Timeout     Code = "upstream_timeout"     // one of the upstream's deadlines passed
	Broke       Code = "upstream_broke"       // a connection, but no whole answer
)

// Error is why Do has no answer.
type Error struct {
	Code     Code
	Upstream string // the last one asked; empty if none was
	Message  string // a sentence for the client
	// RetryAfter is when to come back; 0 is unknown.
	RetryAfter time.Duration
	// Attempts is how many tries reached a backend or tried to.
	Attempts int
	Err      error // the cause; nil for refusals
}

func (e *Error) Error() string {
	text := string(e.Code) + ": " + e.Message
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	return text
}

func (e *Error) Unwrap() error { return e.Err }
