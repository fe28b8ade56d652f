package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/vega-proxy/vega-proxy/internal/simllm"
)

// wish is one request and what the cache is to say of it.
type wish struct {
	path    string // "" is the chat
	body    string
	headers []string
	status  string // X-Vega-Cache
	reason  string
	code    string // X-Vega-Error
}

func (w wish) check(t *testing.T, c *http.Client, p *process) reply {
	t.Helper()
	path, method := w.path, http.MethodPost
	if path == "" {
		path = chatPath
	}
	if w.body == "" {
		method = http.MethodGet
	}
	r := do(t, c, method, p.proxy+path, w.body, w.headers...)
	if got, why := r.header.Get("X-Vega-Cache"), r.header.Get("X-Vega-Cache-Reason"); got != w.status || why != w.reason {
		t.Errorf("%s %s %q: %s %q, want %s %q", path, w.body, w.headers, got, why, w.status, w.reason)
	}
	if code := r.header.Get("X-Vega-Error"); code != w.code {
		t.Errorf("%s %s %q: the error is %q, want %q", path, w.body, w.headers, code, w.code)
	}
	if (r.header.Get("Age") != "") != (w.status == "HIT") {
		t.Errorf("%s %s: Age is %q on a %s", path, w.body, r.header.Get("Age"), w.status)
	}
	return r
}

// with is the chat with members added.
func with(members string) string { return strings.Replace(chat, "{", "{"+members+",", 1) }

func TestCacheDecisions(t *testing.T) {
	t.Parallel()
	_, backend := simulate(t, simllm.Config{Tokens: 3})
	live := func(question string) string { return strings.Replace(chatLive, "the sea", question, 1) }
	doc := func(question string) string { return strings.Replace(chat, "the sea", question, 1) }
	embed := `{"model":"demo","input":"the sea"}`
	const embeddings = "/v1/embeddings"
	for name, wishes := range map[string][]wish{
		"all": {
			{body: chat, status: "MISS", reason: "first"},
			{body: chat, status: "HIT"},
			{body: `{"messages":[{"content":"Tell me about the sea.","role":"user"}], "model":"dem\u006f", "user":"x"}`, status: "HIT"},
			{body: with(`"temperature":1`), status: "MISS", reason: "first"},
			{body: with(`"temperature":1.0`), status: "HIT"},
			{body: chat, headers: []string{"Authorization", "Bearer a"}, status: "MISS", reason: "first"},
			{body: chat, headers: []string{"Cookie", "a=b"}, status: "MISS", reason: "first"},
			{path: chatPath + "?v=1", body: chat, status: "MISS", reason: "first"},
			{body: chat, headers: []string{"Cache-Control", "no-store"}, status: "BYPASS", reason: "no-store"},
			{body: chat, headers: []string{"Cache-Control", "no-cache"}, status: "MISS", reason: "no-cache"},
			{body: chat, headers: []string{"Cache-Control", "max-age=0"}, status: "MISS", reason: "no-cache"},
			{body: chat, headers: []string{"Cache-Control", "max-age=60, only-if-cached"}, status: "HIT"},
			{body: doc("nothing kept"), headers: []string{"X-Vega-Cache-TTL", "0"}, status: "MISS", reason: "first"},
			{body: doc("nothing kept"), status: "MISS", reason: "first"},
			{path: "/v1/models", status: "BYPASS", reason: "kind"},
			{body: with(`"store":true`), status: "BYPASS", reason: "stateful"},
			{path: "/api/generate", body: `{"model":"demo"}`, status: "BYPASS", reason: "load"},
			{body: with(`"model":"demo"`), status: "BYPASS", reason: "duplicate-keys"},
			{body: with(`"Model":"demo"`), status: "BYPASS", reason: "duplicate-keys"},
			{body: live("no usage"), status: "MISS", reason: "first"},
			{body: doc("no usage"), status: "MISS", reason: "framing"},
			{path: embeddings, body: embed, status: "MISS", reason: "first"},
			{path: embeddings, body: embed, status: "HIT"},
			{body: chat, headers: []string{"Cache-Control", "only-if-cached, no-store"}, status: "BYPASS", reason: "no-store", code: "not_cached"},
			{body: with(`"store":true`), headers: []string{"Cache-Control", "only-if-cached"}, status: "BYPASS", reason: "stateful", code: "not_cached"},
		},
		"deterministic": {
			{body: chat, status: "BYPASS", reason: "policy"},
			{body: chat, headers: []string{"Cache-Control", "only-if-cached"}, status: "BYPASS", reason: "policy", code: "not_cached"},
			{body: with(`"temperature":0.1`), status: "BYPASS", reason: "policy"},
			{body: with(`"temperature":0`), status: "MISS", reason: "first"},
			{body: with(`"temperature":0.0`), status: "HIT"},
			{body: with(`"seed":7`), status: "MISS", reason: "first"},
			{body: with(`"seed":7`), status: "HIT"},
			{body: with(`"seed":7,"n":2`), status: "BYPASS", reason: "policy"},
			{path: embeddings, body: embed, status: "MISS", reason: "first"},
			{path: embeddings, body: embed, status: "HIT"},
		},
		"off": {
			{body: chat, status: "BYPASS", reason: "policy"},
			{body: chat, status: "BYPASS", reason: "policy"},
			{body: chat, headers: []string{"Cache-Control", "only-if-cached"}, status: "BYPASS", reason: "policy", code: "not_cached"},
			{path: "/v1/models", headers: []string{"Cache-Control", "only-if-cached"}, status: "BYPASS", reason: "kind"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, c := serve(t, upstreamAt(backend)+"cache: {policy: '"+name+"'}\n"), newClient(t)
			for _, w := range wishes {
				w.check(t, c, p)
			}
		})
	}

	t.Run("in time", func(t *testing.T) {
		t.Parallel()
		_, backend := simulate(t, simllm.Config{Tokens: 3}) // which loses its model
		p, c := serve(t, upstreamAt(backend)+"cache: {max_entry_bytes: 4KiB}\n"), newClient(t)
		long := []string{"X-Sim-Tokens", "2000"}
		wish{body: live("much"), headers: long, status: "MISS", reason: "first"}.check(t, c, p)
		wish{body: live("much"), headers: long, status: "MISS", reason: "too-large"}.check(t, c, p)
		wish{body: doc("short"), headers: []string{"X-Vega-Cache-TTL", "1"}, status: "MISS", reason: "first"}.check(t, c, p)
		wish{body: doc("kept"), status: "MISS", reason: "first"}.check(t, c, p)
		until(t, "the time is over", func() bool {
			return do(t, c, http.MethodPost, p.proxy+chatPath, doc("short"), "Cache-Control", "only-if-cached").status == http.StatusGatewayTimeout
		})
		wish{body: doc("short"), status: "MISS", reason: "expired"}.check(t, c, p)
		do(t, c, http.MethodPost, p.admin+"/admin/performance/cache/clear?model=demo", "", "X-API-Key", p.key()).want(t, http.StatusOK, "")
		wish{body: doc("kept"), status: "MISS", reason: "cleared"}.check(t, c, p)
		do(t, c, http.MethodPost, p.proxy+"/api/copy", `{"source":"demo","destination":"copy"}`).want(t, http.StatusOK, "")
		wish{body: doc("kept"), status: "HIT"}.check(t, c, p)
		for _, change := range []struct{ method, path, body string }{
			{"POST", "/api/pull", `{"model":"demo"}`},
			{"POST", "/api/create", `{"model":"demo","from":"demo"}`},
			{"POST", "/api/create", `{"template":"` + strings.Repeat("x", 80<<10) + `","model":"demo","from":"demo"}`}, // named too late to be read
			{"POST", "/api/copy", `{"source":"demo","destination":"demo:latest"}`},
			{"DELETE", "/api/delete", `{"model":"demo"}`},
		} {
			do(t, c, change.method, p.proxy+change.path, change.body).want(t, http.StatusOK, "")
			wish{body: doc("kept"), status: "MISS", reason: "cleared"}.check(t, c, p)
		}
	})
}

// TestCacheForms: what came in one form is given in the other where nothing is
// lost, with the same meaning, and again with the same bytes.
func TestCacheForms(t *testing.T) {
	t.Parallel()
	_, backend := simulate(t, simllm.Config{Tokens: 6})
	p, c := serve(t, upstreamAt(backend)), newClient(t)
	const usage = `"stream_options":{"include_usage":true}`
	for _, tt := range []struct{ path, body, live, live2 string }{
		{chatPath, `{"model":"demo","messages":[{"role":"user","content":"QUESTION"}]%s}`, `,"stream":true,` + usage, `,"stream":true`},
		{"/v1/completions", `{"model":"demo","prompt":"QUESTION"%s}`, `,"stream":true,` + usage, `,"stream":true`},
		{"/api/chat", `{"model":"demo","messages":[{"role":"user","content":"QUESTION"}]%s}`, ``, ``},
		{"/api/generate", `{"model":"demo","prompt":"QUESTION"%s}`, ``, ``},
	} {
		document := ""
		if strings.HasPrefix(tt.path, "/api/") {
			document = `,"stream":false`
		}
		ask := func(question, form, status string) string {
			t.Helper()
			body := strings.Replace(fmt.Sprintf(tt.body, form), "QUESTION", question, 1)
			reason := ""
			if status == "MISS" {
				reason = "first"
			}
			return wish{path: tt.path, body: body, status: status, reason: reason}.check(t, c, p).body
		}
		// A stream becomes a document, and the stream without counts.
		streamed := ask("one", tt.live, "MISS")
		made := ask("one", document, "HIT")
		if again := ask("one", tt.live, "HIT"); again != streamed {
			t.Errorf("%s: the stream is replayed as\n%s\nand was\n%s", tt.path, again, streamed)
		}
		if again := ask("one", document, "HIT"); again != made {
			t.Errorf("%s: the document is given as\n%s\nand then as\n%s", tt.path, made, again)
		}
		if tt.live2 != "" && strings.Contains(ask("one", tt.live2, "HIT"), "prompt_tokens") {
			t.Errorf("%s: counts that were not asked for", tt.path)
		}
		// A document becomes a stream.
		whole := ask("two", document, "MISS")
		events := ask("two", tt.live, "HIT")
		if again := ask("two", document, "HIT"); again != whole {
			t.Errorf("%s: the document is replayed as\n%s\nand was\n%s", tt.path, again, whole)
		}
		if a, b := textOf(whole), textOf(events); a != b || a == "" {
			t.Errorf("%s: the document says %q, the stream made of it %q", tt.path, a, b)
		}
		if a, b := textOf(streamed), textOf(made); a != b || a == "" {
			t.Errorf("%s: the stream says %q, the document made of it %q", tt.path, a, b)
		}
	}
}

// textOf puts together what an answer says, in whichever form.
func textOf(answer string) string {
	var text strings.Builder
	for line := range strings.Lines(answer) {
		var e struct {
			Response string
			Message  struct{ Content string }
			Choices  []struct {
				Text           string
				Message, Delta struct{ Content string }
			}
		}
		if json.Unmarshal([]byte(strings.TrimPrefix(line, "data: ")), &e) != nil {
			continue
		}
		text.WriteString(e.Response + e.Message.Content)
		for _, c := range e.Choices {
			text.WriteString(c.Text + c.Message.Content + c.Delta.Content)
		}
	}
	return text.String()
}

// TestCacheNeverKeeps asks for each kind of answer that must not be given again,
// twice: both times the backend is asked.
func TestCacheNeverKeeps(t *testing.T) {
	t.Parallel()
	const (
		good   = `{"id":"1","object":"chat.completion","created":1,"model":"demo","choices":[{"index":0,"message":{"role":"assistant","content":"x"},"finish_reason":"stop"}]}`
		noStop = `{"id":"1","object":"chat.completion","created":1,"model":"demo","choices":[{"index":0,"message":{"role":"assistant","content":"x"},"finish_reason":null}]}`
	)
	stream := func(events ...string) func(http.ResponseWriter) {
		return func(w http.ResponseWriter) {
			w.Header().Set("Content-Type", "text/event-stream")
			io.WriteString(w, strings.Join(events, ""))
		}
	}
	document := func(status int, body string, headers ...string) func(http.ResponseWriter) {
		return func(w http.ResponseWriter) {
			w.Header().Set("Content-Type", "application/json")
			for i := 0; i < len(headers); i += 2 {
				w.Header().Set(headers[i], headers[i+1])
			}
			w.WriteHeader(status)
			io.WriteString(w, body)
		}
	}
	answers := map[string]func(http.ResponseWriter){
		"good":           document(200, good),
		"good-stream":    stream(firstEvent, lastEvents),
		"bad-request":    document(400, `{"error":{"message":"no"}}`),
		"server-error":   document(500, `{"error":{"message":"no"}}`),
		"created":        document(201, good),
		"no-finish":      document(200, noStop),
		"error-in-200":   document(200, `{"error":{"message":"no"}}`),
		"filtered":       document(200, strings.Replace(good, "stop", "content_filter", 1)),
		"cookie":         document(200, good, "Set-Cookie", "a=b"),
		"private":        document(200, good, "Cache-Control", "private"),
		"unstorable":     document(200, good, "Cache-Control", "max-age=3, no-store"),
		"encoded":        document(200, good, "Content-Encoding", "br"),
		"done-only":      stream(firstEvent, "data: [DONE]\n\n"),
		"error-and-done": stream(firstEvent, `data: {"error":{"message":"no"}}`+"\n\n", lastEvents),
		"half-event":     stream(firstEvent, strings.TrimSuffix(lastEvents, "\n\n")[:200]),
		"half-usage":     stream(firstEvent, strings.Split(lastEvents, "\n\n")[0]+"\n\n", `data: {"choices":[],"usage":{"pro`),
		"no-end":         stream(firstEvent),
		"cut": func(w http.ResponseWriter) {
			stream(firstEvent)(w)
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		},
	}
	asked := map[string]*atomic.Int64{}
	for name := range answers {
		asked[name] = new(atomic.Int64)
	}
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		name := r.Header.Get("X-Answer")
		asked[name].Add(1)
		answers[name](w)
	}))
	t.Cleanup(backend.Close)
	p, c := serve(t, upstreamAt(backend.URL)+"breaker: {enabled: false}\nretry: {max_attempts: 1}\n"), newClient(t)
	for name := range answers {
		body := strings.Replace(chat, "the sea", name, 1)
		if strings.Contains(name, "stream") {
			body = strings.Replace(chatLive, "the sea", name, 1)
		}
		for range 2 {
			_, err := try(t.Context(), c, http.MethodPost, p.proxy+chatPath, body, "X-Answer", name)
			if err != nil && name != "cut" && !strings.HasPrefix(name, "half-") {
				t.Errorf("%s: %v", name, err)
			}
		}
		want := int64(2)
		if strings.HasPrefix(name, "good") {
			want = 1
		}
		if got := asked[name].Load(); got != want {
			t.Errorf("%s: the backend was asked %d times, want %d", name, got, want)
		}
	}
}

// TestFiveHundredClients ask the same thing at once, and the one that asked first
// leaves at some moment: the backend is asked once, and all get the same.
func TestFiveHundredClients(t *testing.T) {
	t.Parallel()
	const clients, events = 500, 30
	var asked atomic.Int64
	begin := make(chan struct{})
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		asked.Add(1)
		<-begin
		w.Header().Set("Content-Type", "text/event-stream")
		for i := range events {
			fmt.Fprint(w, strings.Replace(firstEvent, "first", strconv.Itoa(i), 1))
			w.(http.Flusher).Flush()
			time.Sleep(5 * time.Millisecond)
		}
		fmt.Fprint(w, lastEvents)
	}))
	t.Cleanup(backend.Close)
	p, c := serve(t, upstreamAt(backend.URL)), newClient(t)
	first, leave := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	ask := func(ctx context.Context) (reply, error) {
		return try(ctx, c, http.MethodPost, p.proxy+chatPath, chatLive)
	}
	wg.Go(func() { _, _ = ask(first) }) // it leaves
	until(t, "the backend is asked", func() bool { return asked.Load() == 1 })
	answers := make([]reply, clients-1)
	for i := range answers {
		wg.Go(func() {
			var err error
			if answers[i], err = ask(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	inFlight := func() string {
		return do(t, c, http.MethodGet, p.admin+"/metrics", "").body
	}
	until(t, "all wait", func() bool { return strings.Contains(inFlight(), fmt.Sprintf("vega_requests_in_flight %d\n", clients)) })
	moment := time.Duration(rand.IntN(events*6)) * time.Millisecond
	time.AfterFunc(moment, leave)
	close(begin)
	wg.Wait()
	for i, a := range answers {
		if a.status != http.StatusOK || a.body != answers[0].body || !strings.HasSuffix(a.body, lastEvents) || a.header.Get("X-Vega-Cache") != "COALESCED" {
			t.Fatalf("left after %s: client %d got %d %s\n%s", moment, i, a.status, a.header.Get("X-Vega-Cache"), a.body)
		}
	}
	wish{body: chatLive, status: "HIT"}.check(t, c, p)
	if n := asked.Load(); n != 1 {
		t.Errorf("left after %s: the backend was asked %d times", moment, n)
	}
}

// TestStaleWhileOpen: an expired answer stands in for an upstream whose breaker is
// open, also one that only the second tier has, and all who are refused are counted.
func TestStaleWhileOpen(t *testing.T) {
	t.Parallel()
	store := newRedis(t)
	backend, _ := numbering(t)
	settings := upstreamAt(backend) + "breaker: {fail_threshold: 1, base_timeout: 300s, max_timeout: 300s}\n" +
		"cache: {ttl_seconds: 1, stale_if_error: 1h, l2: {url: 'redis://" + store.address() + "', timeout: " + patient + "}}\n"
	a := (&replica{serve(t, settings), newClient(t)}).ready()
	b := (&replica{serve(t, settings), newClient(t)}).ready()
	answer := a.want("the sea", "MISS")
	a.written(1)
	until(t, "its time is over", func() bool {
		return do(t, a.c, http.MethodPost, a.proxy+chatPath, chat, "Cache-Control", "only-if-cached").status == http.StatusGatewayTimeout
	})
	for _, r := range []*replica{a, b} {
		do(t, r.c, http.MethodPost, r.proxy+chatPath, with(`"seed":1`), "X-Fail", "yes").want(t, http.StatusInternalServerError, "")
		for range 2 {
			got := do(t, r.c, http.MethodPost, r.proxy+chatPath, chat)
			age, err := strconv.Atoi(got.header.Get("Age"))
			if got.status != http.StatusOK || got.body != answer || got.header.Get("X-Vega-Cache") != "STALE" || err != nil || age < 1 || got.header.Get("X-Vega-Upstream") != "default" {
				t.Errorf("with an open breaker: %d %v\n%s", got.status, got.header, got.body)
			}
		}
		refused := do(t, r.c, http.MethodPost, r.proxy+chatPath, chat, "Cache-Control", "no-cache")
		refused.want(t, http.StatusServiceUnavailable, "breaker_open")
		if got := refused.header.Get("X-Vega-Cache"); got != "BYPASS" {
			t.Errorf("a refusal before anybody was asked says X-Vega-Cache: %s", got)
		}
	}

	// The figures say what the answers said: a refusal is no miss, nor is what is stale.
	said := map[string]int{}
	for _, c := range []string{"HIT", "MISS", "STALE", "BYPASS"} {
		for _, m := range regexp.MustCompile(`vega_requests_total\{cache="`+c+`".*\} (\d+)`).FindAllStringSubmatch(a.scrape(a.c), -1) {
			n, _ := strconv.Atoi(m[1])
			said[c] += n
		}
	}
	var stats struct {
		Hits, Misses int
		Stale        int `json:"stale_served"`
	}
	a.asked(a.c, http.MethodGet, "/admin/performance/cache/stats", &stats)
	if stats.Hits != said["HIT"] || stats.Misses != said["MISS"] || stats.Stale != said["STALE"] || said["BYPASS"] == 0 || said["STALE"] != 2 {
		t.Errorf("the cache counts %+v, the answers said %v", stats, said)
	}

	// Those who asked for the same thing are refused each for itself.
	before := a.breaker(a.c, "default", "status").Metrics.RejectedRequests
	var wg sync.WaitGroup
	for range 40 {
		wg.Go(func() {
			got, err := try(t.Context(), a.c, http.MethodPost, a.proxy+chatPath, with(`"seed":2`))
			if err != nil || got.header.Get("X-Vega-Error") != "breaker_open" || got.header.Get("X-Vega-Cache") != "BYPASS" {
				t.Errorf("%d %v, %v", got.status, got.header, err)
			}
		})
	}
	wg.Wait()
	if n := a.breaker(a.c, "default", "status").Metrics.RejectedRequests - before; n != 40 {
		t.Errorf("of 40 refused requests the breaker counts %d", n)
	}
}

// A failure that is shared names the upstream that the leader asked.
func TestSharedFailureNamesItsUpstream(t *testing.T) {
	t.Parallel()
	begin := make(chan struct{})
	backend := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		<-begin
		panic(http.ErrAbortHandler)
	}))
	t.Cleanup(backend.Close)
	p, c := serve(t, upstreamAt(backend.URL)), newClient(t)
	const clients = 8
	answers := make([]reply, clients)
	var wg sync.WaitGroup
	for i := range clients {
		wg.Go(func() { answers[i], _ = try(t.Context(), c, http.MethodPost, p.proxy+chatPath, chat) })
	}
	until(t, "all wait", func() bool {
		return strings.Contains(do(t, c, http.MethodGet, p.admin+"/metrics", "").body, fmt.Sprintf("vega_requests_in_flight %d\n", clients))
	})
	close(begin)
	wg.Wait()
	shared := 0
	for _, a := range answers {
		a.want(t, http.StatusBadGateway, "upstream_broke")
		status, why := a.header.Get("X-Vega-Cache"), a.header.Get("X-Vega-Cache-Reason")
		if status == "COALESCED" {
			shared++
		}
		if a.header.Get("X-Vega-Upstream") != "default" || (why == "") != (status == "COALESCED") {
			t.Errorf("%s %q of %q", status, why, a.header.Get("X-Vega-Upstream"))
		}
	}
	if shared == 0 {
		t.Error("nobody shared the second failure")
	}
}
