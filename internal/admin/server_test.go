package admin

import (
	"log/slog"
	"strings"
	"testing"
)

func TestNewRefuses(t *testing.T) {
	without := func(change func(*Parts)) Parts {
		p := allParts()
		change(&p)
		return p
	}
	tests := []struct {
		name  string
		cfg   Config
		key   string
		parts Parts
		want  string
	}{
		{"empty key", allOn(), "", allParts(), "key is empty"},
		{"no readiness", allOn(), testKey, without(func(p *Parts) { p.Ready = nil }), "Parts.Ready"},
		{"no metrics", allOn(), testKey, without(func(p *Parts) { p.Metrics = nil }), "Parts.Metrics"},
		{"allowed host with a path", Config{AllowedHosts: []string{"ok.example", "http://x/"}}, testKey, allParts(), `allowed_hosts[1]: "http://x/"`},
		{"empty allowed host", Config{AllowedHosts: []string{""}}, testKey, allParts(), "allowed_hosts[0]"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := New(tt.cfg, tt.key, tt.parts, slog.New(slog.DiscardHandler))
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want an error with %q", err, tt.want)
			}
		})
	}
}
