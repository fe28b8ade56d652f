package cache

import (
	"crypto/sha256"
	"sync"
)

// Memo remembers what was made of bodies seen before, so that reading the same
// bytes again costs one hash. It is right for whatever depends on the bytes and
// the scope alone: equal hashes are equal bytes, so the answer is the one that
// reading them again would give.
//
// It is bounded by the number of values, which are forgotten oldest use first,
// by halves. It is safe for concurrent use.
type Memo[V any] struct {
	half int

	mu            sync.Mutex
	recent, older map[Digest]V
}

// Digest stands for a body in a scope.
type Digest struct {
	sum   [sha256.Size]byte
	scope byte
}

// NewMemo returns a memo of at most so many values, at least two.
func NewMemo[V any](limit int) *Memo[V] {
	half := max(limit/2, 1)
	return &Memo[V]{half: half, recent: make(map[Digest]V), older: make(map[Digest]V)}
}

// Get returns what was put for these bytes in this scope, and the digest by
// which to put it if there is nothing. It does not allocate.
func (m *Memo[V]) Get(scope byte, body []byte) (d Digest, v V, ok bool) {
	d = Digest{sha256.Sum256(body), scope}
	m.mu.Lock()
	defer m.mu.Unlock()
	if v, ok = m.recent[d]; ok {
		return d, v, true
	}
	if v, ok = m.older[d]; ok {
		m.put(d, v)
	}
	return d, v, ok
}

// Put remembers a value by the digest that Get returned.
func (m *Memo[V]) Put(d Digest, v V) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.put(d, v)
}

func (m *Memo[V]) put(d Digest, v V) {
	if len(m.recent) >= m.half {
		clear(m.older)
		m.recent, m.older = m.older, m.recent
	}
	m.recent[d] = v
}
