package proxy

import (
	"context"
	"time"

	"github.com/vega-proxy/vega-proxy/internal/dialect"
	"github.com/vega-proxy/vega-proxy/internal/stream"
)

// streaming is the part of an exchange that only a streamed answer has: a buffer
// before its client, and its place in the list. A nil one is an answer without.
type streaming struct {
	buffer *stream.Buffer
	live   *stream.Live
	stop   func() bool
}

// buffered puts a buffer before the client of a streamed answer.
func (x *exchange) buffered(r *stream.Relay, sink clientSink) *streaming {
	if r.Framing == stream.Bytes {
		return nil
	}
	name := x.answer.Upstream.Name()
	var gate stream.Gate
	if x.conn != nil && x.r.ProtoMajor == 1 {
		gate = x.conn
	}
	s := &streaming{buffer: stream.NewBuffer(x.s.opts.Streams[name], sink, gate, x.s.opts.Budget, x.s.opts.StreamEvents)}
	r.Buffer = s.buffer
	x.relaying = r
	s.live = x.s.opts.StreamRegistry.Add(stream.Info{
		ID:        x.id,
		Model:     x.model,
		Upstream:  name,
		Client:    x.r.RemoteAddr,
		Dialect:   x.route.Dialect.String(),
		StartedAt: x.report.start,
	}, s.buffer, func() {
		if x.cancel != nil {
			x.cancel(errCancelled)
		}
	})
	x.live = s.live
	if r.Framing == stream.SSE {
		s.buffer.Heartbeat()
	}
	// A client that is gone, or an exchange that is over, takes nothing more.
	s.stop = context.AfterFunc(x.ctx, func() { x.abandon(s) })
	return s
}

func (x *exchange) abandon(s *streaming) {
	s.buffer.Abandon()
	if x.conn != nil && x.r.ProtoMajor == 1 {
		x.conn.hurry()
	}
}

// close waits until the client has everything, unless nobody is to get it, and
// takes the stream off the list. copied is what the relay ended with. It returns
// the client's failure.
func (s *streaming) close(x *exchange, copied error) error {
	if s == nil {
		return nil
	}
	err := s.buffer.Close()
	s.stop()
	if err != nil && copied == nil {
		x.conclude(&stream.WriteError{Err: err})
	}
	x.tally.dropped = s.buffer.Dropped()
	x.s.opts.StreamRegistry.End(s.live, string(x.report.ended))
	return err
}

// heard notes the first token, for the list of streams and the metrics.
func (x *exchange) heard(signal dialect.Signal, at time.Time) {
	t := &x.tally
	if signal&dialect.Content == 0 {
		return
	}
	if t.first.IsZero() {
		t.first = at
		if x.live != nil {
			x.live.FirstToken(at.Sub(x.report.received))
		}
	} else {
		x.s.opts.Metrics.gaps.Observe(at.Sub(t.last).Seconds())
	}
	t.last = at
}
