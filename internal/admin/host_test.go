package admin

import (
	"context"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
)

func TestHostName(t *testing.T) {
	tests := []struct {
		host, want string // want "" is refused
	}{
		{"localhost", "localhost"},
		{"LocalHost:8081", "localhost"},
		{"localhost.", "localhost"},
		{"localhost.:8081", "localhost"},
		{"localhost:", "localhost"},
		{"a-b_c.example:1", "a-b_c.example"},
		{"127.0.0.1:8081", "127.0.0.1"},
		{"[::1]", "::1"},
		{"[::1]:8081", "::1"},
		{"[0:0:0:0:0:0:0:1]:8081", "::1"},
		{"[::ffff:127.0.0.1]", "127.0.0.1"},
		{"[fe80::1%eth0]:80", "fe80::1"},
		{"", ""},
		{".", ""},
		{"localhost..", ""},
		{".localhost", ""},
		{"a..b", ""},
		{":8081", ""},
		{"::1", ""},
		{"[::1", ""},
		{"[::1]8081", ""},
		{"[::1]:http", ""},
		{"[127.0.0.1]", ""},
		{"[localhost]", ""},
		{"localhost:http", ""},
		{"localhost:80:80", ""},
		{"localhost:-1", ""},
		{"user@localhost", ""},
		{"localhost/", ""},
		{"localhost\x00.evil.example", ""},
		{"localhost evil.example", ""},
		{"localhost,evil.example", ""},
		{"evil.example#localhost", ""},
		{"l\u00f6calhost", ""},
		{"loca\u017fhost", ""},
		{"%6cocalhost", ""},
	}
	for _, tt := range tests {
		got, ok := hostName(tt.host)
		if got != tt.want || ok != (tt.want != "") {
			t.Errorf("hostName(%q) = %q, %v; want %q", tt.host, got, ok, tt.want)
		}
	}
}

func TestHostIsChecked(t *testing.T) {
	tests := []struct {
		name    string
		listen  string
		allowed []string
		local   string // the address that the connection came in on
		host    string
		ok      bool
	}{
		{name: "localhost", host: "localhost:8081", ok: true},
		{name: "another port", host: "localhost:1", ok: true},
		{name: "loopback", host: "127.0.0.1", ok: true},
		{name: "all of 127/8", host: "127.8.9.10:8081", ok: true},
		{name: "IPv6 loopback", host: "[::1]:8081", ok: true},
		{name: "mapped loopback", host: "[::ffff:127.0.0.1]", ok: true},
		{name: "no Host", host: ""},
		{name: "a rebound name", host: "evil.example:8081"},
		{name: "a name that begins like ours", host: "localhost.evil.example"},
		{name: "a name below ours", host: "evil.localhost"},
		{name: "an address in a name", host: "127.0.0.1.nip.example"},
		{name: "short for loopback", host: "127.1"},
		{name: "another address", host: "192.0.2.7:8081"},
		{name: "unspecified", host: "0.0.0.0:8081"},
		{name: "allowed", allowed: []string{"Vega.Example"}, host: "vega.example:8081", ok: true},
		{name: "allowed, written with a port", allowed: []string{"vega.example:8081"}, host: "vega.example", ok: true},
		{name: "allowed address", allowed: []string{"2001:db8::1"}, host: "[2001:db8::1]:8081", ok: true},
		{name: "below an allowed name", allowed: []string{"vega.example"}, host: "x.vega.example"},
		{name: "the listener's address", listen: "192.0.2.7:8081", host: "192.0.2.7:8081", ok: true},
		{name: "the listener's name", listen: "box.example:8081", host: "box.example:8081", ok: true},
		{name: "the connection's address", listen: ":8081", local: "192.0.2.7:8081", host: "192.0.2.7:8081", ok: true},
		{name: "the connection's IPv6 address", listen: ":8081", local: "[2001:db8::7]:8081", host: "[2001:db8::7]:8081", ok: true},
		{name: "not the connection's address", listen: ":8081", local: "192.0.2.7:8081", host: "192.0.2.8:8081"},
		{name: "rebound, on every address", listen: ":8081", local: "192.0.2.7:8081", host: "evil.example"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cfg := allOn()
			if tt.listen != "" {
				cfg.Listen = tt.listen
			}
			cfg.AllowedHosts = tt.allowed
			f := newFixture(t, cfg, allParts())
			for _, path := range []string{"/", "/livez", "/readyz", "/metrics", "/admin/config", "/nothing"} {
				w := f.ask("GET", path, "", func(r *http.Request) {
					r.Host = tt.host
					if tt.local != "" {
						local := net.TCPAddrFromAddrPort(netip.MustParseAddrPort(tt.local))
						*r = *r.WithContext(context.WithValue(r.Context(), http.LocalAddrContextKey, local))
					}
				})
				if !tt.ok {
					wantRefusal(t, w, 403, "host_refused")
				} else if w.Code == 403 {
					t.Errorf("%s: refused: %s", path, w.Body)
				}
			}
		})
	}
}

// What comes out is a name as it may stand in the table: reading it again
// changes nothing, and neither case, nor port, nor a final dot matters.
func FuzzHostName(f *testing.F) {
	for _, seed := range []string{"localhost:8081", "LOCALHOST.", "127.0.0.1", "[::1]:80", "[fe80::1%eth0]", "a..b", "[", "]:", "x:y:z", "\x00", "."} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, host string) {
		name, ok := hostName(host)
		if !ok {
			if name != "" {
				t.Fatalf("refused, and yet %q", name)
			}
			return
		}
		if name == "" || strings.ContainsAny(name, "@/[]%\\ \x00") {
			t.Fatalf("%q from %q is no name", name, host)
		}
		if again, ok := configuredName(name); ok && again != name {
			t.Fatalf("%q from %q reads %q the second time", name, host, again)
		}
		if upper, ok := hostName(strings.ToUpper(host)); ok && upper != name {
			t.Fatalf("%q and %q in capitals differ: %q, %q", host, strings.ToUpper(host), name, upper)
		}
		addr, err := netip.ParseAddr(name)
		if err != nil && strings.Contains(name, ":") {
			t.Fatalf("%q from %q has a port", name, host)
		}
		if err == nil && addr.IsLoopback() && !strings.HasPrefix(name, "127.") && name != "::1" {
			t.Fatalf("%q from %q is a loopback address in another spelling", name, host)
		}
	})
}
