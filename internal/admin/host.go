package admin

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"
)

// listenerNames is every name that Host may have besides localhost, loopback
// addresses and the address a connection came in on.
func listenerNames(cfg Config) (map[string]bool, error) {
	names := map[string]bool{}
	if host, _, err := net.SplitHostPort(cfg.Listen); err == nil {
		if name, ok := configuredName(host); ok {
			names[name] = true
		}
	}
	for i, entry := range cfg.AllowedHosts {
		name, ok := configuredName(entry)
		if !ok {
			return nil, fmt.Errorf("admin.allowed_hosts[%d]: %q is no host name or address; write it as it stands in the URL, without scheme and path", i, entry)
		}
		names[name] = true
	}
	return names, nil
}

// configuredName is hostName for a setting, where an IPv6 address may stand
// without brackets.
func configuredName(host string) (string, bool) {
	if addr, err := netip.ParseAddr(host); err == nil {
		return plain(addr).String(), true
	}
	return hostName(host)
}

// ownHost reports whether the name in Host is one under which this listener is
// reached on purpose. An address can be trusted where it is ours, because only
// names can be rebound.
func (s *Server) ownHost(r *http.Request) bool {
	name, ok := hostName(r.Host)
	if !ok {
		return false
	}
	if name == "localhost" || s.surface.Load().hosts[name] {
		return true
	}
	addr, err := netip.ParseAddr(name)
	if err != nil {
		return false
	}
	if addr.IsLoopback() {
		return true
	}
	local, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	return ok && addr == address(local.String())
}

// hostName returns the name or address in a Host header in its one spelling:
// lower case, without port, brackets, zone or final dot. It refuses what could
// not stand in a URL, an empty name or an empty part of one among it.
func hostName(host string) (name string, ok bool) {
	if inner, found := strings.CutPrefix(host, "["); found {
		inner, port, found := strings.Cut(inner, "]")
		addr, err := netip.ParseAddr(inner)
		if !found || err != nil || !addr.Is6() || (port != "" && !isPort(port)) {
			return "", false
		}
		return plain(addr).String(), true
	}
	if i := strings.IndexByte(host, ':'); i >= 0 {
		if !isPort(host[i:]) {
			return "", false
		}
		host = host[:i]
	}
	host = strings.TrimSuffix(host, ".")
	if strings.Contains("."+host+".", "..") || strings.ContainsFunc(host, notInName) {
		return "", false
	}
	return strings.ToLower(host), true
}

// isPort accepts ":" alone too, as URLs do.
func isPort(s string) bool {
	digits, found := strings.CutPrefix(s, ":")
	return found && !strings.ContainsFunc(digits, func(r rune) bool { return r < '0' || r > '9' })
}

func notInName(r rune) bool {
	switch {
	case 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z', '0' <= r && r <= '9', r == '-', r == '.', r == '_':
		return false
	}
	return true
}

// address is the address in "address:port", or the zero Addr where there is
// none, as for a Unix socket.
func address(hostPort string) netip.Addr {
	ap, err := netip.ParseAddrPort(hostPort)
	if err != nil {
		return netip.Addr{}
	}
	return plain(ap.Addr())
}

func plain(addr netip.Addr) netip.Addr { return addr.Unmap().WithZone("") }

// peer is the address at the other end of the request's connection. Headers
// that claim another one are not believed.
func peer(r *http.Request) netip.Addr { return address(r.RemoteAddr) }
