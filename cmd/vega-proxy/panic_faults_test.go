package main

import (
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vega-proxy/vega-proxy/internal/proxy"
	"github.com/vega-proxy/vega-proxy/internal/simllm"
)

// TestPanics has exchanges of the running program panic, in each of their steps.
// Each ends alone, and gives back all that it holds.
func TestPanics(t *testing.T) {
	t.Parallel()
	program := filepath.Join(t.TempDir(), "vega-proxy")
	if err := build(program, "-tags", "faults"); err != nil {
		t.Fatal(err)
	}
	faulty := func(t *testing.T, backend, settings string) (*process, *http.Client) {
		p := serveProgram(t, program, filepath.Join(t.TempDir(), "data"), nil, "upstreams: [{url: "+backend+", max_in_flight: 1}]\n"+settings)
		return p, newClient(t)
	}
	ask := func(p *process, c *http.Client, id string) (reply, error) {
		return try(t.Context(), c, http.MethodPost, p.proxy+chatPath, chatLive, "X-Request-Id", id)
	}

	t.Run("steps", func(t *testing.T) {
		t.Parallel()
		_, backend := simulate(t, simllm.Config{Tokens: 3})
		p, c := faulty(t, backend, "cache: {policy: 'off'}\n")
		panics := 0
		for _, step := range proxy.StepNames() {
			if step == "consult_cache" || step == "replay" {
				continue // there is no cache
			}
			panics++
			id := "panic-" + step
			r, err := ask(p, c, id)
			if whole := step == "account" || step == "log"; whole != (err == nil) {
				t.Errorf("in %s: status %d, %q, %v", step, r.status, r.body, err)
			}
			line := p.wait(`"level":"ERROR"`, fmt.Sprintf("%q:%q", "request_id", id))
			if stack, _ := line["stack"].(string); line["panic"] != "planted" || !strings.Contains(stack, "faults.go:") {
				t.Errorf("in %s: %v", step, line["panic"])
			}
			if r, err := ask(p, c, "good"); err != nil || r.status != http.StatusOK || !strings.Contains(r.body, "[DONE]") {
				t.Errorf("after %s: status %d, %q, %v", step, r.status, r.body, err)
			}
		}
		p.left(t, c)
		if page := p.scrape(c); !strings.Contains(page, fmt.Sprintf("\nvega_errors_total{code=\"internal_error\"} %d\n", panics-2)) {
			t.Errorf("of %d panics, two of which are not their clients' matter, other numbers are counted:\n%s", panics, page)
		}
		p.flush(c)
		var log struct {
			Conversations []struct {
				RequestID string `json:"request_id"`
				Outcome   string
				Error     string
				EndedBy   string `json:"ended_by"`
			}
		}
		p.asked(c, http.MethodGet, "/admin/conversations", &log)
		found := map[string]bool{}
		for _, r := range log.Conversations {
			found[r.RequestID] = true
			if strings.HasPrefix(r.RequestID, "panic-dispatch") && (r.Outcome != "upstream_error" || r.EndedBy != "error" || !strings.Contains(r.Error, "planted")) {
				t.Errorf("the record: %+v", r)
			}
		}
		for _, step := range []string{"read_request", "dispatch", "pass_head", "settle", "account", "log"} {
			if !found["panic-"+step] {
				t.Errorf("no record of the panic in %s", step)
			}
		}
	})

	t.Run("followers without a byte", func(t *testing.T) {
		t.Parallel()
		_, backend := simulate(t, simllm.Config{Tokens: 3})
		p, c := faulty(t, backend, "")
		for _, step := range []string{"dispatch", "pass_head"} {
			ended := make(chan error, 1)
			go func() {
				_, err := ask(p, c, "panic-"+step)
				ended <- err
			}()
			until(t, "the leader", func() bool { return p.gauge("vega_requests_in_flight") == 1 })
			if r, err := ask(p, c, "good"); err != nil || r.status != http.StatusOK {
				t.Errorf("after %s: status %d, %q, %v", step, r.status, r.body, err)
			}
			if err := <-ended; err == nil {
				t.Error("the leader was answered")
			}
			do(t, c, http.MethodPost, p.admin+"/admin/performance/cache/clear", "", "X-API-Key", p.key()).want(t, http.StatusOK, "")
		}
		p.left(t, c)
	})

	t.Run("followers in mid-stream", func(t *testing.T) {
		t.Parallel()
		backend, release := holding(t)
		p, c := faulty(t, backend, "")
		_, leader := begun(t, c, p, "panic-record")
		_, follower := begun(t, c, p, "good")
		release()
		if rest, err := io.ReadAll(leader); err == nil || strings.Contains(string(rest), "stop") {
			t.Errorf("the leader: %q, %v", rest, err)
		}
		if rest, err := io.ReadAll(follower); err == nil || strings.Contains(string(rest), "stop") {
			t.Errorf("the follower: %q, %v", rest, err)
		}
		if line := p.wait(`"msg":"exchange"`, `"request_id":"good"`); line["code"] != "internal_error" || line["cache"] != "COALESCED" {
			t.Errorf("the follower's line: %v", line)
		}
		p.left(t, c)
	})
}

// left checks that no exchange has left anything behind.
func (p *process) left(t *testing.T, c *http.Client) {
	t.Helper()
	var list struct{ Streams []struct{ ID string } }
	until(t, "the end of all exchanges", func() bool {
		p.asked(c, http.MethodGet, "/admin/performance/streams", &list)
		return len(list.Streams) == 0 && p.gauge("vega_requests_in_flight") == 0
	})
	for _, name := range []string{"vega_stream_buffered_bytes", `vega_upstream_in_flight\{upstream="default"\}`} {
		if n := p.gauge(name); n != 0 {
			t.Errorf("%s is %v", name, n)
		}
	}
}
