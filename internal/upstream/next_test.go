package upstream

import (
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/vega-proxy/vega-proxy/internal/resilience"
)

var twice = resilience.RetryConfig{MaxAttempts: 2, BudgetPercent: 20}

// reconfigured is the set after a reload of what change makes of its settings.
func reconfigured(t *testing.T, s *Set, change func([]Config) []Config) *Set {
	t.Helper()
	var cfgs []Config
	for _, u := range s.All() {
		cfgs = append(cfgs, u.Config())
	}
	next, err := s.Next(change(cfgs), twice, "first")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(next.Close)
	next.Replace(s)
	return next
}

func TestNextKeepsWhatStays(t *testing.T) {
	ca := filepath.Join(t.TempDir(), "ca.pem")
	tests := []struct {
		name               string
		change             func(*Config)
		backend, transport bool // are kept
	}{
		{"nothing", func(*Config) {}, true, true},
		{"models", func(c *Config) { c.Models = []string{"a"} }, true, true},
		{"headers", func(c *Config) { c.Headers = map[string]string{"Authorization": "new"} }, true, true},
		{"limits", func(c *Config) { c.MaxInFlight, c.Queue, c.QueueTimeout = 1, 2, time.Second }, true, true},
		{"the breaker", func(c *Config) { c.Breaker.FailThreshold = 9 }, true, true},
		{"the path", func(c *Config) { c.URL += "/v1" }, true, true},
		{"a timeout", func(c *Config) { c.FirstByteTimeout = time.Hour }, true, false},
		{"a certificate", func(c *Config) { c.TLS.InsecureSkipVerify = true }, true, false},
		{"a certificate's content", func(c *Config) { writeCA(t, ca) }, true, false},
		{"the port", func(c *Config) { c.URL = "https://a:2" }, false, false},
		{"the name", func(c *Config) { c.Name = "other" }, false, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			writeCA(t, ca)
			old := newSet(t, "first", func(_ int, c *Config) { c.TLS.CAFile = ca }, "https://a:1")
			next := reconfigured(t, old, func(cs []Config) []Config { tt.change(&cs[0]); return cs })
			was, is := old.All()[0], next.All()[0]
			if kept := was.backend == is.backend; kept != tt.backend || was.gone.Load() == kept {
				t.Errorf("the backend was kept: %v", kept)
			}
			if kept := was.transport == is.transport; kept != tt.transport {
				t.Errorf("the connections were kept: %v", kept)
			}
		})
	}
}

// writeCA writes a certificate authority, each time with another content.
func writeCA(t *testing.T, path string) {
	t.Helper()
	srv := httptest.NewTLSServer(nil)
	defer srv.Close()
	data := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw})
	if err := os.WriteFile(path, append(data, time.Now().String()...), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestNextFailsWithoutAChange(t *testing.T) {
	s := newSet(t, "first", nil, server(t, 200))
	cfg := s.All()[0].Config()
	bad := cfg
	bad.Name, bad.URL = "b", "http://[::1"
	if _, err := s.Next([]Config{cfg, bad}, twice, "first"); err == nil {
		t.Fatal("no error")
	}
	a, err := s.Do(t.Context(), ask("", RetryNever))
	if err != nil {
		t.Fatal(err)
	}
	a.End(resilience.Success, "")
}

// TestRemovedUpstream: whoever began with the old set ends with it, and nothing is
// counted for an upstream that is no longer there.
func TestRemovedUpstream(t *testing.T) {
	reg := prometheus.NewRegistry()
	m := NewMetrics(reg)
	bad := server(t, http.StatusServiceUnavailable)
	old, err := NewSet([]Config{
		{Name: "bad", URL: bad, ConnectTimeout: time.Minute, Breaker: breaker},
		{Name: "good", URL: server(t, 200), ConnectTimeout: time.Minute, Breaker: breaker},
	}, twice, "first", m, m.Transition, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(old.Close)
	useOld := func() *Answer {
		a, err := old.Do(t.Context(), ask("", RetryAnywhere))
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	running := useOld() // a failover: it counts
	next := reconfigured(t, old, func(cs []Config) []Config { return cs[1:] })
	useOld().End(resilience.Success, "") // the second failure opens the breaker
	if got := old.Named("bad").Breaker().State(); got != resilience.Open {
		t.Errorf("the old breaker is %s", got)
	}
	if body, err := io.ReadAll(running.Body); err != nil || string(body) != "the answer" {
		t.Errorf("the answer in flight: %q, %v", body, err)
	}
	running.End(resilience.Success, "")
	if got := next.Named("good").limiter.InFlight(); got != 0 {
		t.Errorf("%d places are taken", got)
	}
	for _, name := range []string{"vega_retries_total", "vega_breaker_transitions_total"} {
		if n := series(t, reg, name, "bad"); n != 0 {
			t.Errorf("%s has %d series", name, n)
		}
	}
	shown := prometheus.NewRegistry()
	shown.MustRegister(next)
	if n := series(t, shown, "vega_upstream_in_flight", "bad"); n != 0 {
		t.Error("a removed upstream is shown")
	}
}

// series is how many there are of a name and an upstream.
func series(t *testing.T, reg prometheus.Gatherer, name, upstream string) (n int) {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				if f.GetName() == name && l.GetName() == "upstream" && l.GetValue() == upstream {
					n++
				}
			}
		}
	}
	return n
}

func TestReplaceConfigures(t *testing.T) {
	s := newSet(t, "first", func(_ int, c *Config) { c.MaxInFlight, c.Queue = 1, 0 }, server(t, 200))
	first, err := s.Do(t.Context(), ask("", RetryNever))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Do(t.Context(), ask("", RetryNever)); err == nil {
		t.Fatal("a place beyond the limit")
	}
	next := reconfigured(t, s, func(cs []Config) []Config { cs[0].MaxInFlight = 2; return cs })
	second, err := next.Do(t.Context(), ask("", RetryNever))
	if err != nil {
		t.Fatal(err)
	}
	if got := next.All()[0].limiter.InFlight(); got != 2 {
		t.Errorf("%d in flight", got)
	}
	first.End(resilience.Success, "")
	second.End(resilience.Success, "")
}
