package trace

import (
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.opentelemetry.io/otel/trace"
	otlp "go.opentelemetry.io/proto/slim/otlp/trace/v1"
)

// spans are the exchange's own and one for each try.
func (x *Exchange) spans() []*otlp.Span {
	all := make([]*otlp.Span, 0, 1+len(x.tries))
	all = append(all, x.own())
	for i := range x.tries {
		all = append(all, x.spanOf(i))
	}
	return all
}

func (x *Exchange) own() *otlp.Span {
	f := &x.facts
	s := newSpan(x.span, x.parent, otlp.Span_SPAN_KIND_SERVER)
	s.StartTimeUnixNano, s.EndTimeUnixNano = x.nano(x.start), x.nano(f.End)
	method := methodName(f.Method)
	switch {
	case f.Operation != "":
		s.Name = strings.TrimSpace(f.Operation + " " + f.Model)
	default:
		s.Name = spanName(method, f.Route)
	}
	var a attributes
	a.method(method, f.Method)
	a.text(keyScheme, f.Scheme)
	a.text(keyPath, f.Path)
	a.text(keyRoute, f.Route)
	a.text(keyProtocol, f.Protocol)
	a.address(f.Host)
	a.some(keyStatus, int64(f.Status))
	if f.Operation != "" {
		x.genAI(&a)
	}
	a.text(keyRequestID, f.RequestID)
	a.text(keyUpstream, f.Upstream)
	a.text(keyCache, f.Cache)
	a.text(keyCacheReason, f.CacheReason)
	a.some(keyAttempts, int64(len(x.tries)))
	if len(x.refused) > 0 {
		a.texts(keyBreakerRefused, x.refused...)
	}
	if f.Queued > 0 {
		a.seconds(keyQueued, f.Queued.Seconds())
	}
	a.text(keyEndedBy, f.EndedBy)
	a.text(keyCode, f.Code)
	x.firstToken(s)
	s.Attributes = a
	failed(s, f.Fault, f.Message)
	return s
}

// genAI adds what is about models.
func (x *Exchange) genAI(a *attributes) {
	f := &x.facts
	a.text(keyOperation, f.Operation)
	a.text(keyProvider, f.Provider)
	a.text(keyModel, f.Model)
	if f.Stream {
		a.yes(keyStream)
	}
	a.text(keyAnswerModel, f.AnswerModel)
	if f.Finish != "" {
		a.texts(keyFinish, f.Finish)
	}
	if !f.FirstToken.IsZero() {
		a.seconds(keyFirstToken, f.ToFirst.Seconds())
	}
	if f.Counted {
		a.count(keyInput, f.Input)
		a.count(keyOutput, f.Output)
		a.some(keyCached, f.Cached)
		a.some(keyReasoning, f.Reasoning)
	}
}

func (x *Exchange) spanOf(i int) *otlp.Span {
	f, t := &x.facts, &x.tries[i]
	if t.end.IsZero() {
		t.end = f.End
	}
	s := newSpan(x.span.WithSpanID(t.id), x.span, otlp.Span_SPAN_KIND_CLIENT)
	s.StartTimeUnixNano, s.EndTimeUnixNano = x.nano(t.start), x.nano(t.end)
	method := methodName(f.Method)
	s.Name = spanName(method, f.Route)
	var a attributes
	a.method(method, f.Method)
	if u, err := url.Parse(t.base); err == nil { // configuration loading has checked it
		a.text(keyURL, strings.TrimSuffix(t.base, "/")+t.path)
		a.address(u.Host)
		if u.Port() == "" {
			a.count(keyPort, portOf(u.Scheme))
		}
	}
	a.some(keyStatus, int64(t.status))
	a.some(keyResend, int64(i))
	a.text(keyUpstream, t.upstream)
	a.count(keyAttempt, int64(i+1))
	a.text(keyCache, f.Cache)
	if i == len(x.tries)-1 {
		x.firstToken(s)
	}
	s.Attributes = a
	failed(s, t.fault, t.message)
	return s
}

func newSpan(span, parent trace.SpanContext, kind otlp.Span_SpanKind) *otlp.Span {
	traceID, spanID, flags := span.TraceID(), span.SpanID(), uint32(span.TraceFlags())
	s := &otlp.Span{
		TraceId:    traceID[:],
		SpanId:     spanID[:],
		TraceState: span.TraceState().String(),
		Kind:       kind,
		Flags:      flags | uint32(otlp.SpanFlags_SPAN_FLAGS_CONTEXT_HAS_IS_REMOTE_MASK),
	}
	if parent.IsValid() {
		id := parent.SpanID()
		s.ParentSpanId = id[:]
	}
	if parent.IsRemote() {
		s.Flags |= uint32(otlp.SpanFlags_SPAN_FLAGS_CONTEXT_IS_REMOTE_MASK)
	}
	return s
}

// nano counts from the exchange's start: the machine's clock may be set meanwhile.
func (x *Exchange) nano(t time.Time) uint64 {
	return uint64(x.start.UnixNano() + t.Sub(x.start).Nanoseconds())
}

// firstToken notes when the answer's first token came.
func (x *Exchange) firstToken(s *otlp.Span) {
	if at := x.facts.FirstToken; !at.IsZero() {
		s.Events = append(s.Events, &otlp.Span_Event{Name: eventFirstToken, TimeUnixNano: x.nano(at)})
	}
}

// failed marks a span that did not end well; an empty fault is none.
func failed(s *otlp.Span, fault, message string) {
	if fault == "" {
		return
	}
	a := attributes(s.Attributes)
	a.text(keyError, fault)
	s.Attributes = a
	s.Status = &otlp.Status{Code: otlp.Status_STATUS_CODE_ERROR, Message: message}
}

var methods = []string{"GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"}

// methodName keeps methods that a client invented out of the names.
func methodName(method string) string {
	if slices.Contains(methods, method) {
		return method
	}
	return "_OTHER"
}

func (a *attributes) method(name, original string) {
	a.text(keyMethod, name)
	if name != original {
		a.text(keyMethodAsIs, original)
	}
}

func spanName(method, route string) string {
	if method == "_OTHER" {
		method = "HTTP"
	}
	return strings.TrimSpace(method + " " + route)
}

// address adds a host and its port, if it has one.
func (a *attributes) address(hostport string) {
	host, port, err := net.SplitHostPort(hostport)
	if err != nil {
		host, port = strings.Trim(hostport, "[]"), ""
	}
	a.text(keyAddress, host)
	if n, err := strconv.ParseUint(port, 10, 16); err == nil {
		a.count(keyPort, int64(n))
	}
}

func portOf(scheme string) int64 {
	if scheme == "https" {
		return 443
	}
	return 80
}
