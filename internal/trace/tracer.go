package trace

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace"
	otlp "go.opentelemetry.io/proto/slim/otlp/trace/v1"
)

const (
	queued   = 2048 // exchanges that wait for the collector
	together = 256  // exchanges sent together
	// gatherFor is how long the first of a batch waits for others.
	gatherFor = time.Second
	// attempts is how often a batch is sent before it is given up, and firstWait
	// and mostWait how long to wait in between.
	attempts  = 3
	firstWait = time.Second
	mostWait  = 10 * time.Second
	// flushFor is how long what is left may take when all ends.
	flushFor = 3 * time.Second
)

// Tracer is what all exchanges hand their spans to. It is safe for concurrent
// use.
type Tracer struct {
	sampler   sampler
	collector *collector
	queue     chan *Exchange
	spans     *prometheus.CounterVec
	log       *slog.Logger

	// Of Run's goroutine alone.
	failing bool
	lost    int // spans, since it is
}

// New makes a tracer, which sends nothing until it runs. version is the
// program's.
func New(cfg Config, version string, reg prometheus.Registerer, log *slog.Logger) (*Tracer, error) {
	c, err := newCollector(cfg.OTLPEndpoint, version, uuid.NewString())
	if err != nil {
		return nil, err
	}
	t := &Tracer{
		sampler:   newSampler(cfg.SampleRatio),
		collector: c,
		queue:     make(chan *Exchange, queued),
		spans: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "vega_trace_spans_total", Help: "Spans by what became of them.",
		}, []string{"result"}),
		log: log,
	}
	for _, result := range []string{resultExported, resultRejected, resultFailed, resultFull} {
		t.spans.WithLabelValues(result)
	}
	return t, reg.Register(t.spans)
}

// What became of a span.
const (
	resultExported = "exported"
	resultRejected = "rejected"   // by the collector
	resultFailed   = "failed"     // the collector did not take it in time
	resultFull     = "queue_full" // the collector is too slow, or dead
)

func (t *Tracer) count(result string, n int) { t.spans.WithLabelValues(result).Add(float64(n)) }

// Begin begins an exchange's part in the trace that the client's header names,
// or in a new one. Whether it is recorded is for the client to say, if it has
// begun the trace, and else for the sampler.
func (t *Tracer) Begin(h http.Header, start time.Time) *Exchange {
	x := &Exchange{tracer: t, start: start, parent: parentIn(h)}
	if x.parent.IsValid() {
		x.span = x.parent.WithSpanID(newSpanID()).WithRemote(false)
		return x
	}
	id := newTraceID()
	x.span = trace.NewSpanContext(trace.SpanContextConfig{
		TraceID:    id,
		SpanID:     newSpanID(),
		TraceFlags: trace.TraceFlags(0).WithSampled(t.sampler.takes(id)),
	})
	return x
}

func (t *Tracer) enqueue(x *Exchange) {
	select {
	case t.queue <- x:
	default:
		t.count(resultFull, 1+len(x.tries))
	}
}

// Run sends what exchanges hand over, until ctx ends and what is left is sent or
// its time is over.
func (t *Tracer) Run(ctx context.Context) error {
	defer t.collector.close()
	sending, stop := context.WithCancel(context.WithoutCancel(ctx))
	var wg sync.WaitGroup
	defer wg.Wait()
	defer stop()
	wg.Go(func() {
		<-ctx.Done()
		pause(sending, flushFor)
		stop()
	})
	for {
		batch := t.gather(ctx)
		if len(batch) == 0 {
			return nil
		}
		t.deliver(ctx, sending, batch)
	}
}

// gather waits for exchanges and returns the spans of some. It returns none when
// ctx has ended and nothing is left.
func (t *Tracer) gather(ctx context.Context) (spans []*otlp.Span) {
	var over <-chan time.Time // begins with the first
	for range together {
		x := t.next(over, ctx.Done())
		if x == nil {
			break
		}
		spans = append(spans, x.spans()...)
		if over == nil {
			over = time.After(gatherFor)
		}
	}
	return spans
}

// next waits for an exchange until one of the others is ready; what is there
// already goes before them.
func (t *Tracer) next(over <-chan time.Time, done <-chan struct{}) *Exchange {
	select {
	case x := <-t.queue:
		return x
	default:
	}
	select {
	case x := <-t.queue:
		return x
	case <-over:
	case <-done:
	}
	return nil
}

// deliver sends a batch, and again where that may help, and counts what became
// of it. Once ctx has ended it is sent once.
func (t *Tracer) deliver(ctx, sending context.Context, spans []*otlp.Span) {
	for n, wait := 1, firstWait; ; n, wait = n+1, 2*wait {
		rejected, err := t.collector.send(sending, spans)
		if err == nil {
			t.count(resultExported, len(spans)-rejected)
			t.count(resultRejected, rejected)
			t.delivered(rejected)
			return
		}
		refused, answered := errors.AsType[*refusedError](err)
		result, again := resultFailed, n < attempts
		if answered {
			wait = max(wait, refused.retryAfter)
			if !refused.again {
				result, again = resultRejected, false
			}
		}
		t.trouble(err)
		if !again || !pause(ctx, min(wait, mostWait)) {
			t.count(result, len(spans))
			t.lost += len(spans)
			return
		}
	}
}

// trouble says once that the collector does not take spans.
func (t *Tracer) trouble(err error) {
	if !t.failing {
		t.failing = true
		t.log.Warn("the collector does not take traces; what it misses is dropped and counted", "endpoint", t.collector.shown, "error", err)
	}
}

func (t *Tracer) delivered(rejected int) {
	switch {
	case rejected > 0:
		t.trouble(fmt.Errorf("it rejected %d spans of a batch", rejected))
		t.lost += rejected
	case t.failing:
		t.log.Info("the collector takes traces again", "lost_spans", t.lost)
		t.failing, t.lost = false, 0
	}
}

// pause reports whether it lasted to its end.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
