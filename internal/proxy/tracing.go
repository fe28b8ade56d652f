package proxy

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/vega-proxy/vega-proxy/internal/batchlog"
	"github.com/vega-proxy/vega-proxy/internal/dialect"
	"github.com/vega-proxy/vega-proxy/internal/trace"
	"github.com/vega-proxy/vega-proxy/internal/upstream"
)

func (x *exchange) traceSelf() {
	if begin := x.s.opts.Trace; begin != nil {
		x.trace = begin(x.r.Header, x.report.start)
	}
}

func (x *exchange) traceCall(c *upstream.Call) {
	if x.trace != nil {
		c.Ended = x.tryEnded
		c.Refused = x.tellRefused()
	}
}

// tellRefused is told of upstreams whose breaker refused; nil is not interested.
func (x *exchange) tellRefused() func(*upstream.Upstream) {
	if x.trace == nil {
		return nil
	}
	return func(u *upstream.Upstream) { x.trace.Refused(u.Name()) }
}

func (x *exchange) traceTry(c *upstream.Call, u *upstream.Upstream) {
	if x.trace != nil {
		c.Header = x.trace.Try(u.Name(), u.Config().URL, x.r.URL.EscapedPath(), c.Header)
	}
}

// tryEnded says what went wrong with a try: no answer, one that speaks of an
// error, or one that broke off.
func (x *exchange) tryEnded(status int, failure *upstream.Error) {
	switch r := &x.report; {
	case failure != nil:
		x.trace.TryEnded(0, string(failure.Code), failure.Message)
	case status >= http.StatusBadRequest:
		x.trace.TryEnded(status, strconv.Itoa(status), "")
	case r.ended == byError, r.ended == byTimeout:
		x.trace.TryEnded(status, string(r.code), "")
	default:
		x.trace.TryEnded(status, "", "")
	}
}

// endTrace tells the trace what is known at the end.
func (x *exchange) endTrace(now time.Time) {
	if x.trace == nil {
		return
	}
	if x.answer != nil {
		x.endAnswer() // which ends the try, if nothing else has
	}
	r, t := &x.report, &x.tally
	f := &trace.Facts{
		End:         now,
		RequestID:   x.id,
		Method:      x.r.Method,
		Scheme:      "http",
		Host:        x.r.Host,
		Path:        x.r.URL.EscapedPath(),
		Protocol:    protocol(x.r),
		Status:      r.status,
		Upstream:    x.servedBy(),
		Cache:       x.cacheStatus(),
		CacheReason: x.caching.reason,
		AnswerModel: t.summary.Model,
		Finish:      t.summary.FinishReason,
		Counted:     t.summary.Usage.Known,
		Input:       t.summary.Usage.Prompt,
		Output:      t.summary.Usage.Completion,
		Cached:      t.summary.Usage.Cached,
		Reasoning:   t.summary.Usage.Reasoning,
		EndedBy:     string(cmp.Or(r.ended, byUpstream)),
		Code:        string(r.code),
		Fault:       x.fault(),
	}
	if x.r.TLS != nil {
		f.Scheme = "https"
	}
	if x.route.Op != dialect.OpNone {
		f.Route = x.route.Op.String()
	}
	if f.Operation, f.Provider = operationOf(x.route.Op); f.Operation != "" {
		f.Model, f.Stream = x.model, x.asked.Stream
	}
	if r.status == statusClientGone {
		f.Status = 0
	}
	if x.answer != nil {
		f.Queued = x.answer.Queued
	}
	if e, ok := errors.AsType[*upstream.Error](r.err); ok {
		f.Message = e.Message
	}
	if streamed := t.framing == dialect.FramingSSE || t.framing == dialect.FramingNDJSON; streamed && !t.first.IsZero() {
		f.FirstToken, f.ToFirst = t.first, t.first.Sub(r.received)
	}
	x.trace.End(f)
}

func protocol(r *http.Request) string {
	if r.ProtoMajor == 2 {
		return "2"
	}
	return fmt.Sprintf("%d.%d", r.ProtoMajor, r.ProtoMinor)
}

// fault is the class of what went wrong with the exchange, or "". What a client
// did wrong, that it left, and that the administrator cancelled are no faults.
func (x *exchange) fault() string {
	r := &x.report
	switch {
	case r.status >= http.StatusInternalServerError && r.code == "":
		return strconv.Itoa(r.status)
	case r.ended == byError && r.refused && r.status < http.StatusInternalServerError:
		return ""
	case r.ended == byError, r.ended == byTimeout, r.ended == byShutdown:
		return string(r.code)
	case r.ended != byUpstream:
		return ""
	case x.tally.summary.HasError:
		return "error_in_answer"
	case x.outcome() == batchlog.Truncated:
		return "truncated"
	}
	return ""
}
