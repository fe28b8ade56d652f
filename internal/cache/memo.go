package cache

import (
	"crypto/sha256"
	"encoding/binary"
	"hash/maphash"
	"math/bits"
	"slices"
	"sync"
)

// Memo remembers what was made of bodies seen twice, so that reading the same
// bytes again costs one hash. Most are seen once, and cost less. It is right for whatever depends on the bytes and
// the scope alone: equal hashes are equal bytes, so the answer is the one that
// reading them again would give.
//
// It is a table: each digest has its row, of few places, of which the one used
// longest ago is given to what is new. Its room is bounded, and taken with the first
// value. It is safe for concurrent use.
type Memo[V any] struct {
	limit int
	seed  maphash.Seed

	mu      sync.Mutex
	sighted [][inRow]uint64 // marks of bodies that were seen, as rows; nil before the first
	rows    []row[V]        // nil before the first value
}

// Digest stands for a body in a scope. The zero value is none.
type Digest struct {
	sum   [sha256.Size]byte
	scope byte
	some  bool
}

// row has the last one used first.
type row[V any] [inRow]struct {
	digest Digest
	value  V
}

const inRow = 4

// NewMemo returns a memo of about so many values.
func NewMemo[V any](limit int) *Memo[V] { return &Memo[V]{limit: limit, seed: maphash.MakeSeed()} }

// Get returns what was put for these bytes in this scope, and the digest by
// which to put it if there is nothing.
func (m *Memo[V]) Get(scope byte, body []byte) (d Digest, v V, ok bool) {
	if !m.seen(m.mark(body)) {
		return d, v, false
	}
	d = Digest{sha256.Sum256(body), scope, true}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.rows == nil {
		return d, v, false
	}
	r := m.row(&d)
	for i := range r {
		if r[i].digest == d {
			found := r[i]
			copy(r[1:], r[:i])
			r[0] = found
			return d, found.value, true
		}
	}
	return d, v, false
}

// sample is how much of a long body goes into its mark from each place, in bytes.
const sample = 128

// mark stands for a body, well enough to tell whether it is worth reading the whole
// of it: by its length, its beginning, where questions put into one frame differ, its
// middle, and its end, where conversations differ that begin alike.
func (m *Memo[V]) mark(body []byte) uint64 {
	if len(body) <= 3*sample {
		return maphash.Bytes(m.seed, body)
	}
	mark := uint64(len(body))
	for _, at := range [...]int{0, (len(body) - sample) / 2, len(body) - sample} {
		mark = bits.RotateLeft64(mark, 21) ^ maphash.Bytes(m.seed, body[at:at+sample])
	}
	return mark
}

// seen tells whether a body with this mark was seen, as far as is known. That one was
// not, or another with it was, costs time alone.
func (m *Memo[V]) seen(mark uint64) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.sighted == nil {
		m.sighted = make([][inRow]uint64, m.limit)
	}
	r := &m.sighted[mark%uint64(len(m.sighted))]
	i := slices.Index(r[:inRow-1], mark) // else it may be the last, which goes in any case
	if i < 0 {
		i = inRow - 1
	}
	found := r[i] == mark
	copy(r[1:], r[:i])
	r[0] = mark
	return found
}

// Put remembers a value by the digest that Get returned; by none it does nothing.
func (m *Memo[V]) Put(d Digest, v V) {
	if !d.some {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.rows == nil {
		m.rows = make([]row[V], (m.limit+inRow-1)/inRow)
	}
	r := m.row(&d)
	copy(r[1:], r[:inRow-1])
	r[0].digest, r[0].value = d, v
}

func (m *Memo[V]) row(d *Digest) *row[V] {
	return &m.rows[binary.LittleEndian.Uint64(d.sum[:])%uint64(len(m.rows))]
}
