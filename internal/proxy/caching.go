package proxy

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"strconv"
	"sync"

	"github.com/vega-proxy/vega-proxy/internal/cache"
	"github.com/vega-proxy/vega-proxy/internal/dialect"
	"github.com/vega-proxy/vega-proxy/internal/stream"
	"github.com/vega-proxy/vega-proxy/internal/upstream"
)

// Cache answers what was answered before, and brings those together who ask the
// same thing at the same time.
type Cache interface {
	Admit(cache.Ask, cache.Directives) cache.Reason
	Begin(context.Context, cache.Query) cache.Turn
	Stale(cache.Query) *cache.Entry
	Missed()
	Coalesced()
	Clear(model string) int
}

// What X-Vega-Cache says.
const (
	cacheHit       = "HIT"
	cacheMiss      = "MISS"
	cacheStale     = "STALE"
	cacheCoalesced = "COALESCED"
	cacheBypass    = "BYPASS"
)

// seen is what is known of a body from its bytes alone.
type seen struct {
	asked     dialect.Request
	canonical [sha256.Size]byte
	ok        bool // there is a canonical form
	session   string
}

// seenBodies is how many bodies are remembered by their hash.
const seenBodies = 1024

// caching is an exchange's part in the cache.
type caching struct {
	tenant    cache.Tenant
	canonical [sha256.Size]byte
	ok        bool // canonical is set
	status    string
	reason    string // why it was no HIT; "" is no reason
	age       int64  // of an entry, in seconds; -1 is none
	query     cache.Query
	lead      *cache.Lead
	recording *stream.Recording // what others read of this answer, and what is kept of it
}

// understandBody reads what the body asks for, or remembers it.
func (x *exchange) understandBody(plain []byte) {
	if x.rules.Cache == nil {
		x.asked = dialect.ParseRequest(x.route, plain)
		return
	}
	digest, known, ok := x.s.seen.Get(byte(x.route.Op), plain)
	if !ok {
		if known.canonical, known.ok = canonicalSum(x.route, plain); known.ok {
			known.asked = dialect.ParseSound(x.route, plain)
		} else {
			known.asked = dialect.ParseRequest(x.route, plain)
		}
		known.session = dialect.SessionInBody(plain)
		x.s.seen.Put(digest, known)
	}
	x.asked = known.asked
	x.session, x.sessionRead = known.session, true
	x.caching.canonical, x.caching.ok = known.canonical, known.ok
}

var canonicals = sync.Pool{New: func() any { return new([]byte) }}

func canonicalSum(rt dialect.Route, plain []byte) (sum [sha256.Size]byte, ok bool) {
	buf := canonicals.Get().(*[]byte)
	defer canonicals.Put(buf)
	canonical, ok := dialect.Canonical(rt, plain, (*buf)[:0])
	if cap(canonical) <= maxPooledBody {
		*buf = canonical[:0]
	}
	return sha256.Sum256(canonical), ok
}

// consult asks the cache. A turn without anything means that the exchange goes
// its own way, unless the request wants nothing else than a cached answer.
func (x *exchange) consult(ctx context.Context) (cache.Turn, *refusal) {
	c := &x.caching
	if !x.parsed {
		return cache.Turn{}, nil
	}
	h := x.r.Header
	wishes := cache.DirectivesOf(h)
	if x.rules.Cache == nil {
		return bypass(wishes)
	}
	x.work(stepConsultCache)
	why := x.rules.Cache.Admit(cache.Ask{
		Answerable:    true,
		Header:        h,
		Canonical:     c.ok,
		Ambiguous:     x.asked.Ambiguous,
		Load:          x.asked.Load,
		Stateful:      x.asked.Stateful,
		Live:          x.asked.Live,
		Deterministic: x.asked.Deterministic || x.route.Kind == dialect.KindEmbed,
	}, wishes)
	if why != "" {
		c.reason = string(why)
		return bypass(wishes)
	}
	subject := cache.Subject{
		Tenant:     c.tenant,
		Endpoint:   x.r.URL.EscapedPath(),
		Generation: x.rules.Generation,
		Query:      x.r.URL.RawQuery,
		Header:     h,
		Body:       c.canonical,
	}
	c.query = cache.Query{
		Key: subject.Key(), Form: x.form(), Model: x.model, Directives: wishes, Unasked: x.rules.Upstreams.Refuses(x.model),
		Convert: x.converter(), Waiter: x,
	}
	turn := x.rules.Cache.Begin(ctx, c.query)
	c.status, c.reason = cacheMiss, string(turn.Reason)
	if turn.Entry == nil && turn.Lead == nil && turn.Follower == nil && wishes.OnlyIfCached {
		return turn, uncached()
	}
	return turn, nil
}

// bypass is for what the cache has no part in: it goes its own way, unless no
// upstream is to be asked.
func bypass(wishes cache.Directives) (cache.Turn, *refusal) {
	if wishes.OnlyIfCached {
		return cache.Turn{}, uncached()
	}
	return cache.Turn{}, nil
}

func uncached() *refusal {
	return &refusal{code: notCached, message: "the answer is not in the cache, and only-if-cached was asked for"}
}

// BeginWait and EndWait tell the cache's waiting from its work.
func (x *exchange) BeginWait() { x.rest() }
func (x *exchange) EndWait()   { x.work(stepConsultCache) }

func (x *exchange) form() cache.Form {
	switch {
	case !x.asked.Stream:
		return cache.Whole
	case x.asked.IncludeUsage:
		return cache.StreamWithUsage
	}
	return cache.Stream
}

// converter turns entries of this endpoint into other forms, where that is done.
func (x *exchange) converter() func(*cache.Entry, cache.Form) (*cache.Conversion, bool) {
	stream, contentType := dialect.FramingSSE, "text/event-stream"
	switch x.route.Op {
	case dialect.OpChat, dialect.OpCompletions:
	case dialect.OpOllamaChat, dialect.OpOllamaGenerate:
		stream, contentType = dialect.FramingNDJSON, "application/x-ndjson"
	default:
		return nil
	}
	rt := x.route
	return func(e *cache.Entry, to cache.Form) (*cache.Conversion, bool) {
		from, into, as := dialect.FramingOf(e.Header.Get("Content-Type")), stream, contentType
		if to == cache.Whole {
			into, as = dialect.FramingJSON, "application/json"
		}
		body, ok := dialect.Convert(rt, from, into, e.Body, to == cache.StreamWithUsage)
		return &cache.Conversion{Body: body, ContentType: as}, ok
	}
}

// replay answers with an entry.
func (x *exchange) replay(e *cache.Entry, status string) (abort bool) {
	x.work(stepReplay)
	c := &x.caching
	c.status, c.reason, c.age = status, "", e.Age()
	x.report.status, x.report.ended = e.Status, byUpstream
	x.report.served = e.Upstream
	x.tally.status = e.Status
	x.tally.framing = dialect.FramingOf(e.Header.Get("Content-Type"))
	if summary, ok := e.Note.(dialect.Summary); ok {
		x.tally.summary = summary // not metered: nothing of it passes the meter again
	}
	to := x.w.Header()
	maps.Copy(to, e.Header)
	x.head(to, int64(len(e.Body)), e.Form != cache.Whole)
	x.keeping.chunks = [][]byte{e.Body}
	x.report.bytesOut = int64(len(e.Body))
	gone, err := false, error(nil)
	x.record(func() { gone, err = true, x.hand(e) }) // before the client can have it all
	x.rest()
	if !gone {
		err = x.hand(e)
	}
	if err != nil {
		x.report.err = err
		x.report.ended, x.report.code = byClient, clientGone
		if x.conn != nil && x.conn.stalled.Load() {
			x.report.ended = byStall
		}
		return true
	}
	return false
}

// hand writes an entry to the client.
func (x *exchange) hand(e *cache.Entry) error {
	x.w.WriteHeader(e.Status)
	if x.conn != nil {
		x.conn.stall.Store(int64(x.rules.stream(e.Upstream).WriteStallTimeout))
	}
	n, err := x.w.Write(e.Body)
	x.report.bytesOut = int64(n)
	return err
}

// head completes the header of an answer that does not come from an upstream's
// head of this moment.
func (x *exchange) head(to http.Header, length int64, streamed bool) {
	to["Via"] = x.s.hops.answer
	if _, ok := to["Content-Type"]; !ok {
		to["Content-Type"] = nil
	}
	switch {
	case !streamed && length >= 0:
		to["Content-Length"] = []string{strconv.FormatInt(length, 10)}
	case x.r.ProtoMajor == 1 && x.r.ProtoMinor == 1:
		to["Transfer-Encoding"] = []string{"chunked"}
	}
	x.mark(to)
}

// count tells the cache of an answer that is none of its own, as the answer says it:
// only now is it known whether an upstream is asked.
func (x *exchange) count() {
	switch x.caching.status {
	case cacheMiss:
		x.rules.Cache.Missed()
	case cacheCoalesced:
		x.rules.Cache.Coalesced()
	}
}

// stale stands in for upstreams that are not to be asked now.
func (x *exchange) stale(err error) *cache.Entry {
	if !breakerOpen(err) || x.caching.status == "" {
		return nil
	}
	return x.rules.Cache.Stale(x.caching.query)
}

// breakerOpen tells of a refusal by the breakers of all upstreams there are.
func breakerOpen(err error) bool {
	e, ok := errors.AsType[*upstream.Error](err)
	return ok && e.Code == upstream.BreakerOpen
}

// EncodeNote and DecodeNote put what is known of a kept answer into bytes, and back,
// for other replicas.
func EncodeNote(note any) ([]byte, error) {
	summary, ok := note.(dialect.Summary)
	if !ok {
		return nil, fmt.Errorf("a note is a %T", note)
	}
	return json.Marshal(summary)
}

// DecodeNote is the other way of EncodeNote.
func DecodeNote(text []byte) (any, error) {
	var summary dialect.Summary
	err := json.Unmarshal(text, &summary)
	return summary, err
}

// begun tells the flight, if there is one, that an answer has come.
func (x *exchange) begun() {
	c, a := &x.caching, x.answer
	if c.lead == nil {
		return
	}
	c.recording = c.lead.Start(cache.Answer{Status: a.Status, Header: a.Header, Length: a.Length, Upstream: a.Upstream.Name()})
	x.trackRecording()
}

// passing shares bytes of the answer before they go to this client. It returns
// false where the slowest of those who share must be waited for.
func (x *exchange) passing(p []byte) bool {
	r := x.caching.recording
	return r == nil || r.Append(p)
}

// room waits for the slowest of those who share the answer.
func (x *exchange) room() {
	if r := x.caching.recording; r != nil { // else the answer has ended
		_ = r.Room(x.ctx) // its failure is the context's end, which the next read sees
	}
}

// settled tells the flight how the answer's body ended, once the upstream's side
// has. The client's own end does not matter to it.
func (x *exchange) settled(clean bool, err error, broken bool, events int64) {
	c, t := &x.caching, &x.tally
	if c.recording == nil {
		return
	}
	if clean {
		err = nil
	} else if err == nil {
		err = errCut
	}
	c.lead.End(cache.Outcome{
		Err:          err,
		Broken:       broken,
		Complete:     t.summary.Complete,
		Dropped:      t.oversize || t.dropped > 0,
		Remote:       t.summary.Remote,
		FinishReason: t.summary.FinishReason,
		CallsTools:   callsTools[t.framing],
		Trailer:      len(x.answer.Trailer) > 0,
		Events:       int(events),
		Note:         t.summary,
	})
	c.recording = nil
}

// callsTools are the funcs that tell it of a body in a framing, made once.
var callsTools = func() (of [dialect.FramingNDJSON + 1]func([]byte) bool) {
	for f := range of {
		of[f] = func(body []byte) bool { return dialect.CallsTools(dialect.Framing(f), body) }
	}
	return of
}()

var errCut = errors.New("the answer was cut")

// clearFor drops what a changed model's answers were: all, if its name could not
// be read.
func (x *exchange) clearFor() {
	if x.rules.Cache == nil || x.route.Kind != dialect.KindManage || x.report.status/100 != 2 || x.report.ended != byUpstream {
		return
	}
	switch x.route.Op {
	case dialect.OpPull, dialect.OpCreate, dialect.OpCopy, dialect.OpDelete:
		x.rules.Cache.Clear(cmp.Or(x.model, x.made))
	}
}
