package main

import (
	"encoding/json"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vega-proxy/vega-proxy/internal/simllm"
)

// scraper is a real Prometheus with what deploy/prometheus configures.
type scraper struct {
	t   *testing.T
	c   *http.Client
	url string
}

// hurried are the rules with all their times cut down to seconds: the windows
// over which they look, and how long a fault must last.
func hurried(rules string) string {
	rules = regexp.MustCompile(`\[\d+[mh]\]`).ReplaceAllString(rules, "[4s]")
	return regexp.MustCompile(`(?m)^( +for:) \d+[mh]$`).ReplaceAllString(rules, "$1 500ms")
}

// newPrometheus starts one that scrapes the proxy, and ends with the test.
func newPrometheus(t *testing.T, p *process) *scraper {
	t.Helper()
	program, err := exec.LookPath("prometheus")
	if err != nil {
		t.Fatal("this test needs Prometheus: scripts/test-deps.sh prometheus installs it")
	}
	dir := t.TempDir()
	config := strings.NewReplacer("127.0.0.1:8081", strings.TrimPrefix(p.admin, "http://"), "15s", "250ms").
		Replace(readDoc(t, "deploy/prometheus/prometheus.yaml"))
	for name, content := range map[string]string{"prometheus.yaml": config, "rules.yaml": hurried(readDoc(t, rulesFile))} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command(program, "--config.file", filepath.Join(dir, "prometheus.yaml"),
		"--storage.tsdb.path", filepath.Join(dir, "data"), "--web.listen-address", "127.0.0.1:0", "--log.format", "json")
	log, ended := newText(), make(chan struct{})
	cmd.Stderr = log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(ended)
		_ = cmd.Wait() // it is killed
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-ended
		if t.Failed() {
			t.Logf("Prometheus:\n%s", log)
		}
	})
	line, ok := log.line(ended, `"Listening on"`)
	if !ok {
		t.Fatalf("Prometheus never listened:\n%s", log)
	}
	m := &scraper{t, newClient(t), "http://" + parseLine(t, line)["address"].(string)}
	until(t, "Prometheus is ready", func() bool {
		r, err := try(t.Context(), m.c, http.MethodGet, m.url+"/-/ready", "")
		return err == nil && r.status == http.StatusOK
	})
	return m
}

// ask gets an answer of the server's API.
func (m *scraper) ask(path string, data any) {
	m.t.Helper()
	r := do(m.t, m.c, http.MethodGet, m.url+path, "")
	if err := json.Unmarshal([]byte(r.body), &struct{ Data any }{data}); err != nil || r.status != http.StatusOK {
		m.t.Fatalf("%s: %d, %v: %s", path, r.status, err, r.body)
	}
}

// series counts what an expression gives now.
func (m *scraper) series(expr string) int {
	m.t.Helper()
	var found struct{ Result []any }
	m.ask("/api/v1/query?query="+url.QueryEscape(expr), &found)
	return len(found.Result)
}

// firing names the alerts that fire.
func (m *scraper) firing() (names []string) {
	m.t.Helper()
	var found struct {
		Alerts []struct {
			State  string
			Labels map[string]string
		}
	}
	m.ask("/api/v1/alerts", &found)
	for _, a := range found.Alerts {
		if a.State == "firing" {
			names = append(names, a.Labels["alertname"])
		}
	}
	return names
}

// awaitFiring waits until each of the alerts has fired.
func (m *scraper) awaitFiring(alerts []string) {
	m.t.Helper()
	missing := slices.Clone(alerts)
	defer func() {
		if m.t.Failed() {
			m.t.Logf("never fired: %q", missing)
		}
	}()
	until(m.t, "all alerts fire", func() bool {
		now := m.firing()
		missing = slices.DeleteFunc(missing, func(a string) bool { return slices.Contains(now, a) })
		return len(missing) == 0
	})
}

// awaitSilent waits until none of the alerts fires.
func (m *scraper) awaitSilent(alerts []string) {
	m.t.Helper()
	var left []string
	defer func() {
		if m.t.Failed() {
			m.t.Logf("still fire: %q", left)
		}
	}()
	until(m.t, "no alert fires", func() bool {
		left = slices.DeleteFunc(m.firing(), func(a string) bool { return !slices.Contains(alerts, a) })
		return len(left) == 0
	})
}

// TestPrometheus has a real Prometheus scrape the program: every rule loads,
// whatever rules and dashboard ask for is there, and alerts come and go with the
// faults that they are about.
func TestPrometheus(t *testing.T) {
	t.Parallel()
	pg, store := newPostgres(t), newRedis(t)
	_, backend := simulate(t, simllm.Config{Tokens: 3})
	p := serve(t, upstreamAt(backend)+`
cache: {l2: {url: "redis://`+store.address()+`", timeout: 2s}}
breaker: {fail_threshold: 10}
stream: {buffer_size: 4, buffer_bytes: 4KiB}
batchlog: {flush_interval: 50ms, max_queue_size: 10}
`, "--database", pg.URL("log"))
	m, c := newPrometheus(t, p), newClient(t)
	setLevel(t, p, c, "error")
	exposition := do(t, c, http.MethodGet, p.admin+"/metrics", "").body
	if out, err := promtool(t, exposition, "check", "metrics"); err == nil || strings.TrimSpace(out) != "memory_tracked_mb metric names should not contain abbreviated units" {
		t.Errorf("promtool check metrics: %v\n%s", err, out)
	}

	ask := func(path, body string, headers ...string) { do(t, c, http.MethodPost, p.proxy+path, body, headers...) }
	for range 2 {
		ask(chatPath, chat)
		ask(chatPath, chatLive)
		ask("/api/chat", chat)
	}
	p.flush(c)
	pg.execute("log", "ALTER TABLE conversations ADD CONSTRAINT picky CHECK (session_id <> 'poison')")
	ask(chatPath, chat, "X-Session-Id", "poison")
	p.flush(c)

	// Its first scrape is 5 s after its start.
	until(t, "Prometheus has scraped the program", func() bool { return m.series(`count_over_time(up{job="vega-proxy"}[4s]) > 1`) == 1 })

	// A client that takes nothing, a database that is down, a backend that fails.
	slow, err := send(t.Context(), c, http.MethodPost, p.proxy+"/api/chat", chat, "Cache-Control", "no-store",
		"X-Sim-Tokens", "1000000", "X-Sim-Token_bytes", "4096")
	if err != nil {
		t.Fatal(err)
	}
	defer slow.Body.Close()
	pg.Kill()
	store.kill()
	steerFault(t, c, backend, "fail=503&path=/v1")
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case <-stop:
				return
			case <-time.After(50 * time.Millisecond):
				ask(chatPath, chat, "Cache-Control", "no-store")
				ask("/api/chat", chat) // is in the cache
				do(t, c, http.MethodPost, p.admin+flushPath, "", "X-API-Key", p.key())
			}
		}
	})
	endLoad := sync.OnceFunc(func() { close(stop); wg.Wait() })
	defer endLoad()
	alerts := []string{
		"VegaAllBreakersOpen", "VegaBreakerOpen", "VegaUpstreamFailing", "VegaRequestsFailing",
		"VegaLogBatchesFailing", "VegaLogQueueFilling", "VegaLogSetAside", "VegaStreamsBlocked",
		"VegaCacheSecondTierUnused",
	}
	m.awaitFiring(alerts)

	rules := readRules(t)
	var loaded struct {
		Groups []struct {
			Rules []struct{ Name, Health, LastError string }
		}
	}
	m.ask("/api/v1/rules", &loaded)
	n := 0
	for _, g := range loaded.Groups {
		for _, r := range g.Rules {
			if n++; r.Health != "ok" {
				t.Errorf("the rule %s is %s: %s", r.Name, r.Health, r.LastError)
			}
		}
	}
	if n != len(rules) {
		t.Errorf("%d rules were loaded, there are %d", n, len(rules))
	}
	expressions := readBoard(t).expressions()
	for _, r := range rules {
		expressions = append(expressions, hurried(r.Expr))
	}
	for _, expr := range expressions {
		m.series(expr) // it is understood
		for _, s := range selectors(expr) {
			if m.series(s) == 0 && !strings.HasPrefix(s, "vega_queue_duration_seconds") { // nobody waited
				t.Errorf("%s asks for %s, and there is none", expr, s)
			}
		}
	}

	slow.Body.Close()
	pg.restart()
	store.start()
	steerFault(t, c, backend, "")
	p.breaker(c, "default", "reset")
	pg.execute("log", "ALTER TABLE conversations DROP CONSTRAINT picky")
	run(t, "logs", "retry", "--all", "--data-dir", p.dataDir, "--database", pg.URL("log"))
	m.awaitSilent(alerts)
	endLoad()
	for _, query := range blocks(readDoc(t, "docs/runbook.md"), "sql") {
		pg.execute("log", query)
	}
}
