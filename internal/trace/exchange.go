package trace

import (
	"net/http"
	"slices"
	"strings"
	"time"

	"go.opentelemetry.io/otel/trace"
)

// Exchange is one exchange's part in a trace. Its methods are called by one
// goroutine at a time; after End it belongs to the tracer.
type Exchange struct {
	tracer *Tracer
	span   trace.SpanContext
	parent trace.SpanContext // invalid if the trace begins here
	start  time.Time

	tries   []try
	refused []string // upstreams whose breakers did, each once
	facts   Facts
}

// try is one time that an upstream was asked.
type try struct {
	id         trace.SpanID
	upstream   string
	base, path string // of the URL
	start, end time.Time
	status     int
	fault      string
	message    string
}

// Facts is what is known of an exchange at its end. Empty texts and zeros are
// left out of the span.
type Facts struct {
	End time.Time

	RequestID string
	Method    string
	Scheme    string
	Host      string // as the client named it
	Path      string // without the query
	Protocol  string // its version, such as "1.1"
	Route     string // template of a known endpoint

	// Operation is the endpoint's work in the words of the conventions for
	// generative AI; empty is none of it, and then nothing below counts that is
	// about models.
	Operation string
	Provider  string
	Model     string // as asked for
	Stream    bool   // was asked for

	Status      int // of the answer; 0 if there was none
	Upstream    string
	Cache       string
	CacheReason string
	Queued      time.Duration
	FirstToken  time.Time     // of a streamed answer
	ToFirst     time.Duration // from the whole request to that
	AnswerModel string        // as the upstream calls it
	Finish      string

	Counted                          bool // by the upstream: the four are known
	Input, Output, Cached, Reasoning int64

	EndedBy string
	Code    string // the proxy's own, of a refusal or a cut
	Fault   string // the class of what went wrong; empty is nothing
	Message string // a sentence about it, without content
}

// longest is how many bytes of a text are kept: clients choose some of them.
const longest = 256

func kept(s string) string {
	return strings.ToValidUTF8(strings.Clone(s[:min(len(s), longest)]), "\uFFFD")
}

// TraceID returns the id of the trace, or "" if it is not recorded.
func (x *Exchange) TraceID() string {
	if !x.span.IsSampled() {
		return ""
	}
	return x.span.TraceID().String()
}

// Try begins a try at an upstream and returns a copy of the header to ask it
// with, which names the try as the parent of what the upstream does. The URL is
// in two parts, without the query.
func (x *Exchange) Try(upstream, base, path string, h http.Header) http.Header {
	id := newSpanID()
	if x.span.IsSampled() {
		x.tries = append(x.tries, try{id: id, upstream: upstream, base: base, path: kept(path), start: time.Now()})
	}
	return naming(x.span.WithSpanID(id).WithRemote(false), h)
}

// TryEnded ends the last try, with the status of its answer if there was one,
// and what went wrong, if something did.
func (x *Exchange) TryEnded(status int, fault, message string) {
	if n := len(x.tries); n > 0 {
		t := &x.tries[n-1]
		t.end, t.status, t.fault, t.message = time.Now(), status, fault, message
	}
}

// Refused notes that an upstream's circuit breaker kept it from being asked.
func (x *Exchange) Refused(upstream string) {
	if x.span.IsSampled() && !slices.Contains(x.refused, upstream) {
		x.refused = append(x.refused, upstream)
	}
}

// End hands the exchange to the collector's queue, if it is recorded and there
// is room. It does not wait.
func (x *Exchange) End(f *Facts) {
	if !x.span.IsSampled() {
		return
	}
	x.facts = *f
	f = &x.facts
	for _, text := range []*string{&f.RequestID, &f.Method, &f.Host, &f.Path, &f.Model, &f.AnswerModel, &f.Finish, &f.Message} {
		*text = kept(*text) // the request's memory is not held
	}
	x.tracer.enqueue(x)
}
