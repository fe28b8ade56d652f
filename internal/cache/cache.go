// Package cache answers a question that was answered before, and lets those who
// ask the same thing at the same time share one answer.
//
// It owns keys, the entries and their bounds, and the flights: answers on their
// way that others may join. It decides what may be looked up and what may be
// kept. It never talks to an upstream or a client, and does not know what the
// bytes mean: that is told to it, and conversions between forms are handed in.
//
// The course of a request:
//
//	reason := c.Admit(ask, directives)  // not empty: BYPASS, and no more of this
//	turn := c.Begin(ctx, query)
//	turn.Entry     // HIT: replay it
//	turn.Lead      // MISS: ask an upstream, see Lead
//	turn.Follower  // COALESCED: wait for the answer of another's, see Follower
//	               // none of them: only-if-cached, or Unasked
//
// An upstream that is not to be asked for now may be stood in for by Stale.
//
// A second tier, if there is one, is looked at by Begin for what would be led, and
// is given what is kept; see package l2.
package cache

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Cache is safe for concurrent use. Close it after the last request has ended.
type Cache struct {
	set   atomic.Pointer[Config]
	store *store
	tier  *tier // nil if there is none

	mu      sync.Mutex // guards flights, all that is in them, notes and heads
	flights map[slot]*flight
	led     *flight // the latest of all that are on their way, open to others or not
	begun   uint64  // flights so far
	notes   notes
	heads   heads

	hits, misses, coalesced, stale atomic.Uint64
	rejections                     rejections
}

// New returns an empty cache. It holds little memory until it is used.
func New(cfg Config) (*Cache, error) {
	c := &Cache{flights: make(map[slot]*flight), heads: heads{}}
	c.set.Store(&cfg)
	c.notes.limit = max(cfg.MaxSize, 1024)
	store, err := newStore(cfg)
	if err != nil {
		return nil, fmt.Errorf("make the cache: %w", err)
	}
	c.store = store
	return c, nil
}

func (c *Cache) cfg() *Config { return c.set.Load() }

// Configure replaces the settings, save for the section of the second tier. Entries keep
// the time that they were given. A cache that is turned off, or gets other sizes,
// is emptied.
func (c *Cache) Configure(cfg Config) {
	was := c.set.Swap(&cfg)
	c.store.stale.Store(int64(cfg.StaleIfError))
	sized := was.MaxSize != cfg.MaxSize || was.MaxBytes != cfg.MaxBytes || was.MaxEntryBytes != cfg.MaxEntryBytes
	if sized {
		if c.tier != nil {
			c.tier.Limit(cfg.MaxEntryBytes + maxHead)
		}
		c.store.resize(cfg)
		c.mu.Lock()
		c.notes.limit = max(cfg.MaxSize, 1024)
		c.mu.Unlock()
	}
	if sized || cfg.Policy == "off" {
		c.Forget()
	}
}

// Close frees the entries and ends what runs for them.
func (c *Cache) Close() {
	c.store.close()
	if c.tier != nil {
		c.tier.Close()
	}
}

// Query is one admitted request.
type Query struct {
	Key        Key
	Form       Form
	Model      string // as asked for; Clear knows entries by it
	Directives Directives
	// Unasked says that no upstream would be asked now: Begin finds an entry or
	// nothing, since an answer that will not come is not worth waiting for together.
	Unasked bool
	// Convert puts an entry's body into the form, or says that it would lose
	// something. Nil if this endpoint has no conversion.
	Convert func(e *Entry, to Form) (*Conversion, bool)
	// Waiter is told of the time that the second tier takes; nil is nobody.
	Waiter Waiter
}

// Waiter keeps account of what a request waits for.
type Waiter interface {
	BeginWait()
	EndWait()
}

// Turn is what a request is to do. At most one of the three is not nil.
type Turn struct {
	Entry    *Entry
	Lead     *Lead
	Follower *Follower
	// Reason is why there was no Entry.
	Reason Reason
}

// Begin finds an entry, else joins a flight of the same question in the same
// form, else starts one. The context is the client's: a flight keeps its values,
// and does not end with it. Whatever Begin returns must be brought to its end.
func (c *Cache) Begin(ctx context.Context, q Query) Turn { return c.begin(ctx, q, 0) }

func (c *Cache) begin(ctx context.Context, q Query, attempt int) Turn {
	turn := c.place(ctx, &q, attempt)
	if c.tier != nil && attempt == once && turn.Entry == nil && turn.Follower == nil && turn.Reason != NoCache {
		turn = c.recall(ctx, &q, turn)
	}
	if turn.Entry != nil {
		c.hits.Add(1)
	}
	return turn
}

// Missed counts a request that the cache did not answer. That is for the caller to
// say, who alone knows what its answer says of that.
func (c *Cache) Missed() { c.misses.Add(1) }

// Coalesced counts a request whose answer is another's; for whom as for Missed.
func (c *Cache) Coalesced() { c.coalesced.Add(1) }

// place finds what is here: an entry, a flight to join, or nothing.
func (c *Cache) place(ctx context.Context, q *Query, attempt int) Turn {
	sl := slot{q.Key, q.Form}
	sent := c.store.sends(sl).Load()
	e, why := c.lookup(q)
	if e != nil {
		return Turn{Entry: e}
	}
	vacant := why == First
	c.mu.Lock()
	defer c.mu.Unlock()
	if q.Directives.OnlyIfCached || q.Unasked {
		return Turn{Reason: c.noted(sl, why)}
	}
	if c.cfg().Coalesce && why != NoCache && attempt < alone {
		// A flight that ended since the lookup has left its entry here.
		if e := c.justStored(sl); e != nil && q.wants(e, time.Now()) {
			return Turn{Entry: e}
		}
		if fl := c.flights[sl]; fl != nil {
			if f := fl.join(ctx, *q, attempt); f != nil {
				return Turn{Follower: f, Reason: why}
			}
		}
	}
	why = c.noted(sl, why)
	fl := newFlight(ctx, c, *q, attempt)
	fl.vacant, fl.sent = vacant, sent
	c.begun++
	fl.begun = c.begun
	if c.cfg().Coalesce && attempt < alone {
		c.flights[sl] = fl
	}
	c.lead(fl)
	return Turn{Lead: &fl.lead, Reason: why}
}

// noted is why there is no entry in a slot, as far as it is remembered. The caller
// holds the lock.
func (c *Cache) noted(sl slot, why Reason) Reason {
	if why != First {
		return why
	}
	if note, ok := c.notes.get(sl); ok {
		return note
	}
	return First
}

func (c *Cache) justStored(sl slot) *Entry {
	c.store.mu.Lock()
	defer c.store.mu.Unlock()
	return c.store.recent(sl)
}

// wants tells whether an entry is fresh enough for the request.
func (q *Query) wants(e *Entry, now time.Time) bool {
	return now.Before(e.Expires.Add(-q.Directives.MinFresh)) && q.young(e, now)
}

// young tells whether an entry is no older than the request wants it.
func (q *Query) young(e *Entry, now time.Time) bool {
	return q.Directives.MaxAge < 0 || now.Sub(e.Stored) < q.Directives.MaxAge+time.Second
}

// lookup finds an entry that the request may be answered with, or says why not.
func (c *Cache) lookup(q *Query) (*Entry, Reason) {
	if q.Directives.NoCache || q.Directives.MaxAge == 0 {
		return nil, NoCache
	}
	why := First
	now := time.Now()
	clears := c.store.clears.Load()
	own := c.store.get(slot{q.Key, q.Form})
	if own != nil {
		if q.wants(own, now) {
			return own, ""
		}
		why = Expired
		if !now.Before(own.Expires.Add(c.cfg().StaleIfError)) {
			c.store.drop(own)
			c.mu.Lock()
			c.notes.put(own.slot(), Expired)
			c.mu.Unlock()
		}
	}
	for form := range forms {
		if form == q.Form {
			continue
		}
		other := c.store.get(slot{q.Key, form})
		if other == nil || !q.wants(other, now) {
			continue
		}
		if e := c.convert(q, other, clears); e != nil {
			return e, ""
		}
		why = Framing
	}
	return nil, why
}

// convert puts an entry into the form that is asked for, and keeps it so, unless
// there was a clear since the entry was found.
func (c *Cache) convert(q *Query, from *Entry, clears uint64) *Entry {
	if q.Convert == nil {
		return nil
	}
	conversion, ok := q.Convert(from, q.Form)
	if !ok {
		return nil
	}
	e := from.as(q.Form, conversion)
	c.adopt(e, clears) // if not, it is good for this once
	return e
}

// adopt keeps an entry that does not come from an upstream, unless there was a
// clear since the count of them was read, or a newer one is here.
func (c *Cache) adopt(e *Entry, clears uint64) {
	c.store.mu.Lock()
	if c.store.clears.Load() != clears || int64(len(e.Body)) > c.cfg().MaxEntryBytes || e.size > c.store.limit.Load() {
		c.store.mu.Unlock()
		return
	}
	if newer := c.store.recent(e.slot()); newer != nil && newer.Stored.After(e.Stored) {
		c.store.mu.Unlock()
		return
	}
	moved := c.store.put(e)
	c.store.mu.Unlock()
	c.store.settle(e, moved, false)
}

// Stale returns an entry, expired or not, that may answer although the upstream
// is not asked, or nil: one no longer expired than stale_if_error. The caller
// marks the answer as STALE.
func (c *Cache) Stale(q Query) *Entry {
	if d := &q.Directives; c.cfg().StaleIfError <= 0 || d.NoCache || d.MaxAge == 0 || d.MinFresh > 0 {
		return nil
	}
	now := time.Now()
	usable := func(e *Entry) bool {
		return e != nil && now.Before(e.Expires.Add(c.cfg().StaleIfError)) && q.young(e, now)
	}
	found := c.store.get(slot{q.Key, q.Form})
	for form := Form(0); form < forms && !usable(found); form++ {
		if other := c.store.get(slot{q.Key, form}); usable(other) && q.Convert != nil {
			if conversion, ok := q.Convert(other, q.Form); ok {
				found = other.as(q.Form, conversion)
			}
		}
	}
	if !usable(found) {
		return nil
	}
	c.stale.Add(1)
	return found
}

// Clear removes the entries of a model, or all if it is empty, and returns how
// many were here. What is on its way is not kept either: it may come from what the
// clear was meant to do away with. A model's name with and without Ollama's
// ":latest" is one. The second tier is cleared with it, and tells the other
// replicas; Settle waits for that.
func (c *Cache) Clear(model string) int {
	if c.tier != nil { // first, so that nothing comes back from there
		c.tier.Clear(bare(model))
	}
	return c.clear(model)
}

// Forget empties this cache alone: what others have in the second tier stays.
func (c *Cache) Forget() { c.clear("") }

// bare is the model's name without Ollama's default tag.
func bare(model string) string { return strings.TrimSuffix(model, ":latest") }

// clear is Clear for what is here.
func (c *Cache) clear(model string) int {
	match := func(of string) bool { return model == "" || bare(of) == bare(model) }
	c.mu.Lock()
	defer c.mu.Unlock()
	for fl := c.led; fl != nil; fl = fl.older {
		if match(fl.query.Model) {
			fl.cleared = true
			c.unlist(fl)
		}
	}
	gone := c.store.clear(func(e *Entry) bool { return match(e.Model) })
	for _, e := range gone {
		c.notes.put(e.slot(), Cleared)
	}
	return len(gone)
}

// notes remember, of some questions, why there is no entry.
type notes struct {
	limit         int
	recent, older map[slot]Reason
}

func (n *notes) get(sl slot) (Reason, bool) {
	if why, ok := n.recent[sl]; ok {
		return why, true
	}
	why, ok := n.older[sl]
	return why, ok
}

func (n *notes) drop(sl slot) {
	delete(n.recent, sl)
	delete(n.older, sl)
}

func (n *notes) put(sl slot, why Reason) {
	if n.recent == nil || len(n.recent) >= n.limit {
		n.recent, n.older = make(map[slot]Reason), n.recent
	}
	n.recent[sl] = why
}
