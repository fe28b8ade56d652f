package proxy_test

import (
	"net/http"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/vega-proxy/vega-proxy/internal/config"
)

// counting serves one answer and counts the requests.
func counting(t *testing.T, answer string) (*backend, *atomic.Int64) {
	b := newBackend(t)
	var n atomic.Int64
	b.serve(func(request) string {
		n.Add(1)
		return answer
	})
	return b, &n
}

// Which failures of the first upstream lead to the second, by kind of request.
func TestFailover(t *testing.T) {
	busy := sized(503, `{"error":"server busy, please try again.  maximum pending requests exceeded"}`, "Retry-After: 3")
	const (
		generate = "POST /v1/chat/completions"
		embed    = "POST /api/embed"
		read     = "GET /v1/models"
		manage   = "POST /api/pull"
		opaque   = "POST /infill"
	)
	for _, tt := range []struct {
		name, first string // "": the connection is closed without an answer
		kinds       map[string]bool
	}{
		{"502", sized(502, "{}"), map[string]bool{generate: true, embed: true, read: true, manage: false, opaque: false}},
		{"503", sized(503, "{}"), map[string]bool{generate: true, embed: true, read: true, manage: false, opaque: false}},
		{"503 busy", busy, map[string]bool{generate: true, embed: true, read: true, manage: false, opaque: false}},
		{"504", sized(504, "{}"), map[string]bool{generate: true, embed: true, read: true, manage: false, opaque: false}},
		{"429", sized(429, "{}", "Retry-After: 3"), map[string]bool{generate: true, embed: true, read: true, manage: false, opaque: false}},
		{"500", sized(500, "{}"), map[string]bool{generate: false, embed: false, read: false, manage: false, opaque: false}},
		{"404", sized(404, "{}"), map[string]bool{generate: false, embed: false, read: false, manage: false}},
		{"reset", "", map[string]bool{generate: true, embed: true, read: true, manage: false, opaque: false}},
	} {
		for kind, moves := range tt.kinds {
			t.Run(tt.name+" "+kind, func(t *testing.T) {
				first, asked := counting(t, tt.first)
				second, _ := counting(t, okChat)
				r := start(t, nil, first, second)
				raw := post(kind[5:], `{"model":"m"}`)
				if kind[:3] == "GET" {
					raw = get(kind[4:])
				}
				a := do(t, r.addr, raw)
				if got := a.header.Get("X-Vega-Upstream"); (got == "second") != moves {
					t.Errorf("answered %d by %q", a.status, got)
				}
				if asked.Load() != 1 {
					t.Errorf("the first was asked %d times", asked.Load())
				}
			})
		}
	}
}

func TestFailoverWhenNothingWasSent(t *testing.T) {
	second, n := counting(t, okChat)
	r := startAt(t, noBreaker, deadAddress(t), second.url())
	for _, raw := range []string{chat(), post("/api/embed", `{"model":"m"}`), get("/v1/models"), post("/infill", "{}")} {
		if a := do(t, r.addr, raw); a.header.Get("X-Vega-Upstream") != "second" {
			t.Errorf("%.30q: %d from %q", raw, a.status, a.header.Get("X-Vega-Upstream"))
		}
	}
	before := n.Load()
	for _, raw := range []string{post("/api/pull", `{"model":"m"}`), "DELETE /api/delete HTTP/1.1\r\nHost: localhost\r\n\r\n"} {
		if a := do(t, r.addr, raw); a.status == http.StatusOK || n.Load() != before {
			t.Errorf("%.30q: management moved to another upstream: %d from %q", raw, a.status, a.header.Get("X-Vega-Upstream"))
		}
	}
}

// Without another upstream, answers that would lead to it pass as they are.
func TestNoOther(t *testing.T) {
	for _, status := range []int{429, 502, 503, 504} {
		b, n := counting(t, sized(status, `{"error":"theirs"}`, "Retry-After: 3"))
		r := start(t, nil, b)
		a := do(t, r.addr, chat())
		if a.status != status || a.body != `{"error":"theirs"}` || a.header.Get("Retry-After") != "3" || n.Load() != 1 {
			t.Errorf("%d: %d %q after %d requests", status, a.status, a.body, n.Load())
		}
		other, m := counting(t, okChat)
		r = start(t, func(cfg *config.Config) { cfg.Upstreams[1].Models = []string{"else"} }, b, other)
		if a := do(t, r.addr, chat()); a.status != status || a.body != `{"error":"theirs"}` || m.Load() != 0 {
			t.Errorf("%d: %d %q though the other does not serve the model", status, a.status, a.body)
		}
	}
}

// Where both are busy, the client gets the answer of one whole.
func TestBothBusy(t *testing.T) {
	busy := fixture(t, "ollama/fail-queue-full-v1-chat")
	one, n := counting(t, busy)
	two, m := counting(t, busy)
	r := start(t, nil, one, two)
	a := do(t, r.addr, chat())
	if a.status != 503 || len(a.body) == 0 || a.err != nil || n.Load() != 1 || m.Load() != 1 {
		t.Errorf("%d %q (%v) after %d and %d requests", a.status, a.body, a.err, n.Load(), m.Load())
	}
	for i := range 2 {
		if s := r.breaker(i); s.Metrics.FailedRequests != 0 || s.Metrics.NeutralRequests != 1 {
			t.Errorf("breaker %d counted %+v", i, s.Metrics)
		}
	}
}

// An embedding or a read may be asked again at the same upstream, a generation
// not, and nobody who said that he is busy.
func TestSameUpstream(t *testing.T) {
	busy := fixture(t, "ollama/fail-queue-full-api-chat")
	for _, tt := range []struct {
		name, raw, answer string
		want              int64
	}{
		{"generate", chat(), sized(502, "{}"), 1},
		{"embed", post("/api/embed", `{"model":"m"}`), sized(502, "{}"), 2},
		{"read", get("/api/tags"), sized(502, "{}"), 2},
		{"read, reset", get("/api/tags"), "", 2},
		{"manage", post("/api/pull", `{"model":"m"}`), sized(502, "{}"), 1},
		{"embed, busy", post("/api/embed", `{"model":"m"}`), busy, 1},
		{"embed, 429", post("/api/embed", `{"model":"m"}`), sized(429, "{}"), 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b, n := counting(t, tt.answer)
			r := start(t, nil, b)
			do(t, r.addr, tt.raw)
			if n.Load() != tt.want {
				t.Errorf("asked %d times, want %d", n.Load(), tt.want)
			}
			if s := r.breaker(0); tt.answer == busy && s.Metrics.FailedRequests != 0 {
				t.Errorf("busy counts as %d failures", s.Metrics.FailedRequests)
			}
		})
	}
	b, n := counting(t, sized(502, "{}"))
	r := start(t, func(cfg *config.Config) { cfg.Retry.SameUpstream = true }, b)
	if do(t, r.addr, chat()); n.Load() != 2 {
		t.Errorf("retry.same_upstream: asked %d times", n.Load())
	}
}

// Once a byte has reached the client, nothing is asked again.
func TestNoFailoverAfterTheFirstByte(t *testing.T) {
	first := newBackend(t)
	second, n := counting(t, okChat)
	r := start(t, nil, first, second)
	_, p, body := streaming(t, r, first, okSSE)
	p.chunk("data: 1\n\n")
	expect(t, body, "data: 1\n\n")
	p.reset()
	if line := r.ended(); line["upstream"] != "first" || n.Load() != 0 {
		t.Errorf("the second was asked %d times", n.Load())
	}
}

// A client's credentials stay with the host they were meant for.
func TestCredentialsStayAtHome(t *testing.T) {
	for _, forward := range []bool{false, true} {
		second := newBackend(t)
		heads := make(chan http.Header, 1)
		second.serve(func(r request) string {
			heads <- r.header
			return okJSON
		})
		r := startAt(t, func(cfg *config.Config) {
			cfg.Upstreams[1].Headers = map[string]string{"Api-Key": "ours"}
			cfg.Upstreams[1].ForwardCredentials = forward
		}, deadAddress(t), second.url())
		do(t, r.addr, chat("Authorization: Bearer a", "X-Api-Key: b", "Api-Key: c", "Cookie: d", "Proxy-Authorization: e", "X-Other: f"))
		h := <-heads
		if h.Get("Api-Key") != "ours" || h.Get("X-Other") != "f" || h.Get("Proxy-Authorization") != "" {
			t.Errorf("the second got %q", h)
		}
		for _, name := range []string{"Authorization", "X-Api-Key", "Cookie"} {
			if (h.Get(name) != "") != forward {
				t.Errorf("forward_credentials %v: the second got %s %q", forward, name, h.Get(name))
			}
		}
	}
}

// Retries are bounded: beyond the budget the first answer passes.
func TestRetryBudget(t *testing.T) {
	first, _ := counting(t, sized(502, "{}"))
	second, n := counting(t, okChat)
	r := start(t, func(cfg *config.Config) {
		cfg.Upstreams[0].Breaker.Enabled = false
		cfg.Retry.BudgetPercent = 0
	}, first, second)
	passed := 0
	for range 15 {
		if do(t, r.addr, chat()).status == 502 {
			passed++
		}
	}
	if n.Load() != 10 || passed != 5 {
		t.Errorf("%d retries and %d answers of the first, want 10 and 5", n.Load(), passed)
	}
}

// max_attempts bounds the tries over all upstreams.
func TestMaxAttempts(t *testing.T) {
	one, _ := counting(t, sized(502, "{}"))
	two, _ := counting(t, sized(503, "{}"))
	three, n := counting(t, okChat)
	r := start(t, nil, one, two, three)
	if a := do(t, r.addr, chat()); a.status != 503 || a.header.Get("X-Vega-Upstream") != "second" || n.Load() != 0 {
		t.Errorf("two attempts: %d from %q", a.status, a.header.Get("X-Vega-Upstream"))
	}
	r = start(t, func(cfg *config.Config) { cfg.Retry.MaxAttempts = 3 }, one, two, three)
	if a := do(t, r.addr, chat()); a.status != 200 || a.header.Get("X-Vega-Upstream") != "third" {
		t.Errorf("three attempts: %d from %q", a.status, a.header.Get("X-Vega-Upstream"))
	}
}

// A place that is free elsewhere is preferred to waiting; then the queue is
// waited in, and then the request is refused.
func TestPlacesAndQueue(t *testing.T) {
	one, two := newBackend(t), newBackend(t)
	r := start(t, func(cfg *config.Config) {
		for i := range cfg.Upstreams {
			cfg.Upstreams[i].MaxInFlight, cfg.Upstreams[i].Queue = 1, 1
		}
		cfg.Upstreams[1].Queue = 0
		cfg.Upstreams[0].QueueTimeout = patience
	}, one, two)
	ask := func(b *backend) (*client, *peer) {
		c := dial(t, r.addr)
		c.send(chat())
		p, _ := b.asked()
		return c, p
	}
	c1, p1 := ask(one)
	c2, p2 := ask(two)
	// Of two more, one waits and the other is refused.
	answers := make(chan answer, 2)
	var wg sync.WaitGroup
	for range 2 {
		c := dial(t, r.addr)
		c.send(chat())
		wg.Go(func() { answers <- c.answer() })
	}
	a := <-answers
	if a.status != 503 || a.header.Get("X-Vega-Error") != "overloaded" || a.header.Get("Retry-After") == "" {
		t.Errorf("with all full: %d %q", a.status, a.header.Get("X-Vega-Error"))
	}
	p1.say(okJSON)
	c1.answer()
	p1.request() // the one that waited
	p1.say(okJSON)
	wg.Wait()
	if a := <-answers; a.status != 200 || a.header.Get("X-Vega-Upstream") != "first" {
		t.Errorf("from the queue: %d from %q", a.status, a.header.Get("X-Vega-Upstream"))
	}
	p2.say(okJSON)
	c2.answer()
}

func TestQueueTimeout(t *testing.T) {
	b := newBackend(t)
	r := start(t, func(cfg *config.Config) { cfg.Upstreams[0].MaxInFlight, cfg.Upstreams[0].QueueTimeout = 1, short }, b)
	c := dial(t, r.addr)
	c.send(chat())
	p, _ := b.asked()
	if a := do(t, r.addr, chat()); a.status != 503 || a.header.Get("X-Vega-Error") != "overloaded" {
		t.Errorf("%d %q", a.status, a.header.Get("X-Vega-Error"))
	}
	p.say(okJSON)
	c.answer()
}
