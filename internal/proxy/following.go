package proxy

import (
	"context"
	"errors"
	"maps"

	"github.com/vega-proxy/vega-proxy/internal/cache"
	"github.com/vega-proxy/vega-proxy/internal/dialect"
	"github.com/vega-proxy/vega-proxy/internal/lifetime"
	"github.com/vega-proxy/vega-proxy/internal/stream"
	"github.com/vega-proxy/vega-proxy/internal/upstream"
)

// follow answers with another request's answer, which may still be on its way.
func (x *exchange) follow(f *cache.Follower) (abort bool) {
	for {
		answer, reader, err := f.Answer()
		if err == nil {
			defer f.Close()
			return x.share(answer, reader)
		}
		if !errors.Is(err, cache.ErrAgain) {
			f.Close()
			if e := x.stale(err); e != nil {
				return x.replay(e, cacheStale)
			}
			if e, ok := errors.AsType[*upstream.Error](err); ok && e.Upstream != "" { // the one that the leader asked
				x.caching.status, x.caching.reason, x.report.served = cacheCoalesced, "", e.Upstream
			}
			return x.refuse(x.explain(err))
		}
		turn := f.Again()
		if turn.Follower == nil {
			return x.take(turn)
		}
		f = turn.Follower
	}
}

// share passes on what the reader gives: what has come so far, then what comes.
func (x *exchange) share(answer *cache.Answer, reader *stream.Reader) (abort bool) {
	x.caching.status, x.caching.reason = cacheCoalesced, ""
	t := &x.tally
	x.report.status, x.report.served = answer.Status, answer.Upstream
	to := x.w.Header()
	maps.Copy(to, answer.Header)
	t.status, t.whole = answer.Status, true
	t.framing = dialect.FramingOf(to.Get("Content-Type"))
	t.metered = answer.Status == 200
	if t.metered {
		x.meter.Reset(x.route, t.framing)
	}
	x.head(to, answer.Length, false)
	x.w.WriteHeader(answer.Status)
	settings := x.rules.stream(answer.Upstream)
	if x.conn != nil {
		x.conn.stall.Store(int64(settings.WriteStallTimeout))
	}
	sink := clientSink{ResponseWriter: x.w, flusher: flusherOf(x.w)}
	if answer.Length != 0 && !reader.Ready() {
		_ = sink.FlushError() // as for the leader: the head came alone
	}
	r := stream.Relay{
		Framing:  splitting(t.framing),
		Length:   answer.Length,
		MaxEvent: int(settings.MaxEventBytes),
		Event:    x.event,
		Piece:    x.piece,
		Settle:   x.recordFirst,
		Last:     x.last,
	}
	x.relaying, x.reader = &r, reader
	defer x.watchStalls(&sink, settings.WriteStallTimeout)()
	streaming := x.buffered(&r, sink, answer.Upstream, settings)
	defer streaming.unwind(x)
	err := r.Copy(sink, reader)
	x.report.bytesOut = r.BytesOut
	x.conclude(err)
	t.oversize = r.Oversize
	if err = streaming.close(x, err); err == nil {
		return false
	}
	r.Broken = r.Broken || reader.Broken()
	x.cut(sink, &r, answer.Upstream)
	return true
}

// leave tells the flight that this client gets nothing more. Others may.
func (x *exchange) leave() {
	if x.caching.lead == nil {
		return
	}
	u := x.asking.Load()
	x.caching.lead.Leave(u != nil && u.FinishesAlone())
}

// watchFlight makes the flight's context the exchange's. stop ends the watch over the
// client; the flight is still to be closed.
func (x *exchange) watchFlight(lead *cache.Lead) (stop func() bool) {
	x.caching.lead = lead
	x.trackFlight()
	x.ctx, x.cancel = lead.Context(), lead.Cancel
	client := x.r.Context()
	return lifetime.AfterFunc(client, func() {
		if cause := context.Cause(client); errors.Is(cause, errDraining) {
			lead.Cancel(cause)
			return
		}
		x.leave()
	})
}
