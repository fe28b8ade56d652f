package stream

import "sync/atomic"

// Budget bounds what all buffers of the process hold together: never more than
// its bytes, beside one event a stream. It is safe for concurrent use; the zero
// value has no bound.
type Budget struct {
	max     atomic.Int64
	used    atomic.Int64
	holders atomic.Int64 // buffers whose clients are behind
}

// NewBudget returns a budget of max bytes; 0 is no bound.
func NewBudget(max int64) *Budget {
	b := new(Budget)
	b.Configure(max)
	return b
}

// Configure replaces the bound. Under a lower one what is held stays until it is
// taken.
func (b *Budget) Configure(max int64) { b.max.Store(max) }

// Used is how many bytes the buffers hold now.
func (b *Budget) Used() int64 { return b.used.Load() }

// Max is the bound.
func (b *Budget) Max() int64 { return b.max.Load() }

// room is how many bytes a buffer that holds some may hold now. While less than
// half of the budget is used, that is what its own settings allow. Beyond that
// what there is is divided by those who wait: large buffers must not grow before
// they have shrunk, small ones may, and nobody is left without.
func (b *Budget) room(own, held int64) int64 {
	used, all := b.used.Load(), b.max.Load()
	if all <= 0 || used < all/2 {
		return own
	}
	share := all / max(b.holders.Load(), 1)
	return min(own, share, held+max(all-used, 0))
}

// take takes n bytes, unless that would be more than there is.
func (b *Budget) take(n int64) bool {
	if all := b.max.Load(); b.used.Add(n) > all && all > 0 {
		b.used.Add(-n)
		return false
	}
	return true
}

// force takes n bytes whatever there is.
func (b *Budget) force(n int64) { b.used.Add(n) }

func (b *Budget) giveBack(n int64) { b.used.Add(-n) }
