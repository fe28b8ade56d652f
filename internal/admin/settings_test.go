package admin

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

func TestConfig(t *testing.T) {
	wantBody(t, newFixture(t, allOn(), allParts()).ask("GET", "/admin/config", ""), 200, `{"config":{"listen":"127.0.0.1:8080"}}`)
}

func TestReload(t *testing.T) {
	tests := []struct {
		name    string
		changed []string
		err     error
		status  int
		body    string
	}{
		{"changes", []string{"cache.ttl_seconds", "upstreams[0].url"}, nil, 200, `{"changed":["cache.ttl_seconds","upstreams[0].url"]}`},
		{"nothing new", nil, nil, 200, `{"changed":[]}`},
		{"one problem", nil, errors.New("cache.maxsize: -1 is no size"), 422,
			`{"error":{"code":"config_invalid","message":"the new configuration is refused and the old one stays","problems":["cache.maxsize: -1 is no size"]}}`},
		{"all problems", nil, errors.Join(errors.New("a: wrong"), errors.Join(errors.New("b: odd"), errors.New("c: bad"))), 422,
			`{"error":{"code":"config_invalid","message":"the new configuration is refused and the old one stays","problems":["a: wrong","b: odd","c: bad"]}}`},
		{"a restart", nil, errors.Join(fmt.Errorf("listen: %w", ErrRestart), fmt.Errorf("data_dir: %w", ErrRestart)), 409,
			`{"error":{"code":"restart_needed","message":"the new configuration is refused and the old one stays","problems":["listen: takes effect only after a restart","data_dir: takes effect only after a restart"]}}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			parts := allParts()
			parts.Reload = func(context.Context) ([]string, error) { return tt.changed, tt.err }
			wantBody(t, newFixture(t, allOn(), parts).ask("POST", "/admin/config/reload", ""), tt.status, tt.body)
		})
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
