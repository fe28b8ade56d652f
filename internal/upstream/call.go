package upstream

import (
	"context"
	"errors"
	"io"
	"maps"
	"net/http"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/vega-proxy/vega-proxy/internal/resilience"
	"github.com/vega-proxy/vega-proxy/internal/upstream/wire"
)

// Retry says how far a request may be repeated when it fails before an answer
// began.
type Retry uint8

const (
	// RetryNever: one try at one upstream.
	RetryNever Retry = iota
	// RetryUnsent: elsewhere, if no backend can have seen it.
	RetryUnsent
	// RetryElsewhere: also if a backend may have begun, but not at the same one.
	RetryElsewhere
	// RetryAnywhere: also at the same one; the request changes nothing.
	RetryAnywhere
)

// Call is one request on its way to whichever upstream gets it.
type Call struct {
	Method string
	Target string      // path and query as the client sent them
	Header http.Header // end-to-end headers, the client's credentials among them; not changed by Do

	Body       []byte    // the whole body, or
	Stream     io.Reader // one that is passed on as it comes
	Length     int64     // of Stream; -1 is unknown
	StopStream func()    // makes a blocked read of Stream return
	Trailer    func() http.Header

	Upgrade       string
	Informational func(status int, h http.Header)

	// Prepare, if not nil, is called once before the first try, and fills in what
	// a call that is refused need not have: Header and Upgrade.
	Prepare func(*Call)
	// Chosen is told which upstream is about to be asked, and may give the call
	// another header for it. May be nil.
	Chosen func(*Call, *Upstream)
	// Ended is told how the try at the upstream that was chosen last ended: with
	// the status of an answer that its reader is done with, with a failure, or
	// with neither if the call was given up. May be nil.
	Ended func(status int, failure *Error)
	// Refused is told of upstreams that are not asked since their breaker is
	// open. May be nil.
	Refused func(*Upstream)

	Model string
	Retry Retry
	// Judge says whom an answer speaks against, from its status and the
	// beginning of its body.
	Judge func(u *Upstream, status int, body []byte) resilience.Outcome
}

// Answer is a backend's answer whose head has arrived. Its owner reads the body
// and calls End exactly when it is done with it, whatever happened.
type Answer struct {
	*wire.Response
	// Body shadows the response's, of which a beginning may have been read.
	Body     Body
	Upstream *Upstream
	// Attempts is the number of tries, this one included.
	Attempts int
	// Queued is how long the request waited for a place.
	Queued time.Duration

	permit *resilience.Permit
	told   func(status int, failure *Error) // the call's Ended
	ended  atomic.Bool
}

// peek reads the beginning of the body and puts it back.
func (a *Answer) peek() []byte {
	head := make([]byte, 4<<10)
	n, err := io.ReadFull(a.Body, head)
	if errors.Is(err, io.ErrUnexpectedEOF) && n > 0 {
		err = io.EOF
	}
	a.Body = &replayed{Body: a.Body, head: head[:n], err: err}
	return head[:n]
}

// replayed is a body whose beginning was read before.
type replayed struct {
	Body
	head []byte
	err  error // what reading the beginning ended with
}

func (r *replayed) Read(p []byte) (int, error) {
	switch {
	case len(r.head) > 0:
		n := copy(p, r.head)
		r.head = r.head[n:]
		return n, nil
	case r.err != nil:
		return 0, r.err
	}
	return r.Body.Read(p)
}

func (r *replayed) Wait() error {
	if len(r.head) > 0 || r.err != nil {
		return nil
	}
	return r.Body.Wait()
}

func (r *replayed) Ready() bool { return len(r.head) > 0 || r.err != nil || r.Body.Ready() }

// Body is an answer's body. Wait returns once Read will not block, and Ready
// tells whether it would now.
type Body interface {
	io.ReadCloser
	Wait() error
	Ready() bool
}

// tunnelBody is an upgraded connection, which is not read as a body.
type tunnelBody struct{ io.ReadCloser }

func (tunnelBody) Wait() error { return nil }
func (tunnelBody) Ready() bool { return false }

// FirstGood tells the breaker that an event without an error has come.
func (a *Answer) FirstGood() { a.permit.FirstGood() }

// End closes the body, gives the place back and reports the outcome with its
// cause. Only the first call counts.
func (a *Answer) End(outcome resilience.Outcome, cause string) {
	if a.ended.Swap(true) {
		return
	}
	a.Body.Close()
	a.Upstream.limiter.Release()
	a.permit.Report(outcome, cause)
	if a.told != nil {
		a.told(a.Status, nil)
	}
}

// send makes one try. On failure the place and the permit are given back, and in a
// panic, which may be one of the call's funcs.
func (u *Upstream) send(ctx context.Context, c *Call, l lease, home string) (*Answer, *Error) {
	tried := false
	defer func() {
		if !tried {
			l.giveBack()
		}
	}()
	if c.Prepare != nil {
		c.Prepare(c)
		c.Prepare = nil
	}
	if c.Chosen != nil {
		c.Chosen(c, u)
	}
	res, err := u.transport.RoundTrip(ctx, &wire.Request{
		Method:        c.Method,
		Target:        u.target(c),
		Header:        u.header(c, home),
		Body:          c.Body,
		Stream:        c.Stream,
		Length:        c.Length,
		StopStream:    c.StopStream,
		Trailer:       c.Trailer,
		Upgrade:       c.Upgrade,
		Informational: c.Informational,
	})
	tried = true
	if err == nil {
		body, ok := res.Body.(Body)
		if !ok {
			body = tunnelBody{res.Body}
		}
		return &Answer{Response: res, Body: body, Upstream: u, Queued: l.queued, permit: l.permit, told: c.Ended}, nil
	}
	u.limiter.Release()
	if ctx.Err() != nil {
		l.permit.Report(resilience.Neutral, "")
		c.ended(nil)
		return nil, &Error{Code: Broke, Upstream: u.Name(), Message: "the request was given up", Err: context.Cause(ctx)}
	}
	outcome := resilience.Failure
	if exhausted(err) {
		outcome = resilience.Neutral
	}
	l.permit.Report(outcome, err.Error())
	failure := u.explain(err)
	c.ended(failure)
	return nil, failure
}

// target is the call's target below the upstream's path. The target * is the
// server itself, whose path is none.
func (u *Upstream) target(c *Call) string {
	if c.Target == "*" {
		return "*"
	}
	return u.base + c.Target
}

// ended tells of a try without an answer.
func (c *Call) ended(failure *Error) {
	if c.Ended != nil {
		c.Ended(0, failure)
	}
}

var credentials = []string{"Authorization", "X-Api-Key", "Api-Key", "Cookie"}

// Credentials are the headers by which a client proves itself to a backend. They
// must not be changed.
func Credentials() []string { return credentials }

// header is the call's header as this upstream gets it: without the client's
// credentials if the request strayed from home, with the configured ones set.
func (u *Upstream) header(c *Call, home string) http.Header {
	strip := u.origin != home && !u.cfg.ForwardCredentials
	if len(u.headers) == 0 && !strip {
		return c.Header
	}
	h := make(http.Header, len(c.Header)+len(u.headers))
	maps.Copy(h, c.Header)
	if strip {
		for _, name := range credentials {
			delete(h, name)
		}
	}
	maps.Copy(h, u.headers)
	return h
}

// explain turns a transport's failure into the answer's code and sentence.
func (u *Upstream) explain(err error) *Error {
	e := &Error{Code: Broke, Upstream: u.Name(), Message: "the upstream " + u.Name() + " broke off before it answered", Err: err}
	we, ok := errors.AsType[*wire.Error](err)
	switch {
	case !ok:
	case we.Timeout != "":
		e.Code = Timeout
		e.Message = "the upstream " + u.Name() + " did not keep its " + we.Timeout + " timeout"
	case exhausted(err):
		e.Code = Unreachable
		e.Message = "no connection to the upstream " + u.Name() + " can be made: this process, or this machine, has no file descriptors left"
	case we.Phase == wire.Dial || we.Phase == wire.TLS:
		e.Code = Unreachable
		e.Message = "the upstream " + u.Name() + " cannot be reached"
	case we.Improper():
		e.Message = "the upstream " + u.Name() + " gave an answer that cannot be passed on: " + we.Err.Error()
	}
	return e
}

// exhausted tells that it is this process which can make no connection, or its machine.
func exhausted(err error) bool {
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE)
}

// unsent tells that no backend can have seen the request.
func unsent(err error) bool {
	we, ok := errors.AsType[*wire.Error](err)
	return ok && !we.Sent
}
