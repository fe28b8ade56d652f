package l2

import (
	"slices"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	keptClears  = 1000           // in the stream, about
	mostModels  = 2 * keptClears // whose last clear is known
	mostPending = 100
	// retold is for how long a clear is told again to a Redis that has lost it.
	retold = 24 * time.Hour
)

// everything is the model of a clear of all entries.
const everything = ""

// clears is what is known of the stream of clears. It has no lock of its own.
type clears struct {
	epoch  string
	floor  place            // the stream's beginning: what is older is not trusted
	seen   place            // up to here this replica has done what the stream says
	latest place            // up to here all has happened by now
	all    place            // the last clear of everything
	models map[string]place // the last clear of each
	// pending are clears of this replica's that the stream does not have yet.
	pending []string
}

// void tells whether a value may no longer be given.
func (c *clears) void(e *envelope) bool {
	return e.at.before(c.floor) || e.at.before(c.all) || e.at.before(c.models[e.model]) ||
		slices.Contains(c.pending, everything) || slices.Contains(c.pending, e.model)
}

// note remembers a clear that stands in the stream.
func (c *clears) note(model string, at place) {
	if c.latest.before(at) {
		c.latest = at
	}
	switch {
	case model == everything:
		c.all = later(c.all, at)
		return
	case c.models == nil:
		c.models = make(map[string]place)
	case len(c.models) >= mostModels: // as if everything had been cleared
		clear(c.models)
		c.all = c.latest
		return
	}
	c.models[model] = later(c.models[model], at)
}

func later(a, b place) place {
	if a.before(b) {
		return b
	}
	return a
}

// wait adds a clear that is to be told to the others.
func (c *clears) wait(model string) {
	switch {
	case slices.Contains(c.pending, everything), slices.Contains(c.pending, model):
	case model == everything, len(c.pending) >= mostPending:
		c.pending = append(c.pending[:0], everything)
	default:
		c.pending = append(c.pending, model)
	}
}

// told removes a clear that now stands in the stream.
func (c *clears) told(model string, at place) {
	c.note(model, at)
	c.pending = slices.DeleteFunc(c.pending, func(p string) bool { return p == model })
}

// load takes the whole stream, which is not empty, as it is found after a connection was made, and
// returns the clears that this replica has to do.
//
// A stream that has lost what was known of it, by another epoch or by ending
// before the last known clear, is told again: no other replica may give what was
// cleared. One that has moved on beyond what this replica has seen leaves no choice
// but to clear everything.
func (c *clears) load(epoch string, entries []streamed, self string) (todo []string) {
	first, last := entries[0].at, entries[len(entries)-1].at
	known, renewed := c.epoch != "", c.epoch != epoch
	if known && (renewed || last.before(c.seen)) {
		c.retell()
	}
	switch {
	case renewed:
		c.seen = place{}
	case known && c.seen.before(first):
		todo = append(todo, everything)
	}
	all, models := c.all, c.models
	c.epoch, c.floor, c.latest = epoch, first, last
	c.all, c.models = place{}, nil
	for _, e := range entries {
		todo = c.take(e, self, todo)
	}
	// What was told while the stream was read is not in it, and may not be what
	// Redis has lost.
	if last.before(all) {
		c.note(everything, all)
	}
	for model, at := range models {
		if last.before(at) {
			c.note(model, at)
		}
	}
	return todo
}

// take notes an entry of the stream, and adds its clear to those to be done if it
// is news.
func (c *clears) take(e streamed, self string, todo []string) []string {
	if e.clear {
		c.note(e.model, e.at)
		if c.seen.before(e.at) && e.by != self {
			todo = append(todo, e.model)
		}
	}
	c.seen, c.latest = later(c.seen, e.at), later(c.latest, e.at)
	return todo
}

// retell has the clears of late told anew.
func (c *clears) retell() {
	since := place{ms: uint64(max(time.Now().Add(-retold).UnixMilli(), 0))}
	if since.before(c.all) {
		c.wait(everything)
	}
	for model, at := range c.models {
		if since.before(at) {
			c.wait(model)
		}
	}
}

// streamed is an entry of the stream.
type streamed struct {
	at    place
	clear bool // else it begins the epoch
	model string
	by    string // the replica that cleared
}

// The fields of an entry.
const (
	fieldModel = "clear"
	fieldBy    = "by"
	fieldBegin = "begin"
)

// parseStream reads entries. One that says neither counts as a clear of everything.
func parseStream(messages []redis.XMessage) []streamed {
	var entries []streamed
	for _, m := range messages {
		e := streamed{}
		at, ok := parsePlace(m.ID)
		if !ok {
			continue // Redis does not write such
		}
		e.at = at
		if _, begins := m.Values[fieldBegin]; !begins {
			e.clear = true
			e.model, _ = m.Values[fieldModel].(string)
			e.by, _ = m.Values[fieldBy].(string)
		}
		entries = append(entries, e)
	}
	return entries
}
