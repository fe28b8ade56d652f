package cache

import (
	"crypto/sha256"
	"encoding/binary"
	"net/http"
	"slices"
	"sync"
)

// Key names a question: everything that decides what its answer may be. Equal
// keys are equal questions.
type Key [sha256.Size]byte

// Tenant is whose answers a request may be given.
type Tenant [sha256.Size]byte

// keyVersion changes whenever equal questions would get other keys than before,
// or other questions equal ones.
const keyVersion = "vega-key-1"

// credentials are the headers that say who asks. A cookie can be one.
var credentials = [...]string{"Authorization", "X-Api-Key", "Api-Key", "Cookie"}

// TenantOf returns the tenant that a request's credentials stand for, as a hash
// from which they cannot be read back. No credentials are a tenant of their own.
// With shared, all requests are of one tenant.
func TenantOf(h http.Header, shared bool) Tenant {
	switch {
	case shared:
		return Tenant{}
	case !slices.ContainsFunc(credentials[:], func(name string) bool { return len(h[name]) > 0 }):
		return anonymous
	}
	return tenantOf(h)
}

var anonymous = tenantOf(nil)

func tenantOf(h http.Header) Tenant {
	m := materials.Get().(*material)
	defer materials.Put(m)
	m.buf = m.buf[:0]
	m.text("vega-tenant-1")
	m.headers(h, credentials[:])
	return sha256.Sum256(m.buf)
}

// Subject is what a key is made of. The caller has stripped credentials that
// are not the client's own.
type Subject struct {
	Tenant   Tenant
	Endpoint string // method and path
	// Route is where the question goes: another route is another answerer.
	Route string
	// Generation is new whenever what stands behind the route may have changed,
	// and the same in all replicas that share a second tier.
	Generation uint64
	Query      string // as sent
	Header     http.Header
	Body       [sha256.Size]byte // hash of the body's canonical form
}

// shaping are the headers, besides credentials, that may change an answer. The
// origin changes its CORS headers.
var shaping = [...]string{
	"Content-Type", "Openai-Beta", "Anthropic-Version", "Anthropic-Beta", "Openai-Organization", "Openai-Project",
	"Origin",
}

// Key hashes the subject, each part with its length before it, so that no two
// subjects run into each other. It does not allocate.
func (s *Subject) Key() Key {
	m := materials.Get().(*material)
	defer materials.Put(m)
	m.buf = m.buf[:0]
	m.text(keyVersion)
	m.buf = append(m.buf, s.Tenant[:]...)
	m.text(s.Endpoint)
	m.text(s.Route)
	m.number(s.Generation)
	m.text(s.Query)
	m.headers(s.Header, shaping[:])
	m.buf = append(m.buf, s.Body[:]...)
	return sha256.Sum256(m.buf)
}

// material is what is hashed. Parts of fixed length need no length before them.
type material struct{ buf []byte }

var materials = sync.Pool{New: func() any { return &material{make([]byte, 0, 512)} }}

func (m *material) number(n uint64) { m.buf = binary.LittleEndian.AppendUint64(m.buf, n) }

func (m *material) text(s string) {
	m.number(uint64(len(s)))
	m.buf = append(m.buf, s...)
}

// headers adds the headers of these names, which are in canonical spelling.
func (m *material) headers(h http.Header, names []string) {
	for _, name := range names {
		values := h[name]
		m.number(uint64(len(values)))
		for _, v := range values {
			m.text(v)
		}
	}
}
