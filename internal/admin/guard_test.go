package admin

import (
	"net/http"
	"testing"
	"testing/synctest"
	"time"
)

func TestOriginIsChecked(t *testing.T) {
	type headers map[string]string
	tests := []struct {
		name    string
		method  string
		path    string
		headers headers
		ok      bool
	}{
		{"no browser reads", "GET", "/admin/config", nil, true},
		{"no browser writes", "POST", "/admin/config/reload", nil, true},
		{"our page reads", "GET", "/admin/config", headers{"Sec-Fetch-Site": "same-origin"}, true},
		{"our page writes", "POST", "/admin/config/reload", headers{"Sec-Fetch-Site": "same-origin", "Origin": "http://localhost:8081"}, true},
		{"our page, an old browser", "POST", "/admin/config/reload", headers{"Origin": "http://localhost:8081"}, true},
		{"the user, by hand", "GET", "/metrics", headers{"Sec-Fetch-Site": "none", "Sec-Fetch-Mode": "navigate"}, true},
		{"a link to the root", "GET", "/", headers{"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}, true},

		{"the root in a frame", "GET", "/", headers{"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe"}, false},
		{"a link further in", "GET", "/admin/config", headers{"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}, false},
		{"a form posted to the root", "POST", "/", headers{"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}, false},
		{"a foreign page reads", "GET", "/admin/config", headers{"Sec-Fetch-Site": "cross-site"}, false},
		{"a foreign page reads metrics", "GET", "/metrics", headers{"Sec-Fetch-Site": "cross-site"}, false},
		{"a page of a sibling host", "GET", "/admin/config", headers{"Sec-Fetch-Site": "same-site"}, false},
		{"a foreign page, an old browser", "GET", "/admin/config", headers{"Origin": "http://evil.example"}, false},
		{"a page of another port", "GET", "/admin/config", headers{"Origin": "http://localhost:3000"}, false},
		{"a page without an origin", "POST", "/admin/config/reload", headers{"Origin": "null"}, false},
		{"a simple POST", "POST", "/admin/config/reload", headers{"Origin": "http://evil.example", "Content-Type": "text/plain"}, false},
		{"a form", "POST", "/admin/config/reload", headers{"Origin": "http://evil.example", "Content-Type": "application/x-www-form-urlencoded"}, false},
		{"a preflight", "OPTIONS", "/admin/log-level", headers{"Origin": "http://evil.example", "Access-Control-Request-Method": "PUT"}, false},
		{"an extension", "GET", "/admin/config", headers{"Origin": "chrome-extension://abc"}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := newFixture(t, allOn(), allParts())
			w := f.ask(tt.method, tt.path, "", func(r *http.Request) {
				for name, value := range tt.headers {
					r.Header.Set(name, value)
				}
			})
			if !tt.ok {
				wantRefusal(t, w, 403, "origin_refused")
			} else if w.Code != 200 {
				t.Errorf("got %d %s, want 200", w.Code, w.Body)
			}
			for name := range w.Header() {
				if len(name) > 14 && name[:14] == "Access-Control" {
					t.Errorf("a CORS header: %s", name)
				}
			}
			if got := len(f.failures.peers); got != 0 {
				t.Error("counted as a failure of the key")
			}
		})
	}
}

func TestRefusedPagesAreLoggedSeldom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, allOn(), allParts())
		for range 5 {
			f.ask("GET", "/", "", func(r *http.Request) { r.Host = "evil.example" })
		}
		time.Sleep(10 * time.Second)
		f.ask("GET", "/", "", header("Origin", "http://evil.example"))
		logged := f.logged.with(t, "admin request refused")
		if len(logged) != 2 {
			t.Fatalf("got %d lines, want 2: %v", len(logged), logged)
		}
		if logged[0]["code"] != "host_refused" || logged[0]["host"] != "evil.example" {
			t.Errorf("first line: %v", logged[0])
		}
		if logged[1]["code"] != "origin_refused" || logged[1]["origin"] != "http://evil.example" || logged[1]["left_out_before"] != 4.0 {
			t.Errorf("second line: %v", logged[1])
		}
	})
}

func TestEveryAnswerIsHardened(t *testing.T) {
	f := newFixture(t, allOn(), allParts())
	want := map[string]string{
		"Cache-Control":                "no-store",
		"Content-Security-Policy":      "default-src 'none'; frame-ancestors 'none'",
		"Cross-Origin-Resource-Policy": "same-origin",
		"Referrer-Policy":              "no-referrer",
		"X-Content-Type-Options":       "nosniff",
		"X-Frame-Options":              "DENY",
	}
	for path, edit := range map[string]func(*http.Request){
		"/livez":              noKey,
		"/metrics":            noKey,
		"/nothing":            noKey,
		"/admin/config":       func(*http.Request) {},
		"/admin/log-level":    noKey,
		"/admin/debug/pprof/": func(*http.Request) {},
		"/readyz":             func(r *http.Request) { r.Host = "evil.example" },
	} {
		w := f.ask("GET", path, "", edit)
		for name, value := range want {
			if got := w.Header().Get(name); got != value {
				t.Errorf("%s: %s is %q, want %q", path, name, got, value)
			}
		}
	}
}
