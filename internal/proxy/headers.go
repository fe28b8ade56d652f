package proxy

import (
	"cmp"
	"maps"
	"net"
	"net/http"
	"net/textproto"
	"slices"
	"strconv"
	"strings"
)

const (
	headerID     = "X-Vega-Request-Id"
	headerUp     = "X-Vega-Upstream"
	headerCache  = "X-Vega-Cache"
	headerReason = "X-Vega-Cache-Reason"
	headerError  = "X-Vega-Error"
)

// hopByHop are the headers of one connection, which never pass.
var hopByHop = []string{
	"Connection", "Proxy-Connection", "Keep-Alive", "Te", "Trailer", "Transfer-Encoding", "Upgrade",
	"Proxy-Authenticate", "Proxy-Authorization",
}

// stripHops removes what concerns one connection only, with what Connection names.
func stripHops(h http.Header) {
	for _, line := range h["Connection"] {
		for name := range strings.SplitSeq(line, ",") {
			if name = textproto.TrimString(name); name != "" {
				h.Del(name)
			}
		}
	}
	for _, name := range hopByHop {
		delete(h, name)
	}
}

// outbound makes the client's header into the one that goes upstream, in place:
// net/http has read all it needs from it.
func (x *exchange) outbound() http.Header {
	h := x.r.Header
	stripHops(h)
	delete(h, "Expect") // the body is read before, or passed on at once
	for name := range h {
		if strings.HasPrefix(name, "X-Vega-") {
			delete(h, name)
		}
	}
	if slices.ContainsFunc(h["X-Api-Key"], x.s.opts.IsAdminKey) {
		delete(h, "X-Api-Key")
	}
	// Whoever is in front of a sidecar is the application: what it claims about
	// others is replaced.
	delete(h, "Forwarded")
	if host, _, err := net.SplitHostPort(x.r.RemoteAddr); err == nil {
		h["X-Forwarded-For"] = []string{host}
	} else {
		delete(h, "X-Forwarded-For")
	}
	proto := "http"
	if x.r.TLS != nil {
		proto = "https"
	}
	values := []string{x.r.Host, proto, x.s.hops.received(x.r.ProtoMajor, x.r.ProtoMinor)}
	h["X-Forwarded-Host"], h["X-Forwarded-Proto"] = values[0:1:1], values[1:2:2]
	if hops := h["Via"]; len(hops) > 0 {
		h["Via"] = append(hops, values[2])
	} else {
		h["Via"] = values[2:3:3]
	}
	return h
}

// inbound copies an answer's header to the client's, adding our own marks.
func (x *exchange) inbound(from http.Header) {
	stripHops(from)
	to := x.w.Header()
	maps.Copy(to, from)
	if hops := from["Via"]; len(hops) > 0 {
		to["Via"] = append(hops, x.s.hops.http11)
	} else {
		to["Via"] = x.s.hops.answer
	}
	for _, name := range [...]string{"Date", "Content-Type"} {
		if _, ok := to[name]; !ok {
			to[name] = nil // net/http would make one up
		}
	}
	x.mark(to)
}

// cacheStatus is what the cache had to do with the answer.
func (x *exchange) cacheStatus() string { return cmp.Or(x.caching.status, cacheBypass) }

// servedBy is the upstream whose answer it is; "" if none was asked.
func (x *exchange) servedBy() string {
	if u := x.asking.Load(); u != nil {
		return u.Name()
	}
	return x.report.served
}

// attempts is how often an upstream was asked for this exchange.
func (x *exchange) attempts() int {
	switch {
	case x.answer != nil:
		return x.answer.Attempts
	case x.report.attempts > 0:
		return x.report.attempts
	case x.asking.Load() != nil: // whoever left did not wait to be told
		return 1
	}
	return 0
}

// cacheStatuses are the values of the header, made once.
var cacheStatuses = map[string][]string{
	cacheHit: {cacheHit}, cacheMiss: {cacheMiss}, cacheStale: {cacheStale}, cacheCoalesced: {cacheCoalesced}, cacheBypass: {cacheBypass},
}

// mark sets what every answer carries, and counts it for the cache. The values share
// one allocation.
func (x *exchange) mark(h http.Header) {
	x.count()
	values := []string{x.id, x.caching.reason, x.servedBy()}
	h[headerID] = values[0:1:1]
	h[headerCache] = cacheStatuses[x.cacheStatus()]
	if values[1] != "" {
		h[headerReason] = values[1:2:2]
	}
	if values[2] != "" {
		h[headerUp] = values[2:3:3]
	}
	if x.caching.age >= 0 {
		h["Age"] = []string{strconv.FormatInt(x.caching.age, 10)}
	}
}
