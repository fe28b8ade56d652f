package proxy

import (
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strings"
)

// guard decides who may use the proxy's port, before anything of the request's
// body is read.
type guard struct {
	loopback    bool     // the listener is reached from this machine only
	hosts       []string // names in Host besides localhost and loopback addresses
	secret      bool     // an upstream's headers hold a secret that is ours to protect
	keys        [][sha256.Size]byte
	allow, deny []*regexp.Regexp
	hops        *hops
}

func newGuard(cfg Config, hops *hops, loopback, secret bool) (*guard, error) {
	g := &guard{hops: hops, loopback: loopback, secret: secret}
	for _, h := range cfg.AllowedHosts {
		g.hosts = append(g.hosts, strings.ToLower(h))
	}
	for _, k := range cfg.ClientKeys {
		g.keys = append(g.keys, sha256.Sum256([]byte(k)))
	}
	var err error
	if g.allow, err = compileGlobs(cfg.Routes.Allow); err != nil {
		return nil, fmt.Errorf("routes.allow: %w", err)
	}
	if g.deny, err = compileGlobs(cfg.Routes.Deny); err != nil {
		return nil, fmt.Errorf("routes.deny: %w", err)
	}
	return g, nil
}

// check returns nil if the request may pass. path is decoded and cleaned.
func (g *guard) check(r *http.Request, path string) *refusal {
	switch {
	case g.loopback && !g.known(hostName(r.Host)):
		// A web page whose name was made to point at this machine sends its
		// own name here: the backend's protection against it is gone, since
		// it gets its own name as Host.
		return &refusal{code: hostRefused, message: fmt.Sprintf("the name %.100q in Host is neither localhost nor a loopback address; add it to allowed_hosts if it is yours", r.Host)}
	case g.secret && g.foreignOrigin(r):
		return &refusal{code: originRefused, message: "requests of web pages from other origins are refused, since this proxy adds a credential of its own"}
	case len(g.keys) > 0 && !g.admit(r) && !isPreflight(r):
		return &refusal{code: unauthorized, message: "a valid client key is needed, as Authorization: Bearer or X-API-Key"}
	case len(g.allow) > 0 && !matchAny(g.allow, path), matchAny(g.deny, path):
		return &refusal{code: routeClosed, message: "this path is closed by routes.allow or routes.deny"}
	case g.hops.met(r.Header):
		return &refusal{code: loopDetected, message: "this request has passed this proxy before: the upstream's URL leads back to it"}
	}
	return nil
}

// known tells whether a name is this machine's, or was declared to be.
func (g *guard) known(name string) bool {
	switch name {
	case "127.0.0.1", "localhost", "::1":
		return true
	case "":
		return false
	}
	if addr, err := netip.ParseAddr(name); err == nil && addr.Unmap().IsLoopback() {
		return true
	}
	for _, h := range g.hosts {
		if strings.EqualFold(h, name) {
			return true
		}
	}
	return strings.EqualFold(strings.TrimSuffix(name, "."), "localhost")
}

// foreignOrigin tells whether a browser says that another site's page asks.
func (g *guard) foreignOrigin(r *http.Request) bool {
	origin := r.Header.Get("Origin")
	if origin == "" {
		return false
	}
	u, err := url.Parse(origin)
	if err != nil || u.Host == "" { // "null" is the origin of nobody
		return true
	}
	return !strings.EqualFold(u.Host, r.Host) && !g.known(hostName(u.Host))
}

// isPreflight tells whether a browser asks beforehand what a page may send, which it
// does without credentials: that the request itself has a key.
func isPreflight(r *http.Request) bool {
	return r.Method == http.MethodOptions && r.Header.Get("Origin") != "" && r.Header.Get("Access-Control-Request-Method") != "" && r.ContentLength == 0
}

// admit looks for a client key and takes it out: it is ours, not the upstream's.
func (g *guard) admit(r *http.Request) bool {
	admitted := false
	if slices.ContainsFunc(r.Header["Authorization"], g.isBearer) {
		delete(r.Header, "Authorization")
		admitted = true
	}
	if slices.ContainsFunc(r.Header["X-Api-Key"], g.isKey) { // some clients send it in both places
		delete(r.Header, "X-Api-Key")
		admitted = true
	}
	return admitted
}

func (g *guard) isBearer(value string) bool {
	scheme, key, ok := strings.Cut(value, " ")
	return ok && strings.EqualFold(scheme, "Bearer") && g.isKey(strings.TrimSpace(key))
}

func (g *guard) isKey(key string) bool {
	sum := sha256.Sum256([]byte(key))
	found := 0
	for _, k := range g.keys { // all of them, always: how long it takes tells nothing
		found |= subtle.ConstantTimeCompare(sum[:], k[:])
	}
	return found == 1 && key != ""
}

// hostName is the name in a Host header or an origin, without port and brackets.
func hostName(host string) string {
	if strings.IndexByte(host, ':') < 0 {
		return host
	}
	if h, _, err := net.SplitHostPort(host); err == nil {
		return h
	}
	return strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
}

// cleanPath is the decoded path as routes are matched on it: without empty and
// dot segments and without a slash at the end. What is forwarded stays raw.
func cleanPath(p string) string {
	if p == "" || p == "*" {
		return "/"
	}
	if p[0] == '/' && len(p) > 1 && p[len(p)-1] != '/' && !strings.Contains(p, "//") && !strings.Contains(p, "/.") {
		return p
	}
	return path.Clean("/" + p)
}

// compileGlobs turns path globs into expressions: `*` stands for anything within
// a segment, `**` across segments, `?` for one character. A segment `**` may also be
// none: `/a/**` is /a with all that is below, for paths lose the slash at their end.
func compileGlobs(globs []string) ([]*regexp.Regexp, error) {
	var out []*regexp.Regexp
	for _, g := range globs {
		var b strings.Builder
		b.WriteString(`\A`)
		for i := 0; i < len(g); i++ {
			switch {
			case g[i:] == "/**", strings.HasPrefix(g[i:], "/**/"):
				b.WriteString(`(?s:/.*)?`)
				i += 2
			case strings.HasPrefix(g[i:], "**"):
				b.WriteString(`(?s:.*)`)
				i++
			case g[i] == '*':
				b.WriteString(`[^/]*`)
			case g[i] == '?':
				b.WriteString(`[^/]`)
			default:
				b.WriteString(regexp.QuoteMeta(g[i : i+1]))
			}
		}
		b.WriteString(`\z`)
		re, err := regexp.Compile(b.String())
		if err != nil {
			return nil, fmt.Errorf("the glob %q: %w", g, err)
		}
		out = append(out, re)
	}
	return out, nil
}

func matchAny(globs []*regexp.Regexp, path string) bool {
	for _, re := range globs {
		if re.MatchString(path) {
			return true
		}
	}
	return false
}
