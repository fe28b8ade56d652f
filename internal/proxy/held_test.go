package proxy_test

import (
	"crypto/tls"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/vega-proxy/vega-proxy/internal/batchlog"
	"github.com/vega-proxy/vega-proxy/internal/cache"
	"github.com/vega-proxy/vega-proxy/internal/config"
	"github.com/vega-proxy/vega-proxy/internal/proxy"
)

// hungJournal is one whose disk hangs, or not, for those who write by themselves.
type hungJournal struct {
	mu    sync.Mutex
	disk  chan struct{} // nil is a disk that answers
	wrote []batchlog.Record
}

func (j *hungJournal) TakesRefusal() bool { return true }

func (j *hungJournal) Append(r *batchlog.Record, meanwhile func()) {
	j.mu.Lock()
	j.wrote = append(j.wrote, *r)
	disk := j.disk
	j.mu.Unlock()
	if disk == nil || meanwhile == nil {
		return
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		meanwhile()
	}()
	<-done
	<-disk
}

// hang hangs the disk until the func it returns is called.
func (j *hungJournal) hang() (free func()) {
	j.mu.Lock()
	defer j.mu.Unlock()
	disk := make(chan struct{})
	j.disk = disk
	return func() {
		j.mu.Lock()
		j.disk = nil
		j.mu.Unlock()
		close(disk)
	}
}

const (
	wholeChat  = `{"model":"m","choices":[{"message":{"role":"assistant","content":"hello"},"finish_reason":"stop"}]}`
	askedWhole = `{"model":"m","messages":[{"role":"user","content":"hi"}]}`
	firstEvent = `data: {"choices":[{"delta":{"content":"hello"}}]}` + "\n\n"
	lastEvents = `data: {"choices":[{"delta":{},"finish_reason":"stop"}]}` + "\n\ndata: [DONE]\n\n"
)

// hungRig has a cache and a journal whose disk can hang.
func hungRig(t *testing.T, configure func(*config.Config), b *backend) (*rig, *hungJournal) {
	t.Helper()
	j := new(hungJournal)
	lines := make(lines, 1<<10)
	r := &rig{t: t, lines: lines, log: slog.New(lines)}
	answers, err := cache.New(config.Default().Cache)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(answers.Close)
	r.tune = func(o *proxy.Options) {
		o.Journal = j
		o.Settings.Cache = answers
		o.Settings.MaxRecordBytes, o.Settings.MaxHeldBytes = 1<<20, 1<<20
	}
	r.start(configure, b.url())
	return r, j
}

// While a disk holds up the record of an exchange, its client gets the answer to the
// end: a miss, a hit, the hit of a stream. Where that cannot be done, since the stream
// goes on or the protocol is another, nobody writes by itself.
func TestHeldByTheDisk(t *testing.T) {
	b := newBackend(t)
	b.serve(func(r request) string {
		if strings.Contains(r.body, `"stream":true`) {
			return okSSE + chunked(firstEvent, lastEvents) + lastChunk
		}
		return sized(200, wholeChat)
	})
	r, j := hungRig(t, noBreaker, b)
	ask := post("/v1/chat/completions", askedWhole)
	old := strings.Replace(ask, "HTTP/1.1", "HTTP/1.0", 1)

	for _, tt := range []struct{ name, ask, cache string }{
		{"miss", ask, "MISS"},
		{"hit", ask, "HIT"},
		{"hit over HTTP/1.0", old, "HIT"},
		{"without a cache, over HTTP/1.0", strings.Replace(old, "Host", "Cache-Control: no-store\r\nHost", 1), "BYPASS"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			free := j.hang()
			c := dial(t, r.addr)
			c.send(tt.ask)
			a := c.head()
			expect(t, c.body(a), wholeChat)
			if got := a.header.Get("X-Vega-Cache"); got != tt.cache {
				t.Errorf("X-Vega-Cache %s, want %s", got, tt.cache)
			}
			if strings.Contains(tt.ask, "HTTP/1.1") {
				c.closed() // and not used for a request that nobody would answer
			}
			free()
			if line := r.ended(); line["ended_by"] != "upstream" || line["bytes_out"] != int64(len(wholeChat)) {
				t.Errorf("the exchange's line: %v", line)
			}
		})
	}
	for _, tt := range []struct{ name, ask string }{
		{"stream", chat("Cache-Control: no-store")},
		{"stream that is shared", chat()},
	} {
		t.Run(tt.name, func(t *testing.T) {
			defer j.hang()()
			c := dial(t, r.addr)
			c.send(tt.ask)
			if a := c.answer(); a.body != firstEvent+lastEvents || a.err != nil {
				t.Errorf("%q, %v", a.body, a.err)
			}
			if line := r.ended(); line["ended_by"] != "upstream" {
				t.Errorf("the exchange's line: %v", line)
			}
		})
	}
	t.Run("hit of a stream", func(t *testing.T) {
		free := j.hang()
		c := dial(t, r.addr)
		c.send(chat())
		a := c.head()
		body, err := io.ReadAll(c.body(a))
		if err != nil || string(body) != firstEvent+lastEvents || a.header.Get("X-Vega-Cache") != "HIT" {
			t.Errorf("%q, %v, %v", body, err, a.header)
		}
		expect(t, c.br, "\r\n") // of the last chunk
		c.closed()
		free()
		r.ended()
	})
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.wrote) != 7 {
		t.Errorf("%d records, want 7", len(j.wrote))
	}
	for _, rec := range j.wrote {
		if rec.Outcome != batchlog.OK {
			t.Errorf("a record says %s", rec.Outcome)
		}
	}
}

// Who has an answer and asks again gets it from the cache, also while the exchange
// that brought it is not over.
func TestAskedAgainAtOnce(t *testing.T) {
	b := newBackend(t)
	b.always(sized(200, wholeChat))
	r, j := hungRig(t, noBreaker, b)
	free := j.hang()
	for _, want := range []string{"MISS", "HIT"} {
		c := dial(t, r.addr)
		c.send(post("/v1/chat/completions", askedWhole))
		a := c.head()
		expect(t, c.body(a), wholeChat)
		if got := a.header.Get("X-Vega-Cache"); got != want {
			t.Errorf("X-Vega-Cache %s, want %s", got, want)
		}
	}
	free()
	r.ended()
	r.ended()
}

// Over HTTP/2 only the handler's return ends an answer.
func TestHeldOverHTTP2(t *testing.T) {
	b := newBackend(t)
	b.always(sized(200, wholeChat))
	var trust *tls.Config
	r, j := hungRig(t, func(cfg *config.Config) { trust = certify(t, cfg) }, b)
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: trust, ForceAttemptHTTP2: true}, Timeout: patience}
	defer client.CloseIdleConnections()
	defer j.hang()()
	resp, err := client.Post("https://"+r.addr+"/v1/chat/completions", "application/json", strings.NewReader(askedWhole))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if body, err := io.ReadAll(resp.Body); resp.ProtoMajor != 2 || string(body) != wholeChat || err != nil {
		t.Errorf("%s %q, %v", resp.Proto, body, err)
	}
	r.ended()
}
