package main

import (
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"

	otlp "go.opentelemetry.io/proto/slim/otlp/trace/v1"

	"github.com/vega-proxy/vega-proxy/internal/simllm"
)

const (
	theirTrace = "0af7651916cd43dd8448eb211c80319c"
	theirSpan  = "b7ad6b7169203331"
	theirs     = "00-" + theirTrace + "-" + theirSpan + "-01"
)

// TestTraces reads the spans of each dialect's exchanges, whole and streamed.
func TestTraces(t *testing.T) {
	t.Parallel()
	c, collected := newClient(t), collect(t)
	backend, seen := headersAt(t, simllm.New(simllm.Config{Tokens: 3}))
	p := serve(t, upstreamAt(backend)+"cache: {policy: 'off'}\n"+collected.config())

	for i, tt := range []struct {
		path, body  string
		op, dialect string
		stream      bool
		finish      string
	}{
		{chatPath, chat, "chat", "openai", false, "stop"},
		{chatPath, chatLive[:len(chatLive)-1] + `,"stream_options":{"include_usage":true}}`, "chat", "openai", true, "stop"},
		{"/v1/completions", `{"model":"demo","prompt":"planted"}`, "text_completion", "openai", false, "stop"},
		{"/v1/embeddings", `{"model":"demo","input":"planted"}`, "embeddings", "openai", false, ""},
		{"/api/chat", `{"model":"demo","stream":false,"messages":[{"role":"user","content":"planted"}]}`, "chat", "ollama", false, "stop"},
		{"/api/chat", `{"model":"demo","messages":[{"role":"user","content":"planted"}]}`, "chat", "ollama", true, "stop"},
		{"/v1/messages", `{"model":"demo","max_tokens":9,"messages":[{"role":"user","content":"planted"}]}`, "chat", "anthropic", false, "end_turn"},
		{"/v1/messages", `{"model":"demo","max_tokens":9,"stream":true,"messages":[{"role":"user","content":"planted"}]}`, "chat", "anthropic", true, "end_turn"},
	} {
		t.Run(fmt.Sprint(tt.path, " stream=", tt.stream), func(t *testing.T) {
			id := fmt.Sprint("exchange-", i)
			do(t, c, http.MethodPost, p.proxy+tt.path+"?key=planted", strings.ReplaceAll(tt.body, "the sea", "planted"), "X-Request-Id", id,
				"Traceparent", theirs, "Tracestate", "vendor=1", "Authorization", "Bearer planted", "X-Custom", "planted").want(t, http.StatusOK, "")
			server, tries := collected.exchange(t, id)
			if server.Kind != otlp.Span_SPAN_KIND_SERVER || server.trace() != theirTrace || server.parent() != theirSpan || server.TraceState != "vendor=1" {
				t.Errorf("the exchange's span is of the wrong kind or trace: %v", server)
			}
			if len(tries) != 1 {
				t.Fatalf("%d tries", len(tries))
			}
			try := tries[0]
			if try.Kind != otlp.Span_SPAN_KIND_CLIENT || try.trace() != theirTrace || try.TraceState != "vendor=1" {
				t.Errorf("the try's span is of the wrong kind or trace: %v", try)
			}
			got := seen(id)
			if want := "00-" + theirTrace + "-" + try.id() + "-01"; got.Get("Traceparent") != want || got.Get("Tracestate") != "vendor=1" {
				t.Errorf("the upstream got %q, %q, want %q", got.Get("Traceparent"), got.Get("Tracestate"), want)
			}
			if try.StartTimeUnixNano < server.StartTimeUnixNano || try.EndTimeUnixNano > server.EndTimeUnixNano || try.EndTimeUnixNano <= try.StartTimeUnixNano {
				t.Errorf("the try, %d to %d, does not lie within the exchange, %d to %d",
					try.StartTimeUnixNano, try.EndTimeUnixNano, server.StartTimeUnixNano, server.EndTimeUnixNano)
			}

			if want := tt.op + " demo"; server.Name != want || try.Name != "POST "+tt.path {
				t.Errorf("the spans are called %q and %q", server.Name, try.Name)
			}
			server.want(t, map[string]any{
				"gen_ai.operation.name": tt.op, "gen_ai.provider.name": tt.dialect, "gen_ai.request.model": "demo", "gen_ai.response.model": "demo",
				"http.request.method": "POST", "http.route": tt.path, "url.path": tt.path, "url.scheme": "http", "http.response.status_code": int64(200),
				"server.address": "127.0.0.1", "network.protocol.version": "1.1", "error.type": nil,
				"vega.upstream": "default", "vega.cache_status": "BYPASS", "vega.attempts": int64(1), "vega.ended_by": "upstream", "vega.error_code": nil,
			})
			if tokens, ok := server.attrs["gen_ai.usage.input_tokens"].(int64); !ok || tokens < 1 {
				t.Errorf("input tokens are %v", server.attrs["gen_ai.usage.input_tokens"])
			}
			if tt.op != "embeddings" {
				server.want(t, map[string]any{"gen_ai.response.finish_reasons": []any{tt.finish}, "gen_ai.usage.output_tokens": int64(3)})
			}
			port := regexp.MustCompile(`\d+$`).FindString(backend)
			try.want(t, map[string]any{
				"http.request.method": "POST", "url.full": backend + tt.path, "server.address": "127.0.0.1", "http.response.status_code": int64(200),
				"http.request.resend_count": nil, "error.type": nil, "vega.upstream": "default", "vega.attempt": int64(1), "vega.cache_status": "BYPASS",
			})
			if fmt.Sprint(try.attrs["server.port"]) != port {
				t.Errorf("the try's port is %v, want %s", try.attrs["server.port"], port)
			}
			for _, s := range []*span{server, try} {
				if s.failed() || s.event("vega.first_token") != tt.stream {
					t.Errorf("status %v, events %v of an exchange with stream=%v", s.Status, s.Events, tt.stream)
				}
			}
			if first, ok := server.attrs["gen_ai.response.time_to_first_chunk"].(float64); ok != tt.stream || ok && first <= 0 {
				t.Errorf("the time to the first chunk is %v", server.attrs["gen_ai.response.time_to_first_chunk"])
			}
			if server.attrs["gen_ai.request.stream"] != map[bool]any{true: true}[tt.stream] {
				t.Errorf("gen_ai.request.stream is %v", server.attrs["gen_ai.request.stream"])
			}
		})
	}

	do(t, c, http.MethodGet, p.proxy+"/api/tags", "", "X-Request-Id", "tags").want(t, http.StatusOK, "")
	server, tries := collected.exchange(t, "tags")
	if server.Name != "GET /api/tags" || len(tries) != 1 || server.parent() != "" || server.trace() == theirTrace {
		t.Errorf("a request without a model is %v with %d tries", server, len(tries))
	}
	server.want(t, map[string]any{"gen_ai.operation.name": nil, "gen_ai.request.model": nil})

	for name, want := range map[string]string{"service.name": "vega-proxy", "service.version": "v0-test"} {
		if got := server.resource[name]; got != want {
			t.Errorf("%s is %v", name, got)
		}
	}
	if id, _ := server.resource["service.instance.id"].(string); len(id) < 16 {
		t.Errorf("service.instance.id is %q", id)
	}
	if said := collected.said("planted"); said {
		t.Error("a span holds a prompt, a credential, a header or the query")
	}
	line := p.wait(`"msg":"exchange"`, `"request_id":"exchange-0"`)
	if line["trace_id"] != theirTrace {
		t.Errorf("the log's line names the trace %v", line["trace_id"])
	}
}

// TestTraceparent holds what the upstream gets of the client's context.
func TestTraceparent(t *testing.T) {
	t.Parallel()
	c, collected := newClient(t), collect(t)
	backend, seen := headersAt(t, simllm.New(simllm.Config{Tokens: 3}))
	on := serve(t, upstreamAt(backend)+collected.config())
	off := serve(t, upstreamAt(backend))
	unsampled := strings.TrimSuffix(theirs, "01") + "00"
	sent := 0
	// upstreamGets sends a request and returns the context that arrived.
	upstreamGets := func(p *process, headers ...string) (id, parent, state string) {
		sent++
		id = fmt.Sprint("context-", sent)
		do(t, c, http.MethodGet, p.proxy+"/api/tags", "", append(headers, "X-Request-Id", id)...).want(t, http.StatusOK, "")
		return id, strings.Join(seen(id)["Traceparent"], "|"), strings.Join(seen(id)["Tracestate"], "|")
	}

	for _, parent := range []string{theirs, unsampled, "nonsense", ""} {
		if _, got, state := upstreamGets(off, "Traceparent", parent, "Tracestate", "vendor=1"); got != parent || state != "vendor=1" {
			t.Errorf("without tracing %q became %q, %q", parent, got, state)
		}
	}
	if _, got, _ := upstreamGets(off); got != "" {
		t.Errorf("without tracing there is a traceparent: %q", got)
	}

	for _, invalid := range []string{
		"nonsense", "00-" + theirTrace + "-0000000000000000-01", "00-00000000000000000000000000000000-" + theirSpan + "-01",
		"ff-" + theirTrace + "-" + theirSpan + "-01", strings.ToUpper(theirs), theirs + "-more", "",
	} {
		id, got, state := upstreamGets(on, "Traceparent", invalid, "Tracestate", "vendor=1")
		server, tries := collected.exchange(t, id)
		if server.parent() != "" || server.trace() == theirTrace || got != "00-"+server.trace()+"-"+tries[0].id()+"-01" || state != "" {
			t.Errorf("%q became %q, %q in the trace %s below %q", invalid, got, state, server.trace(), server.parent())
		}
	}
	if _, got, state := upstreamGets(on, "Traceparent", unsampled, "Tracestate", "vendor=1"); !strings.HasPrefix(got, "00-"+theirTrace+"-") ||
		!strings.HasSuffix(got, "-00") || got == unsampled || state != "vendor=1" {
		t.Errorf("a trace that is not sampled goes on as %q, %q", got, state)
	}
	// A later version may have more, which is not passed on.
	if _, got, _ := upstreamGets(on, "Traceparent", "42"+theirs[2:]+"-more"); !regexp.MustCompile("^00-" + theirTrace + "-[0-9a-f]{16}-01$").MatchString(got) {
		t.Errorf("a later version goes on as %q", got)
	}
}

// TestTraceSampling holds that a client's decision goes before the ratio.
func TestTraceSampling(t *testing.T) {
	t.Parallel()
	c, collected := newClient(t), collect(t)
	backend, seen := headersAt(t, simllm.New(simllm.Config{Tokens: 3}))
	p := serve(t, upstreamAt(backend)+strings.Replace(collected.config(), "}", ", sample_ratio: 0}", 1))
	ask := func(id string, headers ...string) {
		do(t, c, http.MethodGet, p.proxy+"/api/tags", "", append(headers, "X-Request-Id", id)...).want(t, http.StatusOK, "")
	}
	ask("by-ratio")
	ask("by-their-no", "Traceparent", strings.TrimSuffix(theirs, "01")+"00")
	ask("by-their-yes", "Traceparent", theirs)
	server, _ := collected.exchange(t, "by-their-yes")
	if server.trace() != theirTrace {
		t.Errorf("the trace is %s", server.trace())
	}
	if n := len(collected.spans()); n != 2 {
		t.Errorf("the collector got %d spans, want those of one exchange", n)
	}
	if got := seen("by-ratio").Get("Traceparent"); !strings.HasSuffix(got, "-00") {
		t.Errorf("what is not sampled goes on as %q", got)
	}
	if line := p.wait(`"msg":"exchange"`, `"request_id":"by-ratio"`); line["trace_id"] != nil {
		t.Errorf("the log names a trace that is not recorded: %v", line["trace_id"])
	}
}
