package admin

import (
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// key holds the hash of the admin key, so that comparing takes the same time
// for keys of every length. The zero value matches nothing.
type key struct {
	hash atomic.Pointer[[sha256.Size]byte]
}

func (k *key) set(value string) {
	k.hash.Store(new(sha256.Sum256([]byte(value))))
}

func (k *key) matches(value string) bool {
	hash := k.hash.Load()
	if value == "" || hash == nil {
		return false
	}
	got := sha256.Sum256([]byte(value))
	return subtle.ConstantTimeCompare(got[:], hash[:]) == 1
}

// SetKey replaces the key for all requests that come after it. An empty key
// matches nothing, so it closes the API.
func (s *Server) SetKey(key string) { s.key.set(key) }

// MatchesKey reports whether a client showed the admin key, in constant time;
// the proxy asks it so as to keep the key from upstreams.
func (s *Server) MatchesKey(key string) bool { return s.key.matches(key) }

// requireKey lets only requests with the key through. A right key passes at
// any rate: the limit is for those who guess.
func (s *Server) requireKey(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		shown := shownKey(r)
		if s.key.matches(shown) {
			next.ServeHTTP(w, r)
			return
		}
		reason := "wrong key"
		if shown == "" {
			reason = "no key"
		}
		wait := s.failures.add(peer(r), time.Now())
		s.refusedKeys.warn(r, s.log, "admin key refused",
			slog.String("reason", reason), slog.Bool("limited", wait > 0))
		if wait > 0 {
			seconds := int((wait + time.Second - 1) / time.Second)
			w.Header().Set("Retry-After", strconv.Itoa(seconds))
			refuse(w, &refusal{status: http.StatusTooManyRequests, code: "rate_limited",
				message: fmt.Sprintf("too many requests without the right key from this address; come back in %d s, or with the key", seconds)})
			return
		}
		w.Header().Set("WWW-Authenticate", "Bearer")
		refuse(w, &refusal{status: http.StatusUnauthorized, code: "unauthorized",
			message: reason + ": send the admin key as X-API-Key (admin.api_key, or the file admin-key in the data directory)"})
	})
}

func shownKey(r *http.Request) string {
	if shown := r.Header.Get("X-API-Key"); shown != "" {
		return shown
	}
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return strings.TrimSpace(token)
}

const (
	maxFailures   = 20
	failureWindow = time.Minute
	// maxPeers bounds the table to half a megabyte.
	maxPeers = 1024
)

// failures counts requests without the right key per peer address. The zero
// value is ready.
type failures struct {
	mu    sync.Mutex // guards peers and what they point to
	peers map[netip.Addr]*peerFailures
}

// peerFailures is a ring of a peer's last failures; next is the oldest, or one
// never used.
type peerFailures struct {
	at   [maxFailures]time.Time
	next int
}

func (p *peerFailures) last() time.Time { return p.at[(p.next+maxFailures-1)%maxFailures] }

// add counts a failure and returns 0, or, where peer has had its share of the
// last minute, returns how long that lasts and counts nothing.
func (f *failures) add(peer netip.Addr, now time.Time) (wait time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	p := f.peers[peer]
	if p == nil {
		f.makeRoom(now)
		p = &peerFailures{}
		f.peers[peer] = p
	}
	if wait := failureWindow - now.Sub(p.at[p.next]); wait > 0 {
		return wait
	}
	p.at[p.next] = now
	p.next = (p.next + 1) % maxFailures
	return 0
}

// makeRoom forgets peers that have been quiet for a minute once the table is
// full, and where there is none, the one that has been so longest.
func (f *failures) makeRoom(now time.Time) {
	if f.peers == nil {
		f.peers = map[netip.Addr]*peerFailures{}
	}
	if len(f.peers) < maxPeers {
		return
	}
	var quietest netip.Addr
	var since time.Time
	for addr, p := range f.peers {
		last := p.last()
		if now.Sub(last) >= failureWindow {
			delete(f.peers, addr)
			continue
		}
		if since.IsZero() || last.Before(since) {
			quietest, since = addr, last
		}
	}
	if len(f.peers) >= maxPeers {
		delete(f.peers, quietest)
	}
}
