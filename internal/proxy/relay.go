package proxy

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/vega-proxy/vega-proxy/internal/dialect"
	"github.com/vega-proxy/vega-proxy/internal/resilience"
	"github.com/vega-proxy/vega-proxy/internal/stream"
	"github.com/vega-proxy/vega-proxy/internal/upstream"
	"github.com/vega-proxy/vega-proxy/internal/upstream/wire"
)

// tally is what is read off an answer in passing.
type tally struct {
	framing dialect.Framing
	metered bool // a good answer of generate or embed, in plain sight
	status  int
	begun   bool // the first event without an error has come

	first, last time.Time // of the events with content

	// seen is the body as far as it must be read whole: of a JSON answer all,
	// up to maxWhole; of an error answer its beginning.
	seen  bytes.Buffer
	whole bool // seen has every byte so far
	read  bool // the meter has read the body: it came in one piece

	dropped  int64 // events that the client did not get
	oversize bool  // an event was too long to be read

	outcome resilience.Outcome
	cause   string
	summary dialect.Summary
}

const (
	// maxWhole is the longest JSON answer that is read for its meaning. A longer
	// one passes all the same.
	maxWhole = 8 << 20
	// maxBlame is how much of an error answer is read to learn whose fault it is.
	maxBlame = 4 << 10
)

// relay passes the answer on and judges it.
func (x *exchange) relay() (abort bool) {
	x.work(stepPassHead)
	x.trackAnswer()
	a := x.answer
	x.report.status = a.Status
	x.begun()
	x.inbound(a.Header)
	x.frame()
	x.rest()
	bodiless := x.r.Method == http.MethodHead || a.Status == http.StatusNoContent || a.Status == http.StatusNotModified
	x.w.WriteHeader(a.Status)
	sink := clientSink{ResponseWriter: x.w, flusher: flusherOf(x.w)}
	if client := x.r.Context(); client.Err() != nil && x.caching.lead != nil {
		sink.ResponseWriter = absent{x.w, context.Cause(client)} // the answer is for the others alone
	}
	if bodiless {
		x.report.ended = byUpstream
		x.settle(nil, nil)
		x.settled(true, nil, false, 0)
		return false
	}
	if a.Length != 0 && !a.Body.Ready() || a.Length < 0 && x.r.ProtoMajor == 2 {
		// The head came alone: the client's clock for it is running. Should the
		// client be gone, the first write of the body will tell. And over HTTP/2
		// net/http would count a short body and add its length.
		_ = sink.FlushError()
	}
	settings := x.rules.stream(a.Upstream.Name())
	defer x.watchStalls(&sink, settings.WriteStallTimeout)()
	r := stream.Relay{
		Framing:  splitting(x.tally.framing),
		Length:   a.Length,
		MaxEvent: int(settings.MaxEventBytes),
		Event:    x.event,
		Piece:    x.piece,
		Last:     x.last,
		Settle:   x.recordFirst, // SDKs stop at what is unsettled
		Pass:     x.passing,
		Room:     x.room,
		Finish:   a.Upstream.FinishesAlone() || x.caching.lead != nil,
		Gone:     x.leave,
	}
	if x.conn != nil {
		x.conn.stall.Store(int64(settings.WriteStallTimeout))
	}
	x.relaying = &r
	streaming := x.buffered(&r, sink, a.Upstream.Name(), settings)
	defer streaming.unwind(x)
	err := r.Copy(sink, a.Body)
	x.work(stepSettle)
	x.report.bytesRead, x.report.bytesOut = r.BytesIn, r.BytesOut
	x.conclude(err)
	x.settle(&r, err)
	x.tally.dropped = streaming.dropped()
	x.settled(r.Ended, err, r.Broken, r.Events)
	x.endAnswer() // the upstream's place is free, however slow the client is
	x.rest()
	if err = streaming.close(x, err); err == nil {
		for name, values := range a.Trailer {
			x.w.Header()[http.TrailerPrefix+name] = values
		}
		return false
	}
	x.cut(sink, &r, a.Upstream.Name())
	return true
}

// frame decides how the answer is read, and passes on how its length is told.
func (x *exchange) frame() {
	a, h := x.answer, x.w.Header()
	encoded := len(h["Content-Encoding"]) > 0 && h.Get("Content-Encoding") != "identity"
	t := &x.tally
	t.status, t.whole = a.Status, true
	t.framing = dialect.FramingOf(h.Get("Content-Type"))
	if encoded {
		t.framing = dialect.FramingNone
	}
	t.metered = x.parsed && !encoded && a.Status == http.StatusOK
	if t.metered {
		if t.framing == dialect.FramingNone { // a forgotten type, or no answer of a model at all
			t.framing = dialect.FramingJSON
		}
		x.meter.Reset(x.route, t.framing)
	}
	switch {
	case a.Length >= 0:
		if len(h["Content-Length"]) != 1 {
			h["Content-Length"] = []string{strconv.FormatInt(a.Length, 10)}
		}
	case x.r.ProtoMajor == 1 && x.r.ProtoMinor == 1:
		h["Transfer-Encoding"] = []string{"chunked"} // else net/http counts short bodies and adds a length
	}
}

func splitting(f dialect.Framing) stream.Framing {
	switch f {
	case dialect.FramingSSE:
		return stream.SSE
	case dialect.FramingNDJSON:
		return stream.NDJSON
	}
	return stream.Bytes
}

// event reads an event in passing, before it goes out.
func (x *exchange) event(ev []byte, at time.Time) {
	t := &x.tally
	if !t.metered {
		x.begin()
		return
	}
	signal := x.meter.Event(ev)
	x.keep(ev)
	x.heard(signal, at)
	if signal&(dialect.ErrorObject|dialect.Terminal) != 0 {
		x.relaying.Keep, x.relaying.Unsettled = true, true
	}
	if signal&dialect.ErrorObject == 0 && ev[0] != ':' {
		x.begin()
	}
}

// begin tells the breaker once that a stream has begun well.
func (x *exchange) begin() {
	if !x.tally.begun && x.answer != nil && x.tally.status == http.StatusOK && x.parsed {
		x.answer.FirstGood()
	}
	x.tally.begun = true
}

// piece keeps what of a body without events must be understood later.
func (x *exchange) piece(p []byte, _ time.Time) {
	t := &x.tally
	if x.parsed {
		x.keep(p)
	}
	if x.relaying.Framing != stream.Bytes {
		t.oversize = true // a part of an event, which nobody reads
	}
	limit := 0
	switch {
	case t.metered && t.framing == dialect.FramingJSON:
		limit = maxWhole
	case t.status >= http.StatusBadRequest:
		limit = maxBlame
	}
	if t.metered && int64(len(p)) == x.relaying.Length && len(p) <= limit {
		x.meter.Whole(p)
		t.read = true
		return
	}
	if room := limit - t.seen.Len(); len(p) > room {
		t.whole = false
		p = p[:max(room, 0)]
	}
	t.seen.Write(p)
}

// last is told when the answer's last bytes are about to go out.
func (x *exchange) last(goOn func()) {
	x.understand()
	if x.live != nil { // the client has it all only when its buffer is closed
		goOn = nil
	} else {
		x.settled(true, nil, false, 0) // who asks again when it has the answer is to find it
	}
	x.record(goOn)
}

// understand reads off the whole answer what it says.
func (x *exchange) understand() {
	t := &x.tally
	if !t.metered {
		return
	}
	if t.framing == dialect.FramingJSON && t.whole && !t.read {
		t.read = true
		x.meter.Whole(t.seen.Bytes())
	}
	t.summary = x.meter.Summary()
}

// conclude says which side ended the exchange, and with which code.
func (x *exchange) conclude(err error) {
	r := &x.report
	_, reading := errors.AsType[*stream.ReadError](err)
	switch {
	case err == nil:
		r.ended = byUpstream
	case ours(err):
		r.ended, r.code = byError, internalError
	case x.stalled() && (!reading || x.ctx.Err() != nil): // a failed write ends the context too
		r.ended, r.code, err = byStall, clientGone, errStalled
	case x.ctx.Err() != nil:
		r.code = x.explain(context.Cause(x.ctx)).code
		r.ended = endedBy(r.code)
	case !reading, errors.Is(err, errCancelled):
		r.code = x.explain(err).code
		r.ended = endedBy(r.code)
	default:
		r.code = upstream.Broke
		if we, ok := errors.AsType[*wire.Error](err); ok && we.Timeout != "" {
			r.code = upstream.Timeout
		}
		r.ended = endedBy(r.code)
	}
	r.err = err // which explain has set to a cause
}

// settle judges the answer for the breaker.
func (x *exchange) settle(r *stream.Relay, err error) {
	t := &x.tally
	bytesIn := int64(0)
	if r != nil {
		bytesIn, t.oversize = r.BytesIn, r.Oversize
	}
	clean := err == nil || r != nil && r.Ended // also if the client left before
	if clean {
		x.understand()
	} else if t.metered {
		t.summary = x.meter.Summary()
	}
	t.outcome, t.cause = resilience.Neutral, ""
	switch {
	case x.report.ended == byError, x.report.ended == byTimeout:
		t.outcome, t.cause = resilience.Failure, err.Error()
	case !clean:
	case t.status >= http.StatusBadRequest:
		t.outcome = x.judge(x.answer.Upstream, t.status, t.seen.Bytes())
		t.cause = "status " + strconv.Itoa(t.status)
	case !x.parsed || t.status != http.StatusOK:
	case bytesIn == 0:
		t.outcome, t.cause = resilience.Failure, "an answer with an empty body"
	case t.summary.HasError:
		t.outcome, t.cause = resilience.Failure, "an error in the answer: "+t.summary.Error
	case !t.metered, t.unread():
		t.outcome = resilience.Success // whole, as far as can be seen
	case !t.summary.Complete:
		t.outcome, t.cause = resilience.Failure, "an answer without its terminal signal"
	default:
		t.outcome = resilience.Success
	}
}

// judge says whom an error status speaks against.
func (x *exchange) judge(u *upstream.Upstream, status int, body []byte) resilience.Outcome {
	cfg := u.Config().Breaker
	switch {
	case slices.Contains(cfg.NeutralStatuses, status), !slices.Contains(cfg.FailureStatuses, status):
		return resilience.Neutral
	case status < http.StatusInternalServerError: // somebody asked for it to count
		return resilience.Failure
	case dialect.BlameOf(x.route.Dialect, status, body) != dialect.BlameUpstream:
		return resilience.Neutral
	}
	return resilience.Failure
}

// endAnswer gives the upstream's place back with the verdict on its answer.
func (x *exchange) endAnswer() {
	x.answer.End(x.tally.outcome, x.tally.cause)
}

// cut shows the client that the answer broke off: by an event of its dialect
// where one can stand, and by the abort that follows in any case.
func (x *exchange) cut(sink clientSink, r *stream.Relay, name string) {
	if x.report.ended == byClient || x.report.ended == byStall {
		return
	}
	if r.Framing != stream.Bytes && !r.Broken {
		event := dialect.ErrorEvent(x.route, x.tally.framing, string(x.report.code), x.cutMessage(name))
		n, err := sink.Write(event)
		x.report.bytesOut += int64(n)
		if err == nil {
			_ = sink.FlushError() // the abort follows either way
		}
	}
	x.resetOld()
}

// resetOld has the coming close of a connection be seen as a cut also by a client
// that takes the connection's end for the answer's.
func (x *exchange) resetOld() {
	if x.conn != nil && x.r.ProtoAtLeast(1, 0) && !x.r.ProtoAtLeast(1, 1) {
		x.conn.reset()
	}
}

func (x *exchange) cutMessage(name string) string {
	switch x.report.code {
	case internalError:
		return "this proxy failed"
	case upstream.Timeout:
		return "the upstream " + name + " stopped sending"
	case shuttingDown:
		return "this proxy is shutting down"
	case cancelled:
		return "the administrator cancelled this stream"
	}
	return "the upstream " + name + " broke off in the middle of its answer"
}

// clientSink is the client's side of a relay.
type clientSink struct {
	http.ResponseWriter
	flusher flusher
}

type flusher interface{ FlushError() error }

// absent stands for a client that left before its answer came.
type absent struct {
	http.ResponseWriter
	cause error
}

func (a absent) Write([]byte) (int, error) { return 0, a.cause }

func (s clientSink) FlushError() error { return s.flusher.FlushError() }

// flusherOf finds the writer's flush without the search that a
// ResponseController makes at each call.
func flusherOf(w http.ResponseWriter) flusher {
	if f, ok := w.(flusher); ok {
		return f
	}
	return controllerFlush{http.NewResponseController(w)}
}

type controllerFlush struct{ rc *http.ResponseController }

func (c controllerFlush) FlushError() error { return c.rc.Flush() }
