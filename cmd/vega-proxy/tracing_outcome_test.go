package main

import (
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/vega-proxy/vega-proxy/internal/simllm"
)

// TestTraceOfCachedAnswers: no upstream is asked, and the span says why.
func TestTraceOfCachedAnswers(t *testing.T) {
	t.Parallel()
	c, collected := newClient(t), collect(t)
	backend, release := holding(t)
	p := serve(t, upstreamAt(backend)+collected.config())

	asked := make(chan string, 2)
	var wg sync.WaitGroup
	for _, id := range []string{"one", "other"} {
		wg.Go(func() {
			res, err := send(t.Context(), c, http.MethodPost, p.proxy+chatPath, chatLive, "X-Request-Id", id)
			if err != nil {
				t.Error(err)
				return
			}
			defer res.Body.Close()
			asked <- res.Header.Get("X-Vega-Cache") // the head comes with the first event
			if _, err := io.Copy(io.Discard, res.Body); err != nil {
				t.Error(err)
			}
		})
	}
	first, second := <-asked, <-asked
	release()
	wg.Wait()
	if first+second != "MISSCOALESCED" && first+second != "COALESCEDMISS" {
		t.Fatalf("the cache says %s and %s", first, second)
	}
	do(t, c, http.MethodPost, p.proxy+chatPath, chatLive, "X-Request-Id", "later").want(t, http.StatusOK, "")

	tries := map[any]int{}
	for _, id := range []string{"one", "other", "later"} {
		server, below := collected.exchange(t, id)
		status := server.attrs["vega.cache_status"]
		tries[status] += len(below)
		server.want(t, map[string]any{
			"gen_ai.request.model": "demo", "gen_ai.response.model": "demo", "gen_ai.response.finish_reasons": []any{"stop"},
			"gen_ai.usage.input_tokens": int64(3), "gen_ai.usage.output_tokens": int64(2), "vega.upstream": "default", "error.type": nil,
		})
		if want := status != "HIT"; server.event("vega.first_token") != want {
			t.Errorf("%v: the events are %v", status, server.Events)
		}
	}
	if len(tries) != 3 || tries["MISS"] != 1 || tries["COALESCED"] != 0 || tries["HIT"] != 0 {
		t.Errorf("the tries by the cache's part are %v", tries)
	}
}

// TestTraceOfFailures reads tries at several upstreams, refusals and cuts.
func TestTraceOfFailures(t *testing.T) {
	t.Parallel()
	c, collected := newClient(t), collect(t)
	sim, backend := simulate(t, simllm.Config{Tokens: 3})
	_, broken := simulate(t, simllm.Config{Tokens: 3})
	steerFault(t, c, broken, "fail=503&path=/")
	p := serve(t, `
cache: {policy: 'off'}
retry: {max_attempts: 3, budget_percent: 100}
breaker: {fail_threshold: 1, base_timeout: 60s}
upstreams:
  - {name: dead, url: "http://127.0.0.1:1", models: [demo, lost]}
  - {name: broken, url: "`+broken+`", models: [demo]}
  - {name: good, url: "`+backend+`", models: [demo*]}
`+collected.config())
	ask := func(id, body string, status int, code string, headers ...string) (server *span, tries []*span) {
		t.Helper()
		do(t, c, http.MethodPost, p.proxy+chatPath, body, append(headers, "X-Request-Id", id)...).want(t, status, code)
		return collected.exchange(t, id)
	}
	of := func(model, body string) string { return strings.Replace(body, "demo", model, 1) }

	server, tries := ask("failover", chat, http.StatusOK, "")
	if len(tries) != 3 {
		t.Fatalf("%d tries, want 3", len(tries))
	}
	server.want(t, map[string]any{"vega.upstream": "good", "vega.attempts": int64(3), "error.type": nil, "vega.breaker_refused": nil})
	tries[0].want(t, map[string]any{"vega.upstream": "dead", "vega.attempt": int64(1), "error.type": "upstream_unreachable",
		"http.response.status_code": nil, "http.request.resend_count": nil, "server.port": int64(1)})
	tries[1].want(t, map[string]any{"vega.upstream": "broken", "vega.attempt": int64(2), "error.type": "503",
		"http.response.status_code": int64(503), "http.request.resend_count": int64(1)})
	tries[2].want(t, map[string]any{"vega.upstream": "good", "vega.attempt": int64(3), "error.type": nil,
		"http.response.status_code": int64(200), "http.request.resend_count": int64(2)})
	if server.failed() || !tries[0].failed() || !tries[1].failed() || tries[2].failed() {
		t.Errorf("the status is %v over %v, %v, %v", server.Status, tries[0].Status, tries[1].Status, tries[2].Status)
	}
	if said := tries[0].Status.Message; said != "the upstream dead cannot be reached" {
		t.Errorf("the dead upstream's try says %q", said)
	}

	server, tries = ask("around", chat, http.StatusOK, "")
	if server.want(t, map[string]any{"vega.breaker_refused": []any{"dead", "broken"}}); len(tries) != 1 {
		t.Errorf("%d tries while two breakers are open", len(tries))
	}
	server, tries = ask("refused", of("lost", chat), http.StatusServiceUnavailable, "breaker_open")
	server.want(t, map[string]any{"vega.breaker_refused": []any{"dead"}, "error.type": "breaker_open", "vega.error_code": "breaker_open",
		"http.response.status_code": int64(503), "vega.attempts": nil, "vega.upstream": nil, "gen_ai.request.model": "lost", "vega.ended_by": "error"})
	if len(tries) != 0 || !server.failed() || !strings.Contains(server.Status.Message, "is open") {
		t.Errorf("a refusal has %d tries and the status %v", len(tries), server.Status)
	}

	// What the client does wrong is no error of a server.
	server, tries = ask("unknown", of("none", chat), http.StatusNotFound, "no_upstream")
	server.want(t, map[string]any{"vega.error_code": "no_upstream", "error.type": nil, "http.response.status_code": int64(404)})
	if len(tries) != 0 || server.failed() {
		t.Errorf("an unknown model has %d tries and the status %v", len(tries), server.Status)
	}
	do(t, c, http.MethodGet, p.proxy+"/api/tags", "", "X-Request-Id", "guarded", "Via", "1.1 vega-proxy").want(t, http.StatusLoopDetected, "loop_detected")
	server, _ = collected.exchange(t, "guarded")
	server.want(t, map[string]any{"vega.error_code": "loop_detected", "error.type": "loop_detected"})

	// A stream that breaks off.
	if err := sim.SetFault("fail=eof&fail_after=2&path=/v1"); err != nil {
		t.Fatal(err)
	}
	if r, err := try(t.Context(), c, http.MethodPost, p.proxy+chatPath, of("demo?tokens=4", chatLive), "X-Request-Id", "cut"); err == nil {
		t.Errorf("a stream that breaks off ends well: %s", r.body)
	}
	server, tries = collected.exchange(t, "cut")
	server.want(t, map[string]any{"error.type": "upstream_broke", "vega.ended_by": "error", "http.response.status_code": int64(200)})
	if len(tries) != 1 || !tries[0].failed() || !server.failed() || !server.event("vega.first_token") || !tries[0].event("vega.first_token") {
		t.Errorf("a cut stream is %v over %v", server, tries)
	}
}

// TestFlushAtTheEnd: what was traced before SIGTERM arrives.
func TestFlushAtTheEnd(t *testing.T) {
	t.Parallel()
	c, collected := newClient(t), collect(t)
	_, backend := simulate(t, simllm.Config{Tokens: 3})
	p := serve(t, upstreamAt(backend)+collected.config())
	do(t, c, http.MethodGet, p.proxy+"/api/tags", "", "X-Request-Id", "last").want(t, http.StatusOK, "")
	p.signal(syscall.SIGTERM)
	p.wantExit(0)
	if n := len(collected.spans()); n != 2 {
		t.Errorf("the collector got %d spans, want 2", n)
	}
}

// TestDeadCollector: what cannot be sent is dropped and counted, and delays
// neither an exchange nor the end of the process for long.
func TestDeadCollector(t *testing.T) {
	t.Parallel()
	silent, err := net.Listen("tcp", "127.0.0.1:0") // takes connections and never answers
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { silent.Close() })
	for name, tt := range map[string]struct {
		endpoint, result string
		requests         int
	}{
		"nobody listens": {"http://127.0.0.1:1", "failed", 20},
		"no answer":      {"http://" + silent.Addr().String(), "queue_full", 4000},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newClient(t)
			p := serve(t, "client_keys: [k]\ntelemetry: {otlp_endpoint: '"+tt.endpoint+"'}\n")
			setLevel(t, p, c, "warn")
			const clients = 8
			var wg sync.WaitGroup
			for range clients {
				wg.Go(func() {
					for range tt.requests / clients {
						began := time.Now()
						r, err := try(t.Context(), c, http.MethodGet, p.proxy+"/api/tags", "")
						if took := time.Since(began); err != nil || r.status != http.StatusUnauthorized || took > 2*time.Second {
							t.Errorf("%d, %v after %v", r.status, err, took)
							return
						}
					}
				})
			}
			wg.Wait()
			until(t, "spans are dropped", func() bool {
				metrics := do(t, c, http.MethodGet, p.admin+"/metrics", "").body
				_, rest, _ := strings.Cut(metrics, `vega_trace_spans_total{result="`+tt.result+`"} `)
				number, _, _ := strings.Cut(rest, "\n")
				n, err := strconv.ParseFloat(number, 64)
				return err == nil && n > 0
			})
			p.wait("the collector does not take traces", tt.endpoint)
			began := time.Now()
			p.signal(syscall.SIGTERM)
			p.wantExit(0)
			if took := time.Since(began); took > 5*time.Second {
				t.Errorf("the end took %v", took)
			}
			if n := strings.Count(p.log.String(), "the collector does not take traces"); n != 1 {
				t.Errorf("the log says it %d times", n)
			}
		})
	}
}
