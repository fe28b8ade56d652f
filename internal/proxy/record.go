package proxy

import (
	"cmp"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"github.com/vega-proxy/vega-proxy/internal/batchlog"
	"github.com/vega-proxy/vega-proxy/internal/dialect"
	"github.com/vega-proxy/vega-proxy/internal/upstream"
)

// Journal keeps what exchanges meant. Append neither fails nor waits for a
// database, and keeps none of the record's bytes after it returns. If a disk holds it
// up it calls meanwhile, unless that is nil, from another goroutine.
type Journal interface {
	Append(r *batchlog.Record, meanwhile func())
	// TakesRefusal is asked before each record of a refusal.
	TakesRefusal() bool
}

// keeping is what an exchange keeps for the journal.
type keeping struct {
	on     bool
	id     uuid.UUID
	chunks [][]byte // the answer so far
	size   int64
	held   int64 // room of the chunks, taken from the server's
	cut    bool  // not all of it is in chunks, and no more will be

	written bool // the record is in the journal
}

const (
	firstKept = 2 << 10 // holds any usual whole answer
	mostKept  = 64 << 10
)

// journalled tells whether the exchange's endpoint is one that is recorded.
func (x *exchange) journalled() bool {
	switch {
	case x.s.opts.Journal == nil:
		return false
	case x.route.Kind == dialect.KindEmbed:
		return x.rules.JournalEmbeddings
	}
	return x.route.Kind == dialect.KindGenerate
}

// allowance bounds what all exchanges hold together. It is safe for concurrent use.
type allowance struct{ used atomic.Int64 }

// take takes n bytes, unless that would be more than limit in all.
func (a *allowance) take(n, limit int64) bool {
	if a.used.Add(n) <= limit {
		return true
	}
	a.used.Add(-n)
	return false
}

func (a *allowance) give(n int64) { a.used.Add(-n) }

// keep copies bytes of the answer, up to the configured limits: of one record, and
// of all that are in the making.
func (x *exchange) keep(p []byte) {
	k := &x.keeping
	if !k.on || k.written || k.cut {
		return
	}
	if room := x.rules.MaxRecordBytes - k.size; int64(len(p)) > room {
		p, k.cut = p[:max(room, 0)], true
	}
	k.size += int64(len(p))
	if n := len(k.chunks); n > 0 {
		last := k.chunks[n-1]
		fits := min(len(p), cap(last)-len(last))
		k.chunks[n-1] = append(last, p[:fits]...)
		p = p[fits:]
	}
	if len(p) == 0 {
		return
	}
	size := firstKept
	if n := len(k.chunks); n > 0 {
		size = min(2*cap(k.chunks[n-1]), mostKept)
	}
	size = max(size, len(p))
	if !x.s.held.take(int64(size), x.rules.MaxHeldBytes) {
		k.cut = true
		return
	}
	k.held += int64(size)
	k.chunks = append(k.chunks, append(make([]byte, 0, size), p...))
}

// record puts the exchange into the journal, before the client can know that its
// answer has ended: what was served is then not lost, whatever happens next. Should
// a disk hold it up, goOn writes all that is left of the answer meanwhile; nil is
// for what cannot be ended so.
func (x *exchange) record(goOn func()) {
	k := &x.keeping
	if !k.on || k.written {
		return
	}
	k.written = true
	if x.report.refused && !x.s.opts.Journal.TakesRefusal() {
		return
	}
	x.work(stepRecord)
	defer x.rest()
	if x.tally.metered {
		x.tally.summary = x.meter.Summary()
	}
	r := x.newRecord(time.Now())
	if r.Outcome != batchlog.Rejected {
		r.RequestBody, r.Answer = x.plain, k.chunks
	}
	r.SessionID = x.sessionID()
	x.s.opts.Journal.Append(r, x.meanwhile(goOn))
	k.chunks = nil
	x.s.held.give(k.held)
	k.held = 0
}

// recordFirst is record for an answer that goes on.
func (x *exchange) recordFirst() { x.record(nil) }

// completer is an answer that can be ended before its handler returns.
type completer interface{ Complete() }

// meanwhile is what gives the client its answer to the end while this goroutine is
// held up, or nil.
func (x *exchange) meanwhile(goOn func()) func() {
	answer, ok := x.w.(completer)
	if !ok || goOn == nil {
		return nil
	}
	return func() {
		defer func() { // nobody else would, in that goroutine
			if p := recover(); p != nil {
				x.logPanic(p)
			}
		}()
		goOn()
		answer.Complete()
	}
}

// sessionID is the session that the exchange belongs to, or "". The body is looked
// through once.
func (x *exchange) sessionID() string {
	if id := dialect.SessionInHeader(x.r.Header, x.rules.SessionHeaders); id != "" {
		return id
	}
	if !x.sessionRead {
		x.session, x.sessionRead = dialect.SessionInBody(x.plain), true
	}
	return x.session
}

// amend corrects a record that said more than came true.
func (x *exchange) amend(now time.Time) {
	k := &x.keeping
	if !k.on {
		return
	}
	if !k.written {
		x.record(nil)
		return
	}
	if x.report.ended == byUpstream && x.tally.dropped == 0 {
		return
	}
	x.work(stepRecord)
	r := x.newRecord(now)
	r.Revision = 1
	x.s.opts.Journal.Append(r, nil)
}

func (x *exchange) newRecord(now time.Time) *batchlog.Record {
	r, t := &x.report, &x.tally
	rec := &batchlog.Record{
		ID:          x.keeping.id,
		RequestID:   x.id,
		StartedAt:   r.start,
		Route:       x.route,
		Endpoint:    x.r.URL.EscapedPath(),
		Model:       x.model,
		Framing:     t.framing,
		Duration:    now.Sub(r.start),
		CacheStatus: x.cacheStatus(),
		HTTPStatus:  r.status,
		Outcome:     x.outcome(),
		EndedBy:     string(cmp.Or(r.ended, byUpstream)),
		Streamed:    t.framing == dialect.FramingSSE || t.framing == dialect.FramingNDJSON,
		Incomplete:  x.keeping.cut,
		Dropped:     int(t.dropped),
		BytesIn:     x.bytesIn(),
		BytesOut:    r.bytesOut,
		Tenant:      x.tenant,
	}
	if rec.BytesOut == 0 && x.relaying != nil { // in the middle: all that was read is on its way
		rec.BytesOut = x.relaying.BytesIn
	}
	rec.Upstream = x.servedBy()
	rec.Attempts = x.attempts()
	if !t.first.IsZero() && rec.Streamed {
		rec.TTFT = t.first.Sub(r.received)
	}
	switch {
	case t.summary.HasError:
		rec.Error = t.summary.Error
	case r.err != nil:
		rec.Error = r.err.Error()
	}
	rec.Truncated = rec.Outcome == batchlog.Truncated || x.partial(rec)
	return rec
}

// partial tells that somebody ended the exchange in the middle of its answer.
func (x *exchange) partial(rec *batchlog.Record) bool {
	ended := rec.EndedBy != string(byUpstream)
	return ended && rec.BytesOut > 0 && rec.HTTPStatus < http.StatusBadRequest && !x.tally.summary.Complete
}

// outcome is the exchange's end in the journal's words.
func (x *exchange) outcome() batchlog.Outcome {
	r, t := &x.report, &x.tally
	if r.refused {
		return batchlog.Rejected
	}
	switch r.ended {
	case byClient, byStall:
		return batchlog.ClientGone
	case byAdmin:
		return batchlog.Cancelled
	case byShutdown:
		return batchlog.ShuttingDown
	case byTimeout:
		return batchlog.Timeout
	case byError:
		return batchlog.UpstreamError
	}
	switch {
	case r.status >= http.StatusBadRequest, t.summary.HasError:
		return batchlog.UpstreamError
	case t.metered && !t.summary.Complete && !t.unread():
		return batchlog.Truncated
	}
	return batchlog.OK
}

// unread tells that the answer could not be read for its meaning.
func (t *tally) unread() bool {
	return t.oversize || t.framing == dialect.FramingJSON && !t.whole
}

// tenantOf is what the caller is known by: its credential, or nothing.
func tenantOf(h http.Header) string {
	for _, name := range upstream.Credentials() {
		if v := h.Get(name); v != "" {
			return v
		}
	}
	return ""
}
