package admin

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

// counted has one breaker, which opens when it is told to, and counts how often it
// is asked for.
type counted struct {
	fakeBreakers
	reads  atomic.Int64
	closed atomic.Bool
}

func (c *counted) Names() []string {
	c.reads.Add(1)
	return []string{"default"}
}

func (c *counted) Status(string) (any, bool) { return map[string]bool{"closed": c.closed.Load()}, true }

// running is a server in virtual time.
type running struct {
	*fixture
	ln    *pipes
	ended chan error
}

func run(t *testing.T, ctx context.Context, parts Parts) *running {
	t.Helper()
	r := &running{newFixture(t, allOn(), parts), &pipes{make(chan net.Conn), make(chan struct{})}, make(chan error, 1)}
	go func() { r.ended <- r.Run(ctx, r.ln) }()
	return r
}

// watch opens the events on a connection of its own.
func (r *running) watch(t *testing.T) (net.Conn, *bufio.Reader, *http.Response) {
	t.Helper()
	client, server := net.Pipe()
	r.ln.conns <- server
	fmt.Fprintf(client, "GET /admin/live HTTP/1.1\r\nHost: localhost\r\nX-API-Key: %s\r\n\r\n", testKey)
	resp, err := http.ReadResponse(bufio.NewReader(client), nil)
	if err != nil {
		t.Fatal(err)
	}
	return client, bufio.NewReader(resp.Body), resp
}

// event reads one event; comments are passed over.
func event(r *bufio.Reader) (name, data string, err error) {
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return "", "", err
		}
		switch line = strings.TrimSuffix(line, "\n"); {
		case strings.HasPrefix(line, "event: "):
			name = line[len("event: "):]
		case strings.HasPrefix(line, "data: "):
			data = line[len("data: "):]
		case line == "" && name != "":
			return name, data, nil
		}
	}
}

func wantEvent(t *testing.T, r *bufio.Reader, want string) string {
	t.Helper()
	for {
		name, data, err := event(r)
		if err != nil {
			t.Fatalf("no %s: %v", want, err)
		}
		if name == want {
			return data
		}
	}
}

func TestViewersSeeWhatChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		parts := allParts()
		breakers := &counted{}
		parts.Breakers = breakers
		r := run(t, ctx, parts)
		time.Sleep(time.Hour + time.Minute)
		if n := breakers.reads.Load(); n != 0 {
			t.Errorf("without viewers the breakers were looked at %d times", n)
		}

		conn, events, resp := r.watch(t)
		if got := resp.Header.Get("Content-Type"); got != "text/event-stream" {
			t.Errorf("Content-Type %q", got)
		}
		var past struct {
			Step float64 `json:"step_seconds"`
			At   []float64
		}
		read(t, []byte(wantEvent(t, events, "history")), &past)
		if n := len(past.At); n != historyLength || past.Step != 5 || past.At[n-1]-past.At[0] != 5*(historyLength-1) {
			t.Errorf("%d points, %v s apart", n, past.Step)
		}
		asked := time.Now()
		seen := map[string]string{}
		for len(seen) < len(r.feed.sections)-1 { // all but the next point
			name, data, err := event(events)
			if err != nil {
				t.Fatal(err)
			}
			seen[name] = data
		}
		if took := time.Since(asked); took > 0 {
			t.Errorf("the first look took %v", took)
		}
		for name, target := range map[string]string{
			"health": "/admin/performance/health/comprehensive", "breakers": "/admin/performance/circuit-breakers/all",
			"transitions": "/admin/performance/circuit-breakers/transitions", "cache": "/admin/performance/cache/stats",
			"log": "/admin/performance/batch/conversation-logger/stats",
		} {
			if got := strings.TrimSpace(r.ask("GET", target, "").Body.String()); got != seen[name] {
				t.Errorf("%s is %s, its endpoint says %s", name, seen[name], got)
			}
		}

		breakers.closed.Store(true)
		asked = time.Now()
		if data := wantEvent(t, events, "breakers"); !strings.Contains(data, `"closed":true`) || time.Since(asked) > beat {
			t.Errorf("after %v: %s", time.Since(asked), data)
		}
		if data := wantEvent(t, events, "point"); !strings.Contains(data, `"spool_bytes":null`) {
			t.Errorf("the point is %s", data)
		}

		conn.Close()
		time.Sleep(2 * heartbeat) // it is noticed at the next write
		reads := breakers.reads.Load()
		time.Sleep(time.Hour)
		if breakers.reads.Load() != reads {
			t.Error("the breakers are looked at, and nobody is there to see")
		}
		stop()
		if err := <-r.ended; err != nil {
			t.Error(err)
		}
	})
}

// A server that stops ends its viewers at once, and so does a new key.
func TestViewersEnd(t *testing.T) {
	for name, end := range map[string]func(r *running, stop func()){
		"stop":    func(_ *running, stop func()) { stop() },
		"new key": func(r *running, _ func()) { r.SetKey("another") },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, stop := context.WithCancel(t.Context())
				defer stop()
				r := run(t, ctx, allParts())
				conn, events, _ := r.watch(t)
				defer conn.Close()
				began := time.Now()
				end(r, stop)
				if _, err := io.Copy(io.Discard, events); err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
					t.Error(err)
				}
				if took := time.Since(began); took > heartbeat {
					t.Errorf("it took %v", took)
				}
				stop()
				if err := <-r.ended; err != nil {
					t.Error(err)
				}
				if got := r.logged.with(t, "admin answers cut off at the end"); len(got) > 0 {
					t.Error("its viewers kept the server from stopping")
				}
			})
		})
	}
}

func TestViewersAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		r := run(t, ctx, allParts())
		var conns []net.Conn
		for range maxViewers {
			conn, events, _ := r.watch(t)
			conns = append(conns, conn)
			go io.Copy(io.Discard, events)
		}
		w := r.ask("GET", "/admin/live", "")
		wantRefusal(t, w, 503, "too_many_viewers")
		if w.Header().Get("Retry-After") == "" {
			t.Error("no Retry-After")
		}
		conns[0].Close()
		time.Sleep(2 * beat)
		conn, events, resp := r.watch(t)
		if resp.StatusCode != 200 {
			t.Errorf("got %s after one had left", resp.Status)
		}
		go io.Copy(io.Discard, events)
		stop()
		if err := <-r.ended; err != nil {
			t.Error(err)
		}
		for _, c := range append(conns, conn) {
			c.Close()
		}
	})
}

// A viewer that takes nothing is let go of.
func TestStuckViewer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		r := run(t, ctx, allParts())
		conn, _, _ := r.watch(t)
		time.Sleep(viewerTimeout + time.Second)
		if r.feed.watched() {
			t.Error("it is still there")
		}
		conn.Close()
		stop()
		if err := <-r.ended; err != nil {
			t.Error(err)
		}
	})
}

func TestPoints(t *testing.T) {
	reg := prometheus.NewRegistry()
	requests := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "vega_requests_total", Help: "h"}, []string{"status", "upstream"})
	ended := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "vega_streams_ended_total", Help: "h"}, []string{"ended_by"})
	hits := prometheus.NewCounter(prometheus.CounterOpts{Name: "llm_cache_hits_total", Help: "h"})
	misses := prometheus.NewCounter(prometheus.CounterOpts{Name: "llm_cache_misses_total", Help: "h"})
	waiting := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "vega_upstream_queue_waiting", Help: "h"}, []string{"upstream"})
	first := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "gen_ai_server_time_to_first_token_seconds", Help: "h",
		Buckets: []float64{.1, .2, .4}}, []string{"model"})
	reg.MustRegister(requests, ended, hits, misses, waiting, first)
	var h history
	now := time.Unix(1000, 0)
	step := func() map[string]any {
		t.Helper()
		families, err := reg.Gather()
		if err != nil {
			t.Fatal(err)
		}
		p, ok := h.add(newSample(now, families))
		now = now.Add(historyStep)
		if !ok {
			return nil
		}
		b, err := json.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		var got map[string]any
		read(t, b, &got)
		return got
	}
	requests.WithLabelValues("200", "a").Add(1000) // before anybody looked
	first.WithLabelValues("m").Observe(.3)
	if got := step(); got != nil {
		t.Errorf("one sample makes a point: %v", got)
	}
	requests.WithLabelValues("200", "a").Add(20)
	requests.WithLabelValues("502", "b").Add(5)
	requests.WithLabelValues("429", "").Add(10)
	requests.WithLabelValues("499", "").Add(5)
	ended.WithLabelValues("timeout").Add(5)
	ended.WithLabelValues("client").Add(5)
	hits.Add(3)
	misses.Add(1)
	waiting.WithLabelValues("a").Set(2)
	waiting.WithLabelValues("b").Set(1)
	first.WithLabelValues("m").Observe(.15)
	first.WithLabelValues("n").Observe(.15)
	got := step()
	for name, want := range map[string]any{
		"at": 1005.0, "requests_per_second": 8.0, "errors_per_second": 2.0, "refused_per_second": 2.0,
		"cache_hit_rate": .75, "queue_waiting": 3.0, "first_token_p50_seconds": .15, "first_token_p95_seconds": .195,
		"spool_bytes": nil, "gap_p50_seconds": nil,
	} {
		if got[name] != want {
			t.Errorf("%s is %v, want %v", name, got[name], want)
		}
	}
	for range 13 { // until what happened is over a minute ago
		got = step()
	}
	if got["requests_per_second"] != 0.0 || got["first_token_p50_seconds"] != nil || got["cache_hit_rate"] != nil {
		t.Errorf("a minute later: %v", got)
	}
	if len(h.samples) != keptSamples {
		t.Errorf("%d samples are kept", len(h.samples))
	}
	for range historyLength {
		step()
	}
	if len(h.points) != historyLength {
		t.Errorf("%d points are kept", len(h.points))
	}
}

func TestQuantile(t *testing.T) {
	h := histogram{[]float64{1, 2, 4, math.Inf(1)}, []float64{0, 10, 20, 20}}
	for q, want := range map[float64]float64{.25: 1.5, .5: 2, .75: 3, 1: 4} {
		if got := h.quantile(q); got != want {
			t.Errorf("quantile %v is %v, want %v", q, got, want)
		}
	}
	if got := (histogram{[]float64{1, math.Inf(1)}, []float64{0, 3}}).quantile(.5); got != 1 {
		t.Errorf("above all bounds: %v", got)
	}
	var none histogram
	none.add(&dto.MetricFamily{})
	if got := none.quantile(.5); !math.IsNaN(got) {
		t.Errorf("of nothing: %v", got)
	}
}

func BenchmarkSample(b *testing.B) {
	reg := prometheus.NewRegistry()
	h := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "gen_ai_server_time_to_first_token_seconds", Help: "h", Buckets: prometheus.DefBuckets}, []string{"model"})
	reg.MustRegister(h)
	for i := range 100 {
		h.WithLabelValues(fmt.Sprint(i)).Observe(.1)
	}
	for b.Loop() {
		families, err := reg.Gather()
		if err != nil {
			b.Fatal(err)
		}
		newSample(time.Now(), families)
	}
}
