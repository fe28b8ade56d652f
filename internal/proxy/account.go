package proxy

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/vega-proxy/vega-proxy/internal/dialect"
)

// account counts the exchange and writes its line, when all is over.
func (x *exchange) account() {
	x.work(stepAccount)
	now := time.Now()
	m, r, t := x.s.opts.Metrics, &x.report, &x.tally
	upstream := x.servedBy()
	model := ""
	if x.parsed {
		model = m.modelLabel(x.model)
	}
	label := x.upstreamLabel(upstream)
	s := m.seriesOf(seriesKey{op: x.route.Op, status: knownStatus(r.status), upstream: label, model: model, cache: x.cacheStatus()})
	s.requests.Inc()
	s.duration.Observe(now.Sub(r.start).Seconds())
	m.ended[r.ended].Inc()
	if r.code != "" {
		m.errors[r.code].Inc()
	}
	m.bytesIn.Add(float64(r.bytesRead))
	m.bytesOut.Add(float64(r.bytesOut))
	if x.answer != nil && x.answer.Queued > 0 {
		m.queued.WithLabelValues(label).Observe(x.answer.Queued.Seconds())
	}
	streamed := t.framing == dialect.FramingSSE || t.framing == dialect.FramingNDJSON
	if streamed && !t.first.IsZero() {
		s.firstToken.Observe(t.first.Sub(r.received).Seconds())
		if n := t.summary.Usage.Completion; n > 1 {
			s.perToken.Observe(t.last.Sub(t.first).Seconds() / float64(n-1))
		}
	}
	if t.summary.Usage.Known {
		s.prompt.Observe(float64(t.summary.Usage.Prompt))
		if x.route.Kind == dialect.KindGenerate {
			s.completion.Observe(float64(t.summary.Usage.Completion))
		}
	}
	x.see()
	x.tellTiming(now)
	x.amend(now)
	x.work(stepLog)
	x.clearFor()
	x.log(now, upstream, streamed)
	x.endTrace(now)
}

// see counts the exchange to its session, if it has one.
func (x *exchange) see() {
	if x.s.opts.Seen == nil || x.report.refused {
		return
	}
	if id := x.sessionID(); id != "" {
		usage := &x.tally.summary.Usage
		x.s.opts.Seen(id, x.bytesIn()+x.report.bytesOut, usage.Prompt+usage.Completion)
	}
}

// removedUpstream is the label of those that are no longer configured, whose own
// series are gone.
const removedUpstream = "removed"

// upstreamLabel is an upstream's name as a label.
func (x *exchange) upstreamLabel(name string) string {
	now := x.s.rules.Load()
	if now == x.rules && x.answer != nil || name == "" {
		return name
	}
	if _, configured := now.Streams[name]; !configured {
		return removedUpstream
	}
	return name
}

// knownStatus keeps an upstream's invented statuses out of the labels.
func knownStatus(status int) int {
	if status < 100 || status > 599 {
		return 0
	}
	return status
}

// log writes the exchange's one line. It never holds a prompt, a header or the
// query: credentials live there.
func (x *exchange) log(now time.Time, upstream string, streamed bool) {
	r, t := &x.report, &x.tally
	if !x.s.opts.Log.Enabled(context.Background(), slog.LevelInfo) {
		return
	}
	room := attrRooms.Get().(*[20]slog.Attr)
	defer attrRooms.Put(room)
	attrs := append(room[:0],
		slog.String("request_id", x.id),
		slog.String("method", x.r.Method),
		slog.String("path", x.r.URL.EscapedPath()),
		slog.Int("status", r.status),
		slog.String("ended_by", string(r.ended)),
		slog.Float64("duration_ms", milliseconds(now.Sub(r.start))),
		slog.Int64("bytes_in", x.bytesIn()),
		slog.Int64("bytes_out", r.bytesOut),
	)
	attrs = append(attrs, slog.String("cache", x.cacheStatus()))
	if x.trace != nil {
		if id := x.trace.TraceID(); id != "" {
			attrs = append(attrs, slog.String("trace_id", id))
		}
	}
	if upstream != "" {
		attrs = append(attrs, slog.String("upstream", upstream))
	}
	if x.model != "" {
		attrs = append(attrs, slog.String("model", x.model))
	}
	if r.code != "" {
		attrs = append(attrs, slog.String("code", string(r.code)))
	}
	if r.err != nil {
		attrs = append(attrs, slog.String("error", r.err.Error()))
	}
	if n := x.attempts(); n > 0 {
		attrs = append(attrs, slog.Int("attempts", n))
	}
	if x.answer != nil && x.answer.Queued > 0 {
		attrs = append(attrs, slog.Float64("queued_ms", milliseconds(x.answer.Queued)))
	}
	if streamed {
		attrs = append(attrs, slog.Bool("streamed", true))
		if t.dropped > 0 {
			attrs = append(attrs, slog.Int64("dropped_events", t.dropped))
		}
		if !t.first.IsZero() {
			attrs = append(attrs, slog.Float64("time_to_first_token_ms", milliseconds(t.first.Sub(r.received))))
		}
	}
	if t.summary.FinishReason != "" {
		attrs = append(attrs, slog.String("finish_reason", t.summary.FinishReason))
	}
	if t.summary.Usage.Known {
		attrs = append(attrs, slog.Int64("prompt_tokens", t.summary.Usage.Prompt), slog.Int64("completion_tokens", t.summary.Usage.Completion))
	}
	// As a group without a name they stand in the line as if they had been given
	// one by one, and the record need not keep them. A logger's own method would
	// look up who called it, which this line does not show.
	line := slog.NewRecord(now, slog.LevelInfo, "exchange", 0)
	line.AddAttrs(slog.Attr{Value: slog.GroupValue(attrs...)})
	_ = x.s.opts.Log.Handler().Handle(context.Background(), line) // a log that fails must not fail an exchange
}

// attrRooms lends the room for a line's attributes: a handler keeps none of them.
var attrRooms = sync.Pool{New: func() any { return new([20]slog.Attr) }}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
