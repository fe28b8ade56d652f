package trace

import (
	"context"
	"encoding/binary"
	"maps"
	"math/rand/v2"
	"net/http"
	"strings"

	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// The headers of W3C Trace Context, as net/http spells them.
const (
	headerParent = "Traceparent"
	headerState  = "Tracestate"
)

// parentIn reads the span that a client's header names as its own. One that
// cannot be read is none, and what goes with it does not count either.
func parentIn(h http.Header) trace.SpanContext {
	if len(h[headerParent]) != 1 {
		return trace.SpanContext{}
	}
	carrier := propagation.MapCarrier{
		"traceparent": h[headerParent][0],
		"tracestate":  strings.Clone(strings.Join(h[headerState], ",")), // not with all of the head behind it
	}
	return trace.SpanContextFromContext(propagation.TraceContext{}.Extract(context.Background(), carrier))
}

// naming is a copy of a header that names the span as its sender.
func naming(span trace.SpanContext, h http.Header) http.Header {
	named := make(http.Header, len(h)+2)
	maps.Copy(named, h)
	delete(named, headerState)
	propagation.TraceContext{}.Inject(trace.ContextWithSpanContext(context.Background(), span), propagation.HeaderCarrier(named))
	return named
}

func newTraceID() (id trace.TraceID) {
	for !id.IsValid() {
		binary.BigEndian.PutUint64(id[:8], rand.Uint64())
		binary.BigEndian.PutUint64(id[8:], rand.Uint64())
	}
	return id
}

func newSpanID() (id trace.SpanID) {
	for !id.IsValid() {
		binary.BigEndian.PutUint64(id[:], rand.Uint64())
	}
	return id
}

// sampler takes a share of all traces by their ids, as OpenTelemetry's own does:
// whoever uses the same ratio takes the same ones.
type sampler struct{ below uint64 }

func newSampler(ratio float64) sampler { return sampler{uint64(ratio * (1 << 63))} }

func (s sampler) takes(id trace.TraceID) bool { return binary.BigEndian.Uint64(id[8:])>>1 < s.below }
