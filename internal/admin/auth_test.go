package admin

import (
	"net/http"
	"net/netip"
	"strconv"
	"testing"
	"testing/synctest"
	"time"
)

func TestKeyIsAsked(t *testing.T) {
	tests := []struct {
		name   string
		edit   func(*http.Request)
		status int
	}{
		{"right key", func(*http.Request) {}, 200},
		{"right key as bearer", func(r *http.Request) { noKey(r); r.Header.Set("Authorization", "Bearer "+testKey) }, 200},
		{"scheme in another case", func(r *http.Request) { noKey(r); r.Header.Set("Authorization", "bEARER "+testKey) }, 200},
		{"none", noKey, 401},
		{"empty", header("X-API-Key", ""), 401},
		{"wrong", header("X-API-Key", "wrong"), 401},
		{"a prefix", header("X-API-Key", testKey[:5]), 401},
		{"with something behind", header("X-API-Key", testKey+"x"), 401},
		{"in another case", header("X-API-Key", "CORRECT-HORSE-BATTERY"), 401},
		{"wrong bearer", func(r *http.Request) { noKey(r); r.Header.Set("Authorization", "Bearer wrong") }, 401},
		{"another scheme", func(r *http.Request) { noKey(r); r.Header.Set("Authorization", "Basic "+testKey) }, 401},
		{"in the query", func(r *http.Request) { noKey(r); r.URL.RawQuery = "X-API-Key=" + testKey }, 401},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newFixture(t, allOn(), allParts()).ask("GET", "/admin/config", "", tt.edit)
			if w.Code != tt.status {
				t.Fatalf("got %d %s, want %d", w.Code, w.Body, tt.status)
			}
			if tt.status == 401 {
				wantRefusal(t, w, 401, "unauthorized")
				if got := w.Header().Get("WWW-Authenticate"); got != "Bearer" {
					t.Errorf("WWW-Authenticate %q", got)
				}
			}
		})
	}
}

// Without the key, nobody learns what exists below /admin.
func TestKeyComesBeforeRouting(t *testing.T) {
	f := newFixture(t, allOn(), allParts())
	for _, path := range []string{"/admin", "/admin/", "/admin/nothing", "/admin/openapi.json", "/admin/debug/pprof/",
		"/admin/../admin/config", "/admin//config"} {
		f.failures = failures{}
		for _, method := range []string{"GET", "HEAD", "DELETE", "OPTIONS"} {
			if w := f.ask(method, path, "", noKey); w.Code != 401 {
				t.Errorf("%s %s: got %d, want 401", method, path, w.Code)
			}
		}
	}
	// Escaped, it is another path to the router: nothing is behind it.
	if w := f.ask("GET", "/%61dmin/config", "", noKey); w.Code != 404 {
		t.Errorf("escaped path: got %d, want 404", w.Code)
	}
}

func TestKeyRotation(t *testing.T) {
	f := newFixture(t, allOn(), allParts())
	if !f.MatchesKey(testKey) || f.MatchesKey("") || f.MatchesKey("next") {
		t.Error("MatchesKey before SetKey")
	}
	f.SetKey("next")
	if f.MatchesKey(testKey) || !f.MatchesKey("next") {
		t.Error("MatchesKey after SetKey")
	}
	if w := f.ask("GET", "/admin/config", ""); w.Code != 401 {
		t.Errorf("old key: got %d, want 401", w.Code)
	}
	if w := f.ask("GET", "/admin/config", "", header("X-API-Key", "next")); w.Code != 200 {
		t.Errorf("new key: got %d, want 200", w.Code)
	}
	f.SetKey("")
	if f.MatchesKey("") {
		t.Error("an empty key matches")
	}
}

func TestFailuresAreLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, allOn(), allParts())
		from := func(addr string) func(*http.Request) { return func(r *http.Request) { r.RemoteAddr = addr } }
		fail := func(addr string) int {
			return f.ask("GET", "/admin/config", "", from(addr), header("X-API-Key", "guess")).Code
		}
		for i := range 20 {
			if code := fail("10.0.0.1:" + strconv.Itoa(1000+i)); code != 401 {
				t.Fatalf("failure %d: got %d, want 401", i+1, code)
			}
			time.Sleep(time.Second)
		}
		// 20 s have passed; the first failure is a minute old in 40.
		w := f.ask("GET", "/admin/config", "", from("10.0.0.1:1"), noKey)
		wantRefusal(t, w, 429, "rate_limited")
		if got := w.Header().Get("Retry-After"); got != "40" {
			t.Errorf("Retry-After %q, want 40", got)
		}
		if w := f.ask("GET", "/admin/config", "", from("10.0.0.1:1")); w.Code != 200 {
			t.Errorf("the right key from a limited peer: got %d, want 200", w.Code)
		}
		if code := fail("10.0.0.2:1"); code != 401 {
			t.Errorf("another peer: got %d, want 401", code)
		}
		if code := fail("[::ffff:10.0.0.1]:1"); code != 429 {
			t.Errorf("the same peer as a mapped address: got %d, want 429", code)
		}

		time.Sleep(40*time.Second - time.Nanosecond)
		if code := fail("10.0.0.1:1"); code != 429 {
			t.Errorf("just before the minute is over: got %d, want 429", code)
		}
		time.Sleep(time.Nanosecond)
		if code := fail("10.0.0.1:1"); code != 401 {
			t.Errorf("after the minute: got %d, want 401", code)
		}
		if code := fail("10.0.0.1:1"); code != 429 {
			t.Errorf("one more: got %d, want 429", code)
		}
	})
}

func TestFailuresAreLoggedSeldomAndWithoutTheKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, allOn(), allParts())
		for range 30 {
			f.ask("POST", "/admin/config/reload?k=query-secret", "", header("X-API-Key", "guessed-secret"))
		}
		time.Sleep(10 * time.Second)
		f.ask("GET", "/admin/config", "", noKey)

		logged := f.logged.with(t, "admin key refused")
		if len(logged) != 2 {
			t.Fatalf("got %d lines, want 2: %v", len(logged), logged)
		}
		first, second := logged[0], logged[1]
		if first["reason"] != "wrong key" || first["peer"] != "192.0.2.1" || first["path"] != "/admin/config/reload" || first["limited"] != false {
			t.Errorf("first line: %v", first)
		}
		if second["reason"] != "no key" || second["left_out_before"] != 29.0 || second["limited"] != true {
			t.Errorf("second line: %v", second)
		}
		for _, secret := range []string{testKey, "guessed-secret", "query-secret"} {
			if f.logged.contain(secret) {
				t.Errorf("the log has %q", secret)
			}
		}
		if got := f.logged.with(t, "admin change"); len(got) != 0 {
			t.Errorf("a refused change is in the audit: %v", got)
		}
	})
}

func TestFailureTableIsBounded(t *testing.T) {
	addr := func(i int) netip.Addr { return netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}) }
	now := time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)

	t.Run("the quietest goes first", func(t *testing.T) {
		var f failures
		for i := range maxPeers {
			f.add(addr(i), now.Add(time.Duration(i)*time.Millisecond))
		}
		f.add(addr(0), now.Add(2*time.Second)) // no longer the quietest
		f.add(addr(maxPeers), now.Add(3*time.Second))
		if len(f.peers) != maxPeers {
			t.Errorf("%d peers, want %d", len(f.peers), maxPeers)
		}
		if f.peers[addr(0)] == nil || f.peers[addr(1)] != nil || f.peers[addr(maxPeers)] == nil {
			t.Error("another peer than the quietest was forgotten")
		}
	})
	t.Run("who was quiet for a minute goes", func(t *testing.T) {
		var f failures
		for i := range maxPeers {
			f.add(addr(i), now.Add(time.Duration(i%2)*time.Second))
		}
		f.add(addr(maxPeers), now.Add(time.Minute))
		if want := maxPeers/2 + 1; len(f.peers) != want {
			t.Errorf("%d peers, want %d", len(f.peers), want)
		}
	})
}
