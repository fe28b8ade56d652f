package admin

import (
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"
)

const (
	// maxBodyBytes and bodyTimeout bound a request's body: the longest that
	// means anything is a log level.
	maxBodyBytes = 64 << 10
	bodyTimeout  = 10 * time.Second
)

// hardened sets what keeps a browser from making anything of an answer but
// showing it to who asked. There is no CORS header among them, ever.
func hardened(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Cache-Control", "no-store")
		h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		next.ServeHTTP(w, r)
	})
}

// limited bounds the size and the time of a request's body, also of one that
// nobody reads.
func limited(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ContentLength != 0 {
			// Not supported only by writers without a connection, as in tests.
			_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(bodyTimeout))
			r.Body = http.MaxBytesReader(w, r.Body, maxBodyBytes)
		}
		next.ServeHTTP(w, r)
	})
}

// guarded keeps web pages out. A page whose name was rebound to our address
// sends its own name in Host; any other page is a foreign origin.
func (s *Server) guarded(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var ref *refusal
		switch {
		case !s.ownHost(r):
			ref = &refusal{status: http.StatusForbidden, code: "host_refused",
				message: fmt.Sprintf("%q in Host is no name of this listener; use localhost or its address, or add the name to admin.allowed_hosts", r.Host)}
		case !sameOrigin(r):
			ref = &refusal{status: http.StatusForbidden, code: "origin_refused",
				message: "a page of another origin may not use the admin API"}
		default:
			next.ServeHTTP(w, r)
			return
		}
		s.refusedHosts.warn(r, s.log, "admin request refused",
			slog.String("code", ref.code), slog.String("host", r.Host), slog.String("origin", r.Header.Get("Origin")))
		refuse(w, ref)
	})
}

// sameOrigin reports whether the request comes from no browser, from a page of
// ours, or from the user. The standard library's rule lets every read pass,
// since pages cannot see the answers; here reads follow the rule for writes,
// so that a page can neither probe for us nor use up its user's failures. Only
// a link to the root, which shows nothing secret, works from other sites.
func sameOrigin(r *http.Request) bool {
	if r.Method == http.MethodGet && r.URL.Path == "/" &&
		r.Header.Get("Sec-Fetch-Mode") == "navigate" && r.Header.Get("Sec-Fetch-Dest") == "document" {
		return true
	}
	var rule http.CrossOriginProtection
	return rule.Check(&http.Request{Method: http.MethodPost, URL: r.URL, Host: r.Host, Header: r.Header}) == nil
}

// quiet is the least time between two lines of a seldom.
const quiet = 10 * time.Second

// seldom logs what a stranger can cause as often as he likes: one line, then
// none for a while, then one with the number of those left out.
type seldom struct {
	mu      sync.Mutex // guards all below
	last    time.Time
	skipped int
}

func (s *seldom) warn(r *http.Request, log *slog.Logger, message string, attrs ...slog.Attr) {
	s.mu.Lock()
	now := time.Now()
	if now.Sub(s.last) < quiet {
		s.skipped++
		s.mu.Unlock()
		return
	}
	skipped := s.skipped
	s.last, s.skipped = now, 0
	s.mu.Unlock()
	log.LogAttrs(r.Context(), slog.LevelWarn, message, append(attrs,
		slog.String("peer", peer(r).String()),
		slog.String("method", r.Method),
		slog.String("path", r.URL.Path),
		slog.Int("left_out_before", skipped))...)
}
