package proxy

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/vega-proxy/vega-proxy/internal/dialect"
	"github.com/vega-proxy/vega-proxy/internal/lifetime"
	"github.com/vega-proxy/vega-proxy/internal/stream"
)

// streaming is the part of an exchange that only a streamed answer has: a buffer
// before its client, and its place in the list. A nil one is an answer without.
type streaming struct {
	buffer *stream.Buffer
	live   *stream.Live
	stop   func() bool // no more abandoning when the context ends

	mu   sync.Mutex
	over bool // the connection is no longer this stream's
}

// gated tells that the client's connection can tell when a write would block.
func (x *exchange) gated() bool { return x.conn != nil && x.r.ProtoMajor == 1 }

// buffered puts a buffer before the client of a streamed answer.
func (x *exchange) buffered(r *stream.Relay, sink clientSink, name string, settings stream.Config) *streaming {
	if r.Framing == stream.Bytes {
		return nil
	}
	if r.Length >= 0 { // the client was told: nothing may be added, or left out
		settings.HeartbeatInterval, settings.DropOnOverflow = 0, false
	}
	var gate stream.Gate
	if x.gated() {
		gate = x.conn
	}
	s := &streaming{buffer: stream.NewBuffer(settings, sink, gate, x.s.opts.Budget, x.s.opts.StreamEvents)}
	r.Buffer = s.buffer
	x.trackStream(s.buffer)
	if lead, recording := x.caching.lead, x.caching.recording; recording != nil {
		s.buffer.Needed(func() bool { return lead.Shared() && recording.Within() })
	}
	s.live = x.s.opts.StreamRegistry.Add(stream.Info{
		ID:        x.id,
		Model:     x.model,
		Upstream:  name,
		Client:    x.r.RemoteAddr,
		Dialect:   x.route.Dialect.String(),
		StartedAt: x.report.start,
	}, s.buffer, func() { x.cancelStream(s) })
	x.live = s.live
	if r.Framing == stream.SSE {
		s.buffer.Heartbeat(!x.tally.metered)
	}
	// A client that is gone, or an exchange that is over, takes nothing more.
	s.stop = lifetime.AfterFunc(x.ctx, func() { x.abandon(s, context.Cause(x.ctx)) })
	if client := x.r.Context(); x.caching.lead != nil { // others may go on without this client
		stopFlight, stopClient := s.stop, lifetime.AfterFunc(client, func() { x.abandon(s, context.Cause(client)) })
		s.stop = func() bool {
			still := stopFlight()
			return stopClient() && still
		}
	}
	return s
}

// cancelStream ends a stream for the administrator. Where there is no context to
// end, since no stream was asked for, it ends at the next event.
func (x *exchange) cancelStream(s *streaming) {
	if x.cancel != nil {
		x.cancel(errCancelled)
		return
	}
	x.abandon(s, errCancelled)
	if x.reader != nil {
		x.reader.Cut(errCancelled)
	}
}

// abandon ends a stream early. The write in progress gets a last moment, so that
// the client may still be told why.
func (x *exchange) abandon(s *streaming, cause error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over {
		return
	}
	s.buffer.Abandon(cause)
	if x.gated() {
		x.conn.hurry()
	} else if x.stalls != nil {
		x.stalls.endBy(time.Now().Add(hurryFor))
	}
}

// dropped is how many events the client will not get, so far.
func (s *streaming) dropped() int64 {
	if s == nil {
		return 0
	}
	return s.buffer.Snapshot(time.Now()).ChunksDropped
}

// close waits until the client has everything, unless nobody is to get it, and
// takes the stream off the list. copied is what the relay ended with. It returns
// the client's failure.
func (s *streaming) close(x *exchange, copied error) error {
	if s == nil {
		return copied
	}
	err := copied
	if lost := s.buffer.Close(); lost != nil && err == nil {
		err = &stream.WriteError{Err: lost}
	}
	s.mu.Lock()
	s.over = true
	s.mu.Unlock()
	if !s.stop() && err == nil {
		// All is with the client, but the connection is spoilt, and whoever
		// ended the stream was told that it is not whole.
		if cause := context.Cause(x.ctx); errors.Is(cause, errCancelled) || errors.Is(cause, errDraining) {
			err = &stream.WriteError{Err: cause}
		}
	}
	numbers := s.buffer.Snapshot(time.Now())
	x.report.bytesOut = numbers.BytesConsumed
	x.tally.dropped = numbers.ChunksDropped
	if s.buffer.Severed() {
		x.relaying.Broken = true
	}
	x.conclude(err)
	x.s.opts.StreamRegistry.End(s.live, string(x.report.ended))
	x.s.opts.Metrics.streams[x.report.ended].Inc()
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

// stallWatch is the client's side where the connection's own deadline cannot
// tell who stalls: an HTTP/2 connection is well while one of its streams waits
// for a window.
type stallWatch struct {
	http.ResponseWriter
	flusher flusher
	limit   time.Duration // 0 is none
	timer   *time.Timer
	stalled atomic.Bool

	mu         sync.Mutex
	controller *http.ResponseController // nil once the handler is about to return
}

// watchStalls bounds the writes of an answer for which nothing else does. The
// func that it returns must be called before the handler returns.
func (x *exchange) watchStalls(sink *clientSink, limit time.Duration) (stop func()) {
	if x.gated() {
		return func() {}
	}
	w := &stallWatch{
		ResponseWriter: sink.ResponseWriter,
		flusher:        sink.flusher,
		limit:          limit,
		controller:     http.NewResponseController(sink.ResponseWriter),
	}
	if w.limit > 0 {
		w.timer = time.AfterFunc(w.limit, w.cut)
		w.timer.Stop()
	}
	sink.ResponseWriter, sink.flusher = w, w
	x.stalls = w
	return w.stop
}

// watchedPiece is how much must go out within the stall timeout: within one
// write no progress is seen.
const watchedPiece = 16 << 10

func (w *stallWatch) Write(p []byte) (int, error) {
	written := 0
	for len(p) > 0 {
		piece := p[:min(len(p), watchedPiece)]
		w.begin()
		n, err := w.ResponseWriter.Write(piece)
		w.end()
		written += n
		if err != nil {
			return written, err
		}
		p = p[len(piece):]
	}
	return written, nil
}

func (w *stallWatch) FlushError() error {
	w.begin()
	defer w.end()
	return w.flusher.FlushError()
}

func (w *stallWatch) begin() {
	if w.timer != nil {
		w.timer.Reset(w.limit)
	}
}

func (w *stallWatch) end() {
	if w.timer != nil {
		w.timer.Stop()
	}
}

func (w *stallWatch) cut() {
	w.stalled.Store(true)
	w.endBy(time.Now())
}

// endBy has writes fail from then on.
func (w *stallWatch) endBy(t time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.controller != nil {
		_ = w.controller.SetWriteDeadline(t) // a writer without deadlines waits for its client
	}
}

func (w *stallWatch) stop() {
	w.end()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.controller = nil
}

// stalled tells that the client was cut off since it took nothing.
func (x *exchange) stalled() bool {
	return x.conn != nil && x.conn.stalled.Load() || x.stalls != nil && x.stalls.stalled.Load()
}
