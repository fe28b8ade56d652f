package cache

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/vega-proxy/vega-proxy/internal/cache/l2"
	"github.com/vega-proxy/vega-proxy/internal/lifetime"
	"github.com/vega-proxy/vega-proxy/internal/stream"
)

// ErrAgain is what a Follower gets whose flight came to nothing before it had any
// byte: it is to call Again.
var ErrAgain = errors.New("the request that was to be shared failed")

// errAbandoned ends a flight that nobody reads any more.
var errAbandoned = errors.New("everybody who waited for the answer has gone")

// ErrUnended is what followers get of a leader that ended without a word.
var ErrUnended = errors.New("the request that was to be shared ended without an answer")

// The attempts at a question, as one request has seen them.
const (
	once  = iota
	twice // a failure goes to all who share it
	alone // the answer is not to be shared
)

// flight is one answer on its way. All of it is guarded by the cache's mutex but
// for what is set at the start.
type flight struct {
	c       *Cache
	query   Query
	attempt int
	begun   uint64 // in the order of beginnings
	begunAt l2.Position
	vacant  bool   // there was no entry at the start
	sent    uint32 // how many were sent to the main part then, of the store's sends
	ctx     lifetime.Context

	older, newer *flight // of those that are led

	readers   int  // the leader's client too
	finish    bool // goes on without readers
	cleared   bool // too old to be kept
	followers []*Follower
	lead      Lead
	headed    bool // answer is there
	answer    Answer
	rec       *stream.Recording
	ended     bool
	err       error
}

// Answer is the head of an answer.
type Answer struct {
	Status   int
	Header   http.Header
	Length   int64 // of the body, -1 if it is not known
	Upstream string
}

func newFlight(ctx context.Context, c *Cache, q Query, attempt int) *flight {
	fl := &flight{c: c, query: q, attempt: attempt, readers: 1}
	fl.ctx.Begin(lifetime.Values(ctx))
	fl.lead.fl = fl
	if c.tier != nil {
		fl.begunAt = c.tier.Position()
	}
	return fl
}

// lead counts a flight to those that are on their way. The caller holds the lock, as
// that of landed does.
func (c *Cache) lead(fl *flight) {
	if fl.older = c.led; fl.older != nil {
		fl.older.newer = fl
	}
	c.led = fl
}

// landed takes a flight away again, once.
func (c *Cache) landed(fl *flight) {
	if fl.newer != nil {
		fl.newer.older = fl.older
	} else if c.led == fl {
		c.led = fl.older
	}
	if fl.older != nil {
		fl.older.newer = fl.newer
	}
	fl.older, fl.newer = nil, nil
}

// unlist has nobody join any more.
func (c *Cache) unlist(fl *flight) {
	sl := slot{fl.query.Key, fl.query.Form}
	if c.flights[sl] == fl {
		delete(c.flights, sl)
	}
}

// join adds a follower, or returns nil if it is too late for one.
func (fl *flight) join(ctx context.Context, q Query, attempt int) *Follower {
	f := &Follower{fl: fl, ctx: ctx, query: q, attempt: max(attempt, fl.attempt), head: make(chan struct{})}
	switch {
	case !fl.headed:
		fl.followers = append(fl.followers, f)
	case f.attach():
		close(f.head)
	default:
		return nil
	}
	fl.readers++
	return f
}

// leave counts one reader less. Without any the flight ends, if it may.
func (fl *flight) leave() {
	fl.readers--
	if fl.readers == 0 && !fl.finish && !fl.ended {
		fl.c.unlist(fl)
		fl.ctx.End(errAbandoned)
	}
}

// decide tells the followers that wait what has become of the head.
func (fl *flight) decide(outcome func(*Follower)) {
	for _, f := range fl.followers {
		if f.left {
			continue
		}
		outcome(f)
		close(f.head)
	}
	fl.followers = nil
}

// Lead is the part of a flight that asks the upstream. It is for one goroutine,
// but for Leave and Cancel.
//
// The leader asks with Context, which outlives its client, and calls Start with
// the head of the answer, or Fail or Refuse if there is none. If Start returns a recording,
// it appends every byte of the body to it as it comes, before writing it to its
// own client, and End says how the body ended. Close comes last, on every path.
//
// When its client goes away the leader calls Leave, at once, and goes on until
// the context ends, which it does as soon as nobody reads any more. A client that
// takes its bytes slowly must not hold the others up: once Shared, it is to be
// written to by another goroutine than the one that appends, as from a reader of
// the recording. Beyond the limit the leader calls the recording's Room before
// each read of the upstream, so that the slowest reader sets the pace.
type Lead struct {
	fl   *flight
	gone bool // Leave was called; guarded by the cache's mutex
	over bool // so was End; the leader's own
}

// Context is the flight's own: it has the values of the leader's, and ends when
// the last reader has gone, with Cancel, or with Close.
func (l *Lead) Context() context.Context { return &l.fl.ctx }

// Cancel ends the flight for all its readers.
func (l *Lead) Cancel(cause error) { l.fl.ctx.End(cause) }

// Leave tells that the leader's client has gone. With finish the flight goes on
// though nobody reads.
func (l *Lead) Leave(finish bool) {
	c := l.fl.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if l.gone {
		return
	}
	l.gone = true
	l.fl.finish = l.fl.finish || finish
	l.fl.leave()
}

// Shared tells whether others than the leader's client wait or read.
func (l *Lead) Shared() bool {
	c := l.fl.c
	c.mu.Lock()
	defer c.mu.Unlock()
	own := 1
	if l.gone {
		own = 0
	}
	return l.fl.readers > own
}

// waitedFor tells whether a follower waits for the head. The caller holds the lock.
func (l *Lead) waitedFor() bool {
	return slices.ContainsFunc(l.fl.followers, func(f *Follower) bool { return !f.left })
}

// Start gives the head of the answer. It returns the recording of the body, or
// nil if nobody needs one: the leader then passes the answer to its own client
// only. It keeps nothing of the header.
//
// A server's error is for the leader alone the first time, while the others ask
// again. What must not be kept for its head's sake is not shared either, but
// for errors.
func (l *Lead) Start(a Answer) *stream.Recording {
	fl, c := l.fl, l.fl.c
	why := unfit(a.Status, a.Header)
	var rec *stream.Recording
	if why == "" { // what takes long is done before the lock is held
		rec = stream.NewRecording(c.cfg().MaxEntryBytes, a.Length)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if why != "" {
		c.unlist(fl)
		c.rejections.add(why)
		switch {
		case a.Status == http.StatusOK:
			fl.decide(func(f *Follower) { f.attempt, f.err = alone, ErrAgain })
			return nil
		case a.Status >= http.StatusInternalServerError && fl.attempt == once:
			fl.decide(func(f *Follower) { f.attempt, f.err = twice, ErrAgain })
			return nil
		case !l.waitedFor():
			return nil
		}
	}
	a.Header = c.heads.replayable(headPlace{a.Upstream, fl.query.Form}, a.Header)
	fl.headed, fl.answer = true, a
	if rec == nil {
		rec = stream.NewRecording(c.cfg().MaxEntryBytes, a.Length)
	}
	fl.rec = rec
	fl.decide(func(f *Follower) { f.attach() })
	return fl.rec
}

// Fail tells that there was no answer. The followers ask again the first time,
// then they share the error.
func (l *Lead) Fail(err error) {
	c := l.fl.c
	c.mu.Lock()
	defer c.mu.Unlock()
	l.fail(err)
}

func (l *Lead) fail(err error) {
	l.end(err, func(f *Follower) {
		f.err = err
		if f.attempt == once {
			f.attempt, f.err = twice, ErrAgain
		}
	})
}

// Refuse tells that nobody was asked, since nobody is to be asked for now. That
// costs nothing, so the followers ask each for itself, and are refused as what
// they are.
func (l *Lead) Refuse(err error) {
	c := l.fl.c
	c.mu.Lock()
	defer c.mu.Unlock()
	l.end(err, func(f *Follower) { f.attempt, f.err = alone, ErrAgain })
}

// end ends a flight that has no answer. The caller holds the lock.
func (l *Lead) end(err error, outcome func(*Follower)) {
	fl := l.fl
	fl.c.unlist(fl)
	fl.ended, fl.err = true, err
	fl.decide(outcome)
}

// End tells how the body ended, after its last byte was appended, and keeps the
// answer if it may be kept: then the reason is empty. Followers see the end when
// the entry is there. It is for a Start that returned a recording.
func (l *Lead) End(o Outcome) (unkept Reason) {
	fl, c := l.fl, l.fl.c
	e, unkept := c.entryOf(fl, &o)
	var old *Entry
	var moved []*Entry
	c.mu.Lock()
	sl := slot{fl.query.Key, fl.query.Form}
	if unkept == "" {
		if old = fl.other(sl); fl.cleared {
			unkept = Cleared
		} else if old != nil && old.begun > fl.begun {
			unkept = overtaken
		}
	}
	switch unkept {
	case "":
		c.store.mu.Lock()
		moved = c.store.put(e)
		c.store.mu.Unlock()
		c.notes.drop(sl)
	case badStatus: // counted at the start
	case TooLarge, Cleared:
		c.notes.put(sl, unkept)
		fallthrough
	default:
		c.rejections.add(unkept)
	}
	c.unlist(fl)
	c.landed(fl)
	fl.ended, fl.err = true, o.Err
	c.mu.Unlock()
	l.over = true
	if unkept == "" {
		c.store.settle(e, moved, old == nil)
		if c.tier != nil {
			c.tier.keep(e, fl.begunAt, c.cfg().StaleIfError)
		}
	}
	fl.rec.Seal(o.Err, o.Broken)
	return unkept
}

// other returns the entry that another has put into the flight's slot, or nil.
func (fl *flight) other(sl slot) *Entry {
	if fl.vacant && fl.c.store.sends(sl).Load() == fl.sent {
		return fl.c.justStored(sl)
	}
	return fl.c.store.get(sl)
}

// found ends a flight for which nobody need be asked: an entry has come from the
// second tier. The followers find it where the leader did.
func (l *Lead) found() {
	fl, c := l.fl, l.fl.c
	c.mu.Lock()
	c.landed(fl)
	l.end(nil, func(f *Follower) { f.err = ErrAgain })
	c.mu.Unlock()
	fl.ctx.End(nil)
}

// entryOf makes the entry of an ended flight, or says why there is none.
func (c *Cache) entryOf(fl *flight, o *Outcome) (*Entry, Reason) {
	ttl := time.Duration(c.cfg().TTLSeconds) * time.Second
	if own := fl.query.Directives.TTL; own >= 0 {
		ttl = own
	}
	switch {
	case fl.answer.Status != http.StatusOK:
		return nil, badStatus
	case ttl == 0:
		return nil, NoStore
	}
	if why := c.unkeepable(o); why != "" {
		return nil, why
	}
	body := fl.rec.Bytes()
	if body == nil {
		return nil, TooLarge
	}
	if c.cfg().Policy == "deterministic" && o.CallsTools != nil && o.CallsTools(body) {
		return nil, Policy
	}
	now := time.Now()
	e := &Entry{
		Form: fl.query.Form, Status: fl.answer.Status, Header: fl.answer.Header, Body: body, Events: o.Events,
		Model: fl.query.Model, Upstream: fl.answer.Upstream, Note: o.Note,
		Stored: now, Expires: now.Add(ttl), key: fl.query.Key, begun: fl.begun,
	}
	if e.weigh(); e.size > c.store.limit.Load() {
		return nil, TooLarge
	}
	return e, ""
}

// Close ends the leader's part. If none of Fail, Refuse and End was called, the followers
// learn of a failure.
func (l *Lead) Close() {
	l.fl.ctx.End(nil)
	if l.over {
		return
	}
	fl, c := l.fl, l.fl.c
	c.mu.Lock()
	if !fl.ended {
		l.fail(ErrUnended)
	}
	c.landed(fl)
	c.unlist(fl)
	err := fl.err
	c.mu.Unlock()
	if fl.rec != nil { // End was not called
		fl.rec.Seal(cmp.Or(err, ErrUnended), true)
	}
}
