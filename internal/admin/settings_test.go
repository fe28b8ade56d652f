package admin

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"testing"
)

func TestConfig(t *testing.T) {
	wantBody(t, newFixture(t, allOn(), allParts()).ask("GET", "/admin/config", ""), 200, `{"config":{"listen":"127.0.0.1:8080"}}`)
}

func TestReload(t *testing.T) {
	const refused = `{"error":{"code":"config_invalid","message":"the new configuration is refused and the old one stays","problems":`
	tests := []struct {
		name   string
		done   Reloaded
		err    error
		status int
		body   string
	}{
		{"changes", Reloaded{true, "2 settings changed", "a.yaml", []string{"cache.shared"}, []string{"listen"},
			[]Difference{{"cache.shared", "false", "true"}, {"listen", ":1", ":2"}}, []string{"odd"}}, nil, 200,
			`{"applied":true,"message":"2 settings changed","file":"a.yaml","changed":["cache.shared"],"restart_needed":["listen"],` +
				`"differences":[{"path":"cache.shared","old":"false","new":"true"},{"path":"listen","old":":1","new":":2"}],"warnings":["odd"]}`},
		{"nothing new", Reloaded{}, nil, 200,
			`{"applied":false,"message":"","file":"","changed":[],"restart_needed":[],"differences":[],"warnings":[]}`},
		{"one problem", Reloaded{}, errors.New("cache.maxsize: -1 is no size"), 422, refused + `["cache.maxsize: -1 is no size"]}}`},
		{"all problems", Reloaded{}, errors.Join(errors.New("a: wrong"), errors.Join(errors.New("b: odd"), errors.New("c: bad"))), 422,
			refused + `["a: wrong","b: odd","c: bad"]}}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			parts := allParts()
			parts.Reload = func(context.Context) (Reloaded, error) { return tt.done, tt.err }
			wantBody(t, newFixture(t, allOn(), parts).ask("POST", "/admin/config/reload", ""), tt.status, tt.body)
		})
	}
}

// TestPrepare: another configuration shows when it is applied, and not before.
func TestPrepare(t *testing.T) {
	f := newFixture(t, allOn(), allParts())
	cfg := allOn()
	cfg.Pprof, cfg.OpenMetrics, cfg.AllowedHosts = false, false, []string{"vega.example"}
	host := func(r *http.Request) { r.Host = "vega.example" }
	apply, err := f.Prepare(cfg, "another-key")
	if err != nil {
		t.Fatal(err)
	}
	if got := f.ask("GET", "/admin/debug/pprof/cmdline", "").Code; got != 200 {
		t.Errorf("a profile: %d", got)
	}
	if got := f.ask("GET", "/livez", "", host).Code; got != 403 {
		t.Errorf("another name in Host: %d", got)
	}
	apply()
	key := header("X-API-Key", "another-key")
	for path, want := range map[string]int{"/admin/debug/pprof/cmdline": 404, "/admin/config": 200, "/livez": 200} {
		if got := f.ask("GET", path, "", key, host).Code; got != want {
			t.Errorf("%s: %d, want %d", path, got, want)
		}
	}
	if got := f.ask("GET", "/admin/config", "").Code; got != 401 {
		t.Errorf("the old key: %d", got)
	}
	if got := f.ask("GET", "/livez", "", noKey).Code; got != 401 {
		t.Errorf("a probe without a key: %d", got)
	}
	cfg.AllowedHosts = []string{"a b"}
	if _, err := f.Prepare(cfg, "another-key"); err == nil {
		t.Error("an impossible name passes")
	}
}

func TestLogLevel(t *testing.T) {
	parts := allParts()
	f := newFixture(t, allOn(), parts)
	wantBody(t, f.ask("GET", "/admin/log-level", ""), 200, `{"level":"info"}`)
	for _, l := range []struct {
		word  string
		level slog.Level
	}{{"debug", slog.LevelDebug}, {"warn", slog.LevelWarn}, {"error", slog.LevelError}, {"info", slog.LevelInfo}, {"debug", slog.LevelDebug}} {
		want := `{"level":"` + l.word + `"}`
		wantBody(t, f.ask("PUT", "/admin/log-level", " "+want+"\n", header("Content-Type", "application/x-www-form-urlencoded")), 200, want)
		wantBody(t, f.ask("GET", "/admin/log-level", ""), 200, want)
		if got := parts.LogLevel.Level(); got != l.level {
			t.Errorf("%s: level %v, want %v", l.word, got, l.level)
		}
	}

	for _, tt := range []struct {
		body   string
		status int
		code   string
	}{
		{`{"level":"trace"}`, 422, "unknown_level"},
		{`{"level":"DEBUG"}`, 422, "unknown_level"},
		{`{"level":"debug+1"}`, 422, "unknown_level"},
		{`{"level":""}`, 422, "unknown_level"},
		{`{}`, 422, "unknown_level"},
		{`null`, 422, "unknown_level"},
		{`{"level":4}`, 400, "bad_request"},
		{`{"level":"info","extra":1}`, 400, "bad_request"},
		{`{"level":"info"}{"level":"warn"}`, 400, "bad_request"},
		{`{"level":"info"} x`, 400, "bad_request"},
		{`"info"`, 400, "bad_request"},
		{`level=info`, 400, "bad_request"},
		{`{"level":`, 400, "bad_request"},
		{``, 400, "bad_request"},
		{`{"level":"` + strings.Repeat("x", maxBodyBytes) + `"}`, 413, "body_too_large"},
		{`{"level":"info"}` + strings.Repeat(" ", maxBodyBytes), 413, "body_too_large"},
	} {
		wantRefusal(t, f.ask("PUT", "/admin/log-level", tt.body), tt.status, tt.code)
		if got := parts.LogLevel.Level(); got != slog.LevelDebug {
			t.Fatalf("%.40s: the level is %v now", tt.body, got)
		}
	}
}
