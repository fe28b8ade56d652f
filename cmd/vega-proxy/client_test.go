package main

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/vega-proxy/vega-proxy/internal/simllm"
)

const (
	chatPath = "/v1/chat/completions"
	chat     = `{"model":"demo","messages":[{"role":"user","content":"Tell me about the sea."}]}`
	chatLive = `{"model":"demo","stream":true,"messages":[{"role":"user","content":"Tell me about the sea."}]}`
)

// reply is an answer, read whole.
type reply struct {
	status int
	header http.Header
	body   string
}

// newClient returns a client with connections of its own.
func newClient(t testing.TB) *http.Client {
	tr := &http.Transport{MaxIdleConnsPerHost: 64}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: patience}
}

// do sends a request; headers are name and value in turns.
func do(t testing.TB, c *http.Client, method, url, body string, headers ...string) reply {
	t.Helper()
	r, err := try(t.Context(), c, method, url, body, headers...)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func try(ctx context.Context, c *http.Client, method, url, body string, headers ...string) (reply, error) {
	res, err := send(ctx, c, method, url, body, headers...)
	if err != nil {
		return reply{}, err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	return reply{res.StatusCode, res.Header, string(text)}, err
}

func send(ctx context.Context, c *http.Client, method, url, body string, headers ...string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	return c.Do(req)
}

func (r reply) want(t testing.TB, status int, code string) {
	t.Helper()
	if r.status != status || r.header.Get("X-Vega-Error") != code {
		t.Errorf("got status %d, X-Vega-Error %q, want %d, %q\n%s", r.status, r.header.Get("X-Vega-Error"), status, code, r.body)
	}
}

// openStream begins a streamed answer and reads its first event.
func openStream(t testing.TB, c *http.Client, url string) (*http.Response, *bufio.Reader) {
	t.Helper()
	res, err := send(t.Context(), c, http.MethodPost, url+chatPath, chatLive)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { res.Body.Close() })
	r := bufio.NewReader(res.Body)
	line, err := r.ReadString('\n')
	if err != nil || !strings.HasPrefix(line, "data: {") {
		t.Fatalf("the stream began with %q, %v", line, err)
	}
	return res, r
}

// simulate starts a simulated backend.
func simulate(t *testing.T, cfg simllm.Config) (*simllm.Server, string) {
	sim := simllm.New(cfg)
	srv := httptest.NewServer(sim)
	t.Cleanup(func() {
		sim.Close()
		srv.CloseClientConnections()
		srv.Close()
	})
	return sim, srv.URL
}

const (
	firstEvent = `data: {"id":"1","object":"chat.completion.chunk","created":1,"model":"demo","choices":[{"index":0,"delta":{"role":"assistant","content":"first"},"finish_reason":null}]}` + "\n\n"
	lastEvents = `data: {"id":"1","object":"chat.completion.chunk","created":1,"model":"demo","choices":[{"index":0,"delta":{"content":" last"},"finish_reason":"stop"}],"usage":{"prompt_tokens":3,"completion_tokens":2,"total_tokens":5}}` + "\n\ndata: [DONE]\n\n"
)

// holding starts a backend whose streams send one event and the rest when they
// are released; everything else it answers at once.
func holding(t *testing.T) (url string, release func()) {
	released := make(chan struct{})
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil || !strings.Contains(string(body), `"stream":true`) {
			io.WriteString(w, `{"object":"list","data":[]}`)
			return
		}
		w.Header().Set("Content-Type", "text/event-stream")
		io.WriteString(w, firstEvent)
		w.(http.Flusher).Flush()
		select {
		case <-released:
			io.WriteString(w, lastEvents)
		case <-r.Context().Done():
		}
	}))
	t.Cleanup(func() {
		srv.CloseClientConnections()
		srv.Close()
	})
	return srv.URL, func() { close(released) }
}

// upstreamAt is a configuration with one upstream.
func upstreamAt(url string) string { return "upstreams: [{url: " + url + "}]\n" }

// breakerStatus is what of a breaker's status these tests read.
type breakerStatus struct {
	State               string  `json:"state"`
	ConsecutiveOpenings int     `json:"consecutive_openings"`
	SecondsUntilRetry   float64 `json:"seconds_until_retry"`
	Metrics             struct {
		TotalRequests    int64 `json:"total_requests"`
		FailedRequests   int64 `json:"failed_requests"`
		RejectedRequests int64 `json:"rejected_requests"`
		RecoveryAttempts int64 `json:"recovery_attempts"`
	} `json:"metrics"`
}

// breaker asks the admin API for a breaker's status, or resets it.
func (p *process) breaker(c *http.Client, name, verb string) (s breakerStatus) {
	p.t.Helper()
	method := http.MethodGet
	if verb == "reset" {
		method = http.MethodPost
	}
	r := do(p.t, c, method, p.admin+"/admin/performance/circuit-breaker/"+name+"/"+verb, "", "X-API-Key", p.key())
	if r.status != http.StatusOK {
		p.t.Fatalf("%s of %s: %d %s", verb, name, r.status, r.body)
	}
	if err := json.Unmarshal([]byte(r.body), &s); err != nil {
		p.t.Fatal(err)
	}
	return s
}

// until asks again and again until ok, for what the program offers no better way
// to wait for.
func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("never came: " + what)
		}
	}
}

func readAll(r io.Reader) (string, error) {
	b, err := io.ReadAll(r)
	return string(b), err
}
