package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// reloaded is the admin API's answer to a reload.
type reloaded struct {
	Applied       bool     `json:"applied"`
	Message       string   `json:"message"`
	Changed       []string `json:"changed"`
	RestartNeeded []string `json:"restart_needed"`
	Error         struct {
		Code     string   `json:"code"`
		Problems []string `json:"problems"`
	} `json:"error"`
}

// askReload asks the admin API for a reload.
func (p *process) askReload(c *http.Client) (status int, done reloaded) {
	p.t.Helper()
	r := do(p.t, c, http.MethodPost, p.admin+"/admin/config/reload", "", "X-API-Key", p.key())
	if err := json.Unmarshal([]byte(r.body), &done); err != nil {
		p.t.Fatalf("%v: %s", err, r.body)
	}
	return r.status, done
}

// named starts a backend that answers with its name.
func named(t *testing.T, name string) (url string) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Seen-Authorization", r.Header.Get("Authorization"))
		fmt.Fprintf(w, `{"object":"chat.completion","model":"demo","choices":[{"message":{"role":"assistant","content":%q},"finish_reason":"stop"}]}`, name)
	}))
	t.Cleanup(srv.Close)
	return srv.URL
}

// serveFile starts the program with a configuration file that the test may change.
func serveFile(t *testing.T, file string) *process {
	t.Helper()
	dataDir := filepath.Join(t.TempDir(), "data")
	p := begin(t, nil, "serve", "--config", file, "--data-dir", dataDir, "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0")
	p.dataDir = dataDir
	p.listening()
	return p
}

// replace puts a file in the place of another in one step.
func replace(t *testing.T, file, content string) {
	t.Helper()
	if err := os.WriteFile(file+".new", []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(file+".new", file); err != nil {
		t.Fatal(err)
	}
}

// answeredBy asks a question and wants a backend's name in the answer.
func (p *process) answeredBy(c *http.Client, name string) {
	p.t.Helper()
	if r := do(p.t, c, http.MethodPost, p.proxy+chatPath, chat); r.status != 200 || !strings.Contains(r.body, name) {
		p.t.Errorf("not answered by %s: %d %s", name, r.status, r.body)
	}
}

func (p *process) scrape(c *http.Client) string {
	p.t.Helper()
	return do(p.t, c, http.MethodGet, p.admin+"/metrics", "").body
}

// TestReloadWays: what changed in the file holds after a SIGHUP, a call of the
// admin API, and soon after the file was replaced.
func TestReloadWays(t *testing.T) {
	for _, way := range []string{"SIGHUP", "admin API", "rename", "symlink"} {
		t.Run(way, func(t *testing.T) {
			t.Parallel()
			one, two := named(t, "one"), named(t, "two")
			dir := t.TempDir()
			file := filepath.Join(dir, "vega-proxy.yaml")
			if way == "symlink" { // as a ConfigMap is mounted
				mount(t, dir, "v1", upstreamAt(one))
			} else {
				replace(t, file, upstreamAt(one))
			}
			p, c := serveFile(t, file), newClient(t)
			p.answeredBy(c, "one")
			switch way {
			case "SIGHUP":
				replace(t, file, upstreamAt(two))
				p.signal(syscall.SIGHUP)
				p.wait("configuration reloaded", `"trigger":"SIGHUP"`)
			case "admin API":
				replace(t, file, upstreamAt(two))
				if status, done := p.askReload(c); status != 200 || !done.Applied || !slices.Equal(done.Changed, []string{"upstreams[0].url"}) {
					t.Errorf("%d %+v", status, done)
				}
				p.wait("admin change", "/admin/config/reload")
			case "rename":
				replace(t, file, upstreamAt(two))
				p.wait("configuration reloaded", `"trigger":"changed file"`)
			case "symlink":
				mount(t, dir, "v2", upstreamAt(two))
				p.wait("configuration reloaded", `"trigger":"changed file"`)
			}
			p.wait("setting changed", `"setting":"upstreams[0].url"`, one, two)
			// Also what was cached is of the old one.
			p.answeredBy(c, "two")
			if r := do(t, c, http.MethodGet, p.admin+"/admin/config", "", "X-API-Key", p.key()); !strings.Contains(r.body, two) || strings.Contains(r.body, one) {
				t.Errorf("the effective configuration: %s", r.body)
			}
			if m := p.scrape(c); !strings.Contains(m, `vega_config_reloads_total{result="success"} 1`) || !strings.Contains(m, "vega_config_last_reload_successful 1") {
				t.Error("the reload is not counted")
			}
		})
	}
}

// mount puts a version of the file where Kubernetes would: the directory's link
// ..data is what is replaced.
func mount(t *testing.T, dir, version, content string) {
	t.Helper()
	if err := os.Mkdir(filepath.Join(dir, version), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, version, "vega-proxy.yaml"), []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(version, filepath.Join(dir, "..tmp")); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(dir, "..tmp"), filepath.Join(dir, "..data")); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "vega-proxy.yaml")
	if _, err := os.Lstat(file); err != nil {
		if err := os.Symlink(filepath.Join("..data", "vega-proxy.yaml"), file); err != nil {
			t.Fatal(err)
		}
	}
}

// TestReloadRefused: a bad file changes nothing, and all that is wrong is said.
func TestReloadRefused(t *testing.T) {
	t.Parallel()
	file := writeFile(t, "vega-proxy.yaml", upstreamAt(named(t, "one")))
	p, c := serveFile(t, file), newClient(t)
	secret := "hunter-2-is-not-shown"
	replace(t, file, "cache: {ttl_seconds: 0, polcy: all}\nlimits: {max_body_bytes: "+secret+"}\n"+upstreamAt(named(t, "two")))
	status, done := p.askReload(c)
	if status != 422 || done.Error.Code != "config_invalid" || len(done.Error.Problems) != 3 {
		t.Errorf("%d %+v", status, done)
	}
	for i, path := range []string{"cache.polcy: ", "limits.max_body_bytes: ", "cache.ttl_seconds: "} {
		if i < len(done.Error.Problems) && !strings.HasPrefix(done.Error.Problems[i], path) {
			t.Errorf("problem %d is %q", i, done.Error.Problems[i])
		}
	}
	p.wait("the new configuration is refused", "cache.ttl_seconds", "cache.polcy")
	p.answeredBy(c, "one")
	if m := p.scrape(c); !strings.Contains(m, `vega_config_reloads_total{result="failure"} 1`) || !strings.Contains(m, "vega_config_last_reload_successful 0") {
		t.Error("the refusal is not counted")
	}
	if r := do(t, c, http.MethodGet, p.admin+"/admin/performance/health/comprehensive", "", "X-API-Key", p.key()); !strings.Contains(r.body, "the new configuration is refused") {
		t.Errorf("health: %s", r.body)
	}
	for _, content := range []string{"\x00", "upstreams: []", "client_keys: ['file:/nowhere']", "tls: {cert_file: /nowhere, key_file: /nowhere}", "- a", ""} {
		replace(t, file, content)
		if status, done := p.askReload(c); status != 422 || len(done.Error.Problems) == 0 {
			t.Errorf("%q: %d %+v", content, status, done)
		}
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if status, done := p.askReload(c); status != 422 || !strings.Contains(done.Error.Problems[0], "cannot be read") {
		t.Errorf("without the file: %d %+v", status, done)
	}
	p.answeredBy(c, "one")
}

// TestReloadOfWhatComesLater: a configuration that names a file which is not there
// yet is taken up when it is.
func TestReloadOfWhatComesLater(t *testing.T) {
	t.Parallel()
	one := upstreamAt(named(t, "one"))
	file := writeFile(t, "vega-proxy.yaml", one)
	p, c := serveFile(t, file), newClient(t)
	key := filepath.Join(t.TempDir(), "key")
	replace(t, file, one+"client_keys: ['file:"+key+"']\n")
	p.wait("the new configuration is refused", `"trigger":"changed file"`, key)
	replace(t, key, "abc\n")
	p.wait("setting changed", `"setting":"client_keys"`)
	p.wait("configuration reloaded", `"trigger":"another try"`)
	do(t, c, http.MethodPost, p.proxy+chatPath, chat).want(t, http.StatusUnauthorized, "unauthorized")
	// And from here on it is looked at.
	replace(t, key, "def\n")
	p.wait("configuration reloaded", `"trigger":"changed file"`, `"applied":true`)
	do(t, c, http.MethodPost, p.proxy+chatPath, chat, "X-API-Key", "def").want(t, http.StatusOK, "")
}

// TestReloadNeedsRestart: what only a restart can change is named and stays.
func TestReloadNeedsRestart(t *testing.T) {
	t.Parallel()
	one := named(t, "one")
	file := writeFile(t, "vega-proxy.yaml", upstreamAt(one))
	p, c := serveFile(t, file), newClient(t)
	replace(t, file, upstreamAt(one)+"http2: true\nlimits: {idle_timeout: 1m, max_body_bytes: 10}\nbatchlog: {enabled: false}\n")
	status, done := p.askReload(c)
	if want := []string{"http2", "limits.idle_timeout", "batchlog.enabled"}; status != 200 || !done.Applied || !slices.Equal(done.RestartNeeded, want) ||
		!slices.Equal(done.Changed, []string{"limits.max_body_bytes"}) || !strings.Contains(done.Message, "http2") {
		t.Errorf("%d %+v", status, done)
	}
	p.wait("at the next start", `"setting":"http2"`)
	do(t, c, http.MethodPost, p.proxy+chatPath, chat).want(t, http.StatusRequestEntityTooLarge, "body_too_large")
	r := do(t, c, http.MethodGet, p.admin+"/admin/config", "", "X-API-Key", p.key())
	for _, part := range []string{`"http2":false`, `"max_body_bytes":"10B"`, `"idle_timeout":"2m"`} {
		if !strings.Contains(r.body, part) && !strings.Contains(r.body, strings.ReplaceAll(part, `"10B"`, "10")) {
			t.Errorf("the effective configuration has no %s: %s", part, r.body)
		}
	}
	// It is still named the next time.
	if _, done = p.askReload(c); done.Applied || !slices.Contains(done.RestartNeeded, "http2") {
		t.Errorf("again: %+v", done)
	}
}

// TestReloadSettings: settings of every part that takes them while it runs.
func TestReloadSettings(t *testing.T) {
	t.Parallel()
	one := named(t, "one")
	key := writeFile(t, "key", "first-key\n")
	base := "upstreams: [{name: a, url: '" + one + "', headers: {Authorization: 'file:" + key + "'}}]\n"
	file := writeFile(t, "vega-proxy.yaml", base)
	p, c := serveFile(t, file), newClient(t)
	ask := func(headers ...string) reply {
		t.Helper()
		return do(t, c, http.MethodPost, p.proxy+chatPath, chat, headers...)
	}
	reload := func(yaml string, changed ...string) {
		t.Helper()
		replace(t, file, yaml)
		if status, done := p.askReload(c); status != 200 || !slices.Equal(done.Changed, changed) || len(done.RestartNeeded) > 0 {
			t.Errorf("%s: %d %+v, want %q", yaml, status, done, changed)
		}
	}
	if got := ask().header.Get("X-Seen-Authorization"); got != "first-key" {
		t.Errorf("the key %q", got)
	}
	if err := os.WriteFile(key, []byte("second-key\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	reload(base, "upstreams[0].headers")
	if got := ask(); got.header.Get("X-Seen-Authorization") != "second-key" || got.header.Get("X-Vega-Cache") != "MISS" {
		t.Errorf("the rotated key %q, %s", got.header.Get("X-Seen-Authorization"), got.header.Get("X-Vega-Cache"))
	}
	if strings.Contains(p.log.String(), "second-key") || strings.Contains(p.log.String(), "first-key") {
		t.Error("a key is in the log")
	}
	if got := ask().header.Get("X-Vega-Cache"); got != "HIT" {
		t.Errorf("asked again: %s", got)
	}
	reload(base+"cache: {policy: off}", "cache.policy")
	if got := ask().header; got.Get("X-Vega-Cache") != "BYPASS" || got.Get("X-Vega-Cache-Reason") != "policy" {
		t.Errorf("the cache is off: %v", got)
	}
	reload(base+"cache: {maxsize: 5, ttl_seconds: 7}", "cache.policy", "cache.maxsize", "cache.ttl_seconds")
	if got := ask().header.Get("X-Vega-Cache"); got != "MISS" {
		t.Errorf("the cache is on again, and empty: %s", got)
	}
	if got := ask().header.Get("X-Vega-Cache"); got != "HIT" {
		t.Errorf("the cache is on again: %s", got)
	}
	reload(base, "cache.maxsize", "cache.ttl_seconds")

	reload(base+"client_keys: [abc]\nallowed_hosts: [vega.example]\nroutes: {deny: [/v1/models]}", "allowed_hosts", "client_keys", "routes.deny")
	ask().want(t, http.StatusUnauthorized, "unauthorized")
	ask("Authorization", "Bearer abc").want(t, http.StatusOK, "")
	do(t, c, http.MethodGet, p.proxy+"/v1/models", "", "X-API-Key", "abc").want(t, http.StatusForbidden, "route_closed")
	reload(base, "allowed_hosts", "client_keys", "routes.deny")
	ask().want(t, http.StatusOK, "")

	reload(base+"log: {level: debug}\nmonitor: {slow_threshold_ms: 50}\nretry: {max_attempts: 1}\nbalance: least_busy\nstream: {total_buffer_bytes: 1MiB}\nbatchlog: {content: hashed, batch_size: 7}\nshutdown: {drain_delay: 1ms}",
		"balance", "retry.max_attempts", "stream.total_buffer_bytes", "batchlog.batch_size", "batchlog.content", "monitor.slow_threshold_ms", "log.level", "shutdown.drain_delay")
	if r := do(t, c, http.MethodGet, p.admin+"/admin/log-level", "", "X-API-Key", p.key()); !strings.Contains(r.body, "debug") {
		t.Errorf("the log level: %s", r.body)
	}
	if !strings.Contains(p.scrape(c), "vega_stream_buffer_limit_bytes 1.048576e+06") {
		t.Error("the streams' budget is the old one")
	}
}

// TestReloadKeepsState: an upstream that stays keeps its breaker, one that is gone
// has no series, one that comes begins at zero.
func TestReloadKeepsState(t *testing.T) {
	t.Parallel()
	dead := httptest.NewServer(http.NotFoundHandler())
	dead.Close()
	item := func(name, url string) string {
		return "- {name: " + name + ", url: '" + url + "', breaker: {fail_threshold: 1}}\n"
	}
	one := named(t, "one")
	file := writeFile(t, "vega-proxy.yaml", "upstreams:\n"+item("a", dead.URL)+item("b", one))
	p, c := serveFile(t, file), newClient(t)
	p.answeredBy(c, "one")
	if got := p.breaker(c, "a", "status").State; got != "open" {
		t.Fatalf("the breaker of a is %s", got)
	}
	replace(t, file, "upstreams:\n"+item("a", dead.URL)+item("c", one))
	if status, done := p.askReload(c); status != 200 || !done.Applied {
		t.Fatalf("%d %+v", status, done)
	}
	if got := p.breaker(c, "a", "status"); got.State != "open" || got.Metrics.FailedRequests != 1 {
		t.Errorf("the breaker of a lost its state: %+v", got)
	}
	p.answeredBy(c, "one")
	m := p.scrape(c)
	if strings.Contains(m, `upstream="b"`) || strings.Contains(m, `integration="b"`) || !strings.Contains(m, `circuit_breaker_state{integration="c"} 0`) {
		t.Error("series of the wrong upstreams")
	}
	// A new address is a new backend.
	replace(t, file, "upstreams:\n"+item("a", named(t, "mended")))
	p.askReload(c)
	p.answeredBy(c, "mended")
}

// TestReloadAdminKey: another key, in the setting or in the data directory's file.
func TestReloadAdminKey(t *testing.T) {
	t.Parallel()
	file := writeFile(t, "vega-proxy.yaml", upstreamAt(named(t, "one")))
	p, c := serveFile(t, file), newClient(t)
	status := func(key string) int {
		t.Helper()
		return do(t, c, http.MethodGet, p.admin+"/admin/config", "", "X-API-Key", key).status
	}
	old := p.key()
	replace(t, filepath.Join(p.dataDir, "admin-key"), "rotated-key\n")
	p.signal(syscall.SIGHUP)
	p.wait("setting changed", `"setting":"admin.api_key"`)
	if status(old) != 401 || status("rotated-key") != 200 {
		t.Error("the file's new key is not the key")
	}
	replace(t, file, upstreamAt(named(t, "one"))+"admin: {api_key: configured, open_metrics: false}\n")
	p.askReload(c)
	if status("rotated-key") != 401 || status("configured") != 200 {
		t.Error("the configured key is not the key")
	}
	if got := do(t, c, http.MethodGet, p.admin+"/livez", "").status; got != 401 {
		t.Errorf("the probe without a key: %d", got)
	}
	if strings.Contains(p.log.String(), "rotated-key") || strings.Contains(p.log.String(), "configured\"") {
		t.Error("a key is in the log")
	}
}

// TestReloadRemovesUpstream: a stream goes on at an upstream that is no longer
// configured, and leaves no series of it.
func TestReloadRemovesUpstream(t *testing.T) {
	t.Parallel()
	held, release := holding(t)
	item := func(name, url string) string { return "- {name: " + name + ", url: '" + url + "'}\n" }
	file := writeFile(t, "vega-proxy.yaml", "upstreams:\n"+item("old", held))
	p, c := serveFile(t, file), newClient(t)
	do(t, c, http.MethodGet, p.proxy+"/v1/models", "").want(t, http.StatusOK, "")
	_, stream := openStream(t, c, p.proxy)
	replace(t, file, "upstreams:\n"+item("new", named(t, "new")))
	p.askReload(c)
	if m := p.scrape(c); strings.Contains(m, `"old"`) {
		t.Error("the removed upstream has series")
	}
	p.answeredBy(c, "new")
	release()
	if rest, err := readAll(stream); err != nil || !strings.HasSuffix(rest, lastEvents) {
		t.Errorf("the stream ended with %v after %q", err, rest)
	}
	p.wait(`"msg":"exchange"`, `"upstream":"old"`, `"streamed":true`)
	until(t, "the stream is counted", func() bool { return strings.Contains(p.scrape(c), `upstream="removed"`) })
	if m := p.scrape(c); strings.Contains(m, `"old"`) {
		t.Error("the removed upstream has series again")
	}
	// A followup of the same question is not given the old one's answer.
	if r := do(t, c, http.MethodPost, p.proxy+chatPath, chatLive); r.header.Get("X-Vega-Upstream") != "new" || r.header.Get("X-Vega-Cache") != "MISS" {
		t.Errorf("asked again: %v", r.header)
	}
}

// TestReloadWithoutFile says that there is nothing to read.
func TestReloadWithoutFile(t *testing.T) {
	t.Parallel()
	p := begin(t, nil, "serve", "--upstream", named(t, "one"), "--data-dir", filepath.Join(t.TempDir(), "data"), "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0")
	p.listening()
	p.signal(syscall.SIGHUP)
	p.wait("configuration reloaded", "there is no configuration file")
	p.answeredBy(newClient(t), "one")
}

// TestReloadsUnderLoad: fifty reloads, each of which changes the upstreams, while a
// hundred streams are open and requests go on: none is cut and none fails.
func TestReloadsUnderLoad(t *testing.T) {
	t.Parallel()
	const streams, reloads = 100, 50
	held, release := holding(t)
	one, two := named(t, "one"), named(t, "two")
	yaml := func(i int) string {
		switch i % 4 {
		case 0:
			return "upstreams: [{name: a, url: '" + held + "'}, {name: b, url: '" + one + "'}]\n"
		case 1:
			return "upstreams: [{name: b, url: '" + one + "', max_in_flight: 50}]\ncache: {policy: off}\n"
		case 2:
			return "upstreams: [{name: c, url: '" + two + "', first_byte_timeout: 60s}, {name: b, url: '" + two + "'}]\nbatchlog: {content: hashed}\n"
		}
		return "upstreams: [{name: c, url: '" + two + "', headers: {X-A: b}}, {name: a, url: '" + one + "'}]\nbalance: least_busy\n"
	}
	file := writeFile(t, "vega-proxy.yaml", yaml(0))
	p, c := serveFile(t, file), newClient(t)
	var open []io.Reader
	for range streams {
		_, r := openStream(t, c, p.proxy)
		open = append(open, r)
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var asked, failed atomic.Int64
	var asking sync.WaitGroup
	for i := range 4 {
		client := newClient(t)
		asking.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				body := strings.Replace(chat, "the sea", fmt.Sprintf("%d of %d", n, i), 1)
				r, err := try(t.Context(), client, http.MethodPost, p.proxy+chatPath, body)
				asked.Add(1)
				if err != nil || r.status != 200 {
					failed.Add(1)
					t.Errorf("a request failed: %v %d %s", err, r.status, r.body)
				}
				time.Sleep(5 * time.Millisecond)
			}
		})
	}
	for i := 1; i <= reloads; i++ {
		replace(t, file, yaml(i))
		if status, done := p.askReload(c); status != 200 || !done.Applied {
			t.Fatalf("reload %d: %d %+v", i, status, done)
		}
	}
	stop()
	asking.Wait()
	release()
	for i, r := range open {
		if rest, err := io.ReadAll(r); err != nil || !strings.HasSuffix(string(rest), lastEvents) {
			t.Errorf("stream %d ended with %v after %q", i, err, rest)
		}
	}
	t.Logf("%d requests during %d reloads", asked.Load(), reloads)
	if asked.Load() < reloads {
		t.Error("too few of them")
	}
	p.signal(syscall.SIGTERM)
	p.wantExit(0)
	if a := audited(t, "--data-dir", p.dataDir); int64(a.Accepted) != asked.Load()+streams || a.Dropped != 0 {
		t.Errorf("%d exchanges, and the log has %+v", asked.Load()+streams, a)
	}
}
