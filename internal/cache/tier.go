package cache

import (
	"context"
	"encoding/hex"
	"log/slog"
	"time"

	"github.com/vega-proxy/vega-proxy/internal/cache/l2"
)

// Notes turns the notes of entries into bytes and back, for the second tier.
type Notes struct {
	Encode func(note any) ([]byte, error)
	Decode func([]byte) (any, error)
}

// tier is the second tier, and how entries are written there.
type tier struct {
	*l2.Tier
	codec codec
}

// Share gives the cache a second tier, if there is to be one. It is for before the
// first request, and makes no connection: Run does.
func (c *Cache) Share(notes Notes, log *slog.Logger) error {
	if c.cfg().L2.URL == "" {
		return nil
	}
	second, err := l2.New(l2.Options{
		Config:   c.cfg().L2,
		MaxBytes: c.cfg().MaxEntryBytes + maxHead,
		Clear:    func(model string) { c.clear(model) },
		Log:      log,
	})
	if err != nil {
		return err
	}
	c.tier = &tier{second, codec{notes}}
	return nil
}

// Run keeps up the second tier until ctx ends. Without one it returns at once.
func (c *Cache) Run(ctx context.Context) error {
	if c.tier == nil {
		return nil
	}
	return c.tier.Run(ctx)
}

// Shared returns the second tier's account, and whether there is one.
func (c *Cache) Shared() (l2.Stats, bool) {
	if c.tier == nil {
		return l2.Stats{}, false
	}
	return c.tier.Stats(), true
}

// Settle waits until the second tier knows of the clears so far, or for ctx.
func (c *Cache) Settle(ctx context.Context) {
	if c.tier != nil {
		c.tier.Settle(ctx)
	}
}

// nameOf is a slot's name in the second tier.
func nameOf(sl slot) string {
	var name [2*len(sl.key) + 2]byte
	hex.Encode(name[:], sl.key[:])
	name[len(name)-2], name[len(name)-1] = '-', '0'+byte(sl.form)
	return string(name[:])
}

// keep has an entry written to the second tier, until it is of no more use even as
// a stale one.
func (t *tier) keep(e *Entry, begun l2.Position, stale time.Duration) {
	t.Put(nameOf(e.slot()), bare(e.Model), begun, e.Expires.Add(stale), t.codec.size(e), func(to []byte) []byte { return t.codec.append(to, e) })
}

// recall looks in the second tier for what is not here, and takes what it finds in,
// expired or not: an expired one may be needed as a stale one. The turn is what the
// request is to do else; those who have joined its flight share what is found.
func (c *Cache) recall(ctx context.Context, q *Query, turn Turn) Turn {
	if turn.Lead != nil {
		ctx = turn.Lead.Context()
	}
	if !c.fetch(ctx, q) {
		return turn
	}
	e, why := c.lookup(q)
	if e != nil {
		if turn.Lead != nil {
			turn.Lead.found()
		}
		return Turn{Entry: e}
	}
	if why != First {
		turn.Reason = why
	}
	return turn
}

// fetch takes in what the second tier has of a question, and tells whether that is
// anything. A form that cannot be turned into the one asked for is not looked at.
func (c *Cache) fetch(ctx context.Context, q *Query) (found bool) {
	clears := c.store.clears.Load()
	slots := []slot{{q.Key, q.Form}}
	for form := Form(0); form < forms && q.Convert != nil; form++ {
		if form != q.Form {
			slots = append(slots, slot{q.Key, form})
		}
	}
	names := make([]string, len(slots))
	for i, sl := range slots {
		names[i] = nameOf(sl)
	}
	if q.Waiter != nil {
		q.Waiter.BeginWait()
	}
	values := c.tier.Get(ctx, names...)
	if q.Waiter != nil {
		q.Waiter.EndWait()
	}
	now := time.Now()
	for i, value := range values {
		if value == nil {
			continue
		}
		e, err := c.tier.codec.decode(value, slots[i], now, c.cfg().MaxEntryBytes)
		if err != nil {
			c.tier.Invalid()
			continue
		}
		if now.Before(e.Expires.Add(c.cfg().StaleIfError)) {
			c.adopt(e, clears)
			found = true
		}
	}
	return found
}
