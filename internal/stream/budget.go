package stream

import "sync/atomic"

// Budget bounds what all buffers of the process hold together. It is safe for
// concurrent use; the zero value has no bound.
type Budget struct {
	max     int64
	used    atomic.Int64
	holders atomic.Int64 // buffers that hold something
}

// NewBudget returns a budget of max bytes.
func NewBudget(max int64) *Budget { return &Budget{max: max} }

// Used is how many bytes the buffers hold now.
func (b *Budget) Used() int64 { return b.used.Load() }

// Max is the bound.
func (b *Budget) Max() int64 { return b.max }

// share is how many bytes one buffer may hold now. While less than half of the
// budget is used, each may hold what its own settings allow. Beyond that what
// there is is divided by those that hold something: large buffers have to
// shrink, small ones may still grow, and nobody is left without.
func (b *Budget) share(own int64) int64 {
	if b.max <= 0 || b.used.Load() < b.max/2 {
		return own
	}
	return min(own, b.max/max(b.holders.Load(), 1))
}

func (b *Budget) take(n int64)     { b.used.Add(n) }
func (b *Budget) giveBack(n int64) { b.used.Add(-n) }
