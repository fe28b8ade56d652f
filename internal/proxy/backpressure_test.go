package proxy_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/vega-proxy/vega-proxy/internal/config"
	"github.com/vega-proxy/vega-proxy/internal/stream"
)

// flood is an upstream that sends as fast as it can, and notices when it cannot.
type flood struct {
	t       testing.TB
	p       *peer
	sent    bytes.Buffer // the events, without their chunks
	blocked atomic.Int64 // writes that did not go out at once
	done    chan error
}

// floodEvent is one of some 8 KiB.
func floodEvent(i int) string {
	return fmt.Sprintf("data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"%d %s\"}}]}\n\n", i, strings.Repeat("x", 8<<10))
}

const floodEnd = `data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}` + "\n\ndata: [DONE]\n\n"

// startFlood sends events of n bytes together, and then the answer's end.
func startFlood(t testing.TB, p *peer, n int) *flood {
	f := &flood{t: t, p: p, done: make(chan error, 1)}
	p.Conn.(*net.TCPConn).SetWriteBuffer(64 << 10) // else the kernel takes many MiB
	go func() {
		err := error(nil)
		for i := 0; err == nil && f.sent.Len() < n; i++ {
			err = f.say(floodEvent(i))
		}
		if err == nil {
			err = f.say(floodEnd)
		}
		if err == nil {
			_, err = io.WriteString(p.Conn, lastChunk)
		}
		f.done <- err
	}()
	return f
}

// say sends one event. A write that waits for long is taken up again: TCP pushes
// back.
func (f *flood) say(ev string) error {
	f.sent.WriteString(ev)
	rest := chunked(ev)
	for {
		f.p.SetWriteDeadline(time.Now().Add(short))
		n, err := io.WriteString(f.p.Conn, rest)
		rest = rest[n:]
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			return err
		}
		f.blocked.Add(1)
	}
}

// endWhileHeld sends events until the client is behind, and then the answer's
// end, which the proxy reads before the client does.
func endWhileHeld(t *testing.T, r *rig, p *peer) *flood {
	t.Helper()
	f := untilHeld(t, r, p)
	if err := f.say(floodEnd); err != nil {
		t.Fatal(err)
	}
	p.say(lastChunk)
	return f
}

// untilHeld sends events until the client is behind.
func untilHeld(t *testing.T, r *rig, p *peer) *flood {
	t.Helper()
	f := &flood{t: t, p: p}
	behind := func() bool { // for a while
		for range 20 {
			if r.only().BufferSize == 0 {
				return false
			}
			time.Sleep(time.Millisecond)
		}
		return true
	}
	for i := 0; !behind(); i++ {
		if err := f.say(floodEvent(i)); err != nil {
			t.Fatal(err)
		}
		await(t, "the event is read", func() bool { return r.only().BytesProduced == int64(f.sent.Len()) })
	}
	return f
}

// await polls what only the proxy's own numbers tell.
func await(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); {
		if time.Now().After(end) {
			t.Fatalf("in vain: %s", what)
		}
		time.Sleep(time.Millisecond)
	}
}

// only returns the one stream that runs.
func (r *rig) only() stream.View {
	live, _ := r.registry.List()
	if len(live) != 1 {
		return stream.View{}
	}
	return live[0]
}

// lastStream returns the stream that ended last.
func (r *rig) lastStream() stream.View {
	_, recent := r.registry.List()
	if len(recent) == 0 {
		return stream.View{}
	}
	return recent[0]
}

// metric is one series' value.
func (r *rig) metric(name, label string) float64 {
	r.t.Helper()
	families, err := r.reg.Gather()
	if err != nil {
		r.t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == name && (label == "" || m.GetLabel()[0].GetValue() == label) {
				return m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	r.t.Fatalf("there is no %s of %q", name, label)
	return 0
}

// way is how a client reaches the proxy.
type way struct {
	name string
	// open sends a request for a stream, and gives the answer's body once its
	// head has come.
	open func(t *testing.T, r *rig, b *backend) (*peer, io.ReadCloser)
	set  func(t *testing.T, cfg *config.Config)
}

type bodyOf struct {
	io.Reader
	io.Closer
}

// ways are all the listener has. Each is for one test.
func ways() []way {
	var trust *tls.Config
	plain := func(t *testing.T, r *rig, b *backend, c *client) (*peer, io.ReadCloser) {
		c.takeLittle()
		c.send(chat())
		p, _ := b.asked()
		p.say(okSSE)
		return p, bodyOf{c.body(c.head()), c}
	}
	over2 := func(t *testing.T, r *rig, b *backend, transport *http.Transport, url string) (*peer, io.ReadCloser) {
		t.Cleanup(transport.CloseIdleConnections)
		got := make(chan *http.Response, 1)
		go func() {
			body := `{"model":"m","stream":true,"messages":[]}`
			res, err := transport.RoundTrip(must(http.NewRequestWithContext(t.Context(), "POST", url+"/v1/chat/completions", strings.NewReader(body))))
			if err != nil {
				t.Error(err)
			}
			got <- res
		}()
		p, _ := b.asked()
		p.say(okSSE)
		res := <-got
		if res == nil || res.ProtoMajor != 2 {
			t.Fatalf("the answer is %v", res)
		}
		return p, res.Body
	}
	return []way{
		{"HTTP/1.1", func(t *testing.T, r *rig, b *backend) (*peer, io.ReadCloser) {
			return plain(t, r, b, dial(t, r.addr))
		}, nil},
		{"net/http", func(t *testing.T, r *rig, b *backend) (*peer, io.ReadCloser) {
			c := dial(t, r.addr)
			c.takeLittle()
			c.send(post("/v1/chat/completions", `{"model":"m","stream":true}`, "Expect: 100-continue")) // not plain
			p, _ := b.asked()
			p.say(okSSE)
			a := c.head()
			if a.status == http.StatusContinue {
				a = c.head()
			}
			return p, bodyOf{c.body(a), c}
		}, nil},
		{"TLS", func(t *testing.T, r *rig, b *backend) (*peer, io.ReadCloser) {
			c, _ := dialTLS(t, r.addr, trust, "http/1.1")
			return plain(t, r, b, c)
		}, func(t *testing.T, cfg *config.Config) { trust = certify(t, cfg) }},
		{"HTTP/2", func(t *testing.T, r *rig, b *backend) (*peer, io.ReadCloser) {
			return over2(t, r, b, &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: trust}, "https://"+r.addr)
		}, func(t *testing.T, cfg *config.Config) { trust = certify(t, cfg) }},
		{"HTTP/2 in the clear", func(t *testing.T, r *rig, b *backend) (*peer, io.ReadCloser) {
			var protocols http.Protocols
			protocols.SetUnencryptedHTTP2(true)
			return over2(t, r, b, &http.Transport{Protocols: &protocols}, "http://"+r.addr)
		}, func(t *testing.T, cfg *config.Config) { cfg.HTTP2 = true }},
	}
}

// takeLittle bounds what the kernel takes for a client that does not read.
func (c *client) takeLittle() {
	nc := c.Conn
	if over, ok := nc.(*tls.Conn); ok {
		nc = over.NetConn()
	}
	if err := nc.(*net.TCPConn).SetReadBuffer(64 << 10); err != nil {
		c.t.Fatal(err)
	}
}

func must(r *http.Request, err error) *http.Request {
	if err != nil {
		panic(err)
	}
	return r
}

// eachWay runs a test over each way to the proxy.
func eachWay(t *testing.T, configure func(*config.Config), test func(t *testing.T, r *rig, b *backend, p *peer, body io.ReadCloser)) {
	for _, w := range ways() {
		t.Run(w.name, func(t *testing.T) {
			b := newBackend(t)
			r := start(t, func(cfg *config.Config) {
				if w.set != nil {
					w.set(t, cfg)
				}
				// So that a test which waits for it fails.
				cfg.Upstreams[0].Stream.WriteStallTimeout = 10 * patience
				if configure != nil {
					configure(cfg)
				}
			}, b)
			p, body := w.open(t, r, b)
			defer body.Close()
			test(t, r, b, p, body)
		})
	}
}

// awaitBlocked waits until the buffer is full and the upstream is held up.
func (f *flood) awaitBlocked(r *rig) {
	f.t.Helper()
	before := f.blocked.Load()
	await(f.t, "the buffer is full and the upstream's writes block", func() bool {
		return r.only().State == stream.Blocked && f.blocked.Load() > before+1
	})
}

// An upstream that sends all it can, and a client that reads some, stops, and
// reads on: what the proxy holds is bounded, the upstream stands still, and every
// byte arrives.
func TestSlowReaderStopsItsUpstream(t *testing.T) {
	eachWay(t, nil, func(t *testing.T, r *rig, _ *backend, p *peer, body io.ReadCloser) {
		f := startFlood(t, p, 20<<20)
		var got bytes.Buffer
		for range 3 {
			f.awaitBlocked(r)
			// 100 events of 8 KiB are less than 1 MiB.
			if s := r.only(); s.BufferSize > 100 || s.BufferUsagePercent != 100 || r.budget.Used() > 1<<20 {
				t.Errorf("%d events and %d bytes are held", s.BufferSize, r.budget.Used())
			}
			if _, err := io.CopyN(&got, body, 2<<20); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := got.ReadFrom(body); err != nil {
			t.Fatal(err)
		}
		if err := <-f.done; err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got.Bytes(), f.sent.Bytes()) {
			t.Errorf("%d bytes came out of %d, or others", got.Len(), f.sent.Len())
		}
		line := r.ended()
		s := r.lastStream()
		if line["ended_by"] != "upstream" || s.EndedBy != "upstream" || line["bytes_out"] != int64(got.Len()) {
			t.Errorf("ended by %v and %v with %v bytes", line["ended_by"], s.EndedBy, line["bytes_out"])
		}
		if n := int64(bytes.Count(got.Bytes(), []byte("\n\n"))); s.ChunksProduced != n || s.ChunksConsumed != n || s.BytesConsumed != int64(got.Len()) {
			t.Errorf("of %d events: %+v", n, s)
		}
		if s.ThrottleTime == 0 || s.OverflowCount == 0 || s.MaxBufferSize > 100 || r.budget.Used() != 0 {
			t.Errorf("%+v, and %d bytes are held", s, r.budget.Used())
		}
		if n := r.metric("vega_stream_blocked_seconds_total", ""); n <= 0 {
			t.Errorf("blocked for %v s", n)
		}
	})
}

// A client that takes nothing is cut off, its upstream freed, and why can be
// seen everywhere.
func TestStallIsTold(t *testing.T) {
	eachWay(t, func(cfg *config.Config) { cfg.Upstreams[0].Stream.WriteStallTimeout = 4 * short }, func(t *testing.T, r *rig, _ *backend, p *peer, body io.ReadCloser) {
		f := startFlood(t, p, 100<<20)
		p.gone()
		if err := <-f.done; err == nil {
			t.Error("all was sent")
		}
		line := r.ended()
		if s := r.lastStream(); line["ended_by"] != "stall" || s.EndedBy != "stall" {
			t.Errorf("ended by %v and %v", line["ended_by"], s.EndedBy)
		}
		for _, name := range []string{"vega_streams_ended_total", "vega_exchanges_ended_total"} {
			if n := r.metric(name, "stall"); n != 1 {
				t.Errorf("%s is %v", name, n)
			}
		}
		if s := r.lastStream(); s.ChunksProduced != s.ChunksConsumed+s.ChunksInFlight || s.ChunksInFlight == 0 || r.budget.Used() != 0 {
			t.Errorf("%+v, and %d bytes are held", s, r.budget.Used())
		}
	})
}

// The patience with a client is that of the upstream which answers, however long
// another one's was on the same connection.
func TestStallTimeoutOfEachUpstream(t *testing.T) {
	patient, strict := newBackend(t), newBackend(t)
	r := start(t, func(cfg *config.Config) {
		cfg.Upstreams[0].Models, cfg.Upstreams[0].Stream.WriteStallTimeout = []string{"patient"}, 10*patience
		cfg.Upstreams[1].Models, cfg.Upstreams[1].Stream.WriteStallTimeout = []string{"strict"}, 4*short
	}, patient, strict)
	ask := func(model string) string {
		return post("/v1/chat/completions", `{"model":"`+model+`","stream":true,"messages":[]}`)
	}
	c := dial(t, r.addr)
	c.send(ask("patient"))
	p, _ := patient.asked()
	p.say(okSSE + chunked(floodEnd) + lastChunk)
	c.answer()
	r.ended()
	c.send(ask("strict"))
	p, _ = strict.asked()
	p.say(okSSE)
	startFlood(t, p, 100<<20)
	p.gone()
	if line := r.ended(); line["ended_by"] != "stall" {
		t.Errorf("ended by %v", line["ended_by"])
	}
}

// A stall ends the exchange also while the upstream says nothing.
func TestStallWhileTheUpstreamIsSilent(t *testing.T) {
	eachWay(t, func(cfg *config.Config) { cfg.Upstreams[0].Stream.WriteStallTimeout = 4 * short }, func(t *testing.T, r *rig, _ *backend, p *peer, body io.ReadCloser) {
		untilHeld(t, r, p)
		p.gone()
		line := r.ended()
		if line["ended_by"] != "stall" || r.lastStream().EndedBy != "stall" {
			t.Errorf("ended by %v and %v", line["ended_by"], r.lastStream().EndedBy)
		}
		if why := line["error"]; why != "the client took nothing for the write stall timeout" {
			t.Errorf("the log says %q", why)
		}
	})
}

// A stall while the upstream's side is over already is one too.
func TestStallAfterTheUpstreamsEnd(t *testing.T) {
	eachWay(t, func(cfg *config.Config) { cfg.Upstreams[0].Stream.WriteStallTimeout = 4 * short }, func(t *testing.T, r *rig, _ *backend, p *peer, body io.ReadCloser) {
		endWhileHeld(t, r, p)
		if line := r.ended(); line["ended_by"] != "stall" || r.lastStream().EndedBy != "stall" {
			t.Errorf("ended by %v and %v", line["ended_by"], r.lastStream().EndedBy)
		}
		if m := r.breaker(0).Metrics; m.SuccessfulRequests != 1 || m.FailedRequests != 0 {
			t.Errorf("the breaker counted %+v", m)
		}
	})
}

// However full the buffer is, whoever ends a stream need not wait for its client.
func TestEndsWhileBlocked(t *testing.T) {
	for _, tt := range []struct {
		ended string
		end   func(r *rig, body io.Closer)
	}{
		{"admin", func(r *rig, _ io.Closer) {
			if !r.registry.Cancel(r.only().ID) {
				r.t.Error("there is no such stream")
			}
		}},
		{"shutdown", func(r *rig, _ io.Closer) { r.stop() }},
		{"client", func(_ *rig, body io.Closer) { body.Close() }},
	} {
		t.Run(tt.ended, func(t *testing.T) {
			eachWay(t, nil, func(t *testing.T, r *rig, _ *backend, p *peer, body io.ReadCloser) {
				f := startFlood(t, p, 100<<20)
				f.awaitBlocked(r)
				tt.end(r, body)
				p.gone()
				if err := <-f.done; err == nil {
					t.Error("all was sent")
				}
				line := r.ended()
				if s := r.lastStream(); line["ended_by"] != tt.ended || s.EndedBy != tt.ended || s.ChunksProduced != s.ChunksConsumed+s.ChunksInFlight {
					t.Errorf("ended by %v and %v: %+v", line["ended_by"], s.EndedBy, s)
				}
				if r.metric("vega_streams_ended_total", tt.ended) != 1 || r.budget.Used() != 0 {
					t.Errorf("the metric is %v, %d bytes are held", r.metric("vega_streams_ended_total", tt.ended), r.budget.Used())
				}
				for _, state := range stream.States() {
					if n := r.metric("vega_streams", state.String()); n != 0 {
						t.Errorf("%v streams are %v", n, state)
					}
				}
				// What came out ends in no second half of an event, whatever follows.
				got, _ := io.ReadAll(body)
				if i := bytes.LastIndex(got, []byte("\n\n")); len(got) > 0 && tt.ended != "client" && !bytes.HasPrefix(f.sent.Bytes(), got[:i+2]) {
					event := got[bytes.LastIndex(got[:i], []byte("\n\n"))+2 : i+2]
					if !onlyErrorEvent(string(event)) || !bytes.HasPrefix(f.sent.Bytes(), got[:i+2-len(event)]) {
						t.Errorf("the client got what was not sent: …%.200q", event)
					}
				}
			})
		})
	}
}

// A client that keeps up is told that its stream was cancelled.
func TestCancelByTheAdmin(t *testing.T) {
	eachWay(t, nil, func(t *testing.T, r *rig, _ *backend, p *peer, body io.ReadCloser) {
		ev := floodEvent(1)
		p.chunk(ev)
		expect(t, body, ev)
		await(t, "the first token is listed", func() bool { return r.only().TimeToFirstToken != nil })
		if !r.registry.Cancel(r.only().ID) || r.registry.Cancel("another") {
			t.Error("the wrong one was cancelled")
		}
		rest, err := io.ReadAll(body)
		if err == nil || !onlyErrorEvent(string(rest)) || !strings.Contains(string(rest), `"cancelled"`) {
			t.Errorf("the stream ends with %q, %v", rest, err)
		}
		p.gone()
		if line := r.ended(); line["ended_by"] != "admin" || line["code"] == nil || fmt.Sprint(line["code"]) != "cancelled" || r.lastStream().EndedBy != "admin" {
			t.Errorf("ended by %v and %v, code %v", line["ended_by"], r.lastStream().EndedBy, line["code"])
		}
		if m := r.breaker(0).Metrics; m.FailedRequests != 0 {
			t.Errorf("the breaker counted %+v", m)
		}
	})
}

// A stream that nobody asked for can be cancelled all the same, at its next event.
func TestCancelOfAnUnaskedStream(t *testing.T) {
	b := newBackend(t)
	r := start(t, nil, b)
	c := dial(t, r.addr)
	c.send(post("/v1/chat/completions", `{"model":"m","messages":[]}`))
	p, _ := b.asked()
	p.say(okSSE)
	p.chunk("data: 1\n\n")
	body := c.body(c.head())
	expect(t, body, "data: 1\n\n")
	if !r.registry.Cancel(r.only().ID) {
		t.Fatal("there is no such stream")
	}
	p.chunk("data: 2\n\n")
	rest, err := io.ReadAll(body)
	if err == nil || !onlyErrorEvent(string(rest)) || !strings.Contains(string(rest), `"cancelled"`) {
		t.Errorf("the stream ends with %q, %v", rest, err)
	}
	p.gone()
	if line := r.ended(); line["ended_by"] != "admin" {
		t.Errorf("ended by %v", line["ended_by"])
	}
}

// While a client reads what is left for it, its upstream is free for others, and
// the breaker knows how it went.
func TestUpstreamIsFreeBeforeTheClientIsDone(t *testing.T) {
	eachWay(t, func(cfg *config.Config) { cfg.Upstreams[0].MaxInFlight = 1 }, func(t *testing.T, r *rig, _ *backend, p *peer, body io.ReadCloser) {
		r.reg.MustRegister(r.set)
		f := endWhileHeld(t, r, p)
		await(t, "the breaker's verdict", func() bool { return r.breaker(0).Metrics.SuccessfulRequests == 1 })
		if r.only().BufferSize == 0 {
			t.Fatal("the client has it all already")
		}
		if n := r.metric("vega_upstream_in_flight", "first"); n != 0 {
			t.Errorf("%v places are taken at the upstream", n)
		}
		got, err := io.ReadAll(body)
		if err != nil || !bytes.Equal(got, f.sent.Bytes()) {
			t.Errorf("%d bytes of %d: %v", len(got), f.sent.Len(), err)
		}
		if line := r.ended(); line["ended_by"] != "upstream" {
			t.Errorf("ended by %v", line["ended_by"])
		}
	})
}

// A connection whose stream was slow is good for another request.
func TestKeptConnectionAfterASlowStream(t *testing.T) {
	b := newBackend(t)
	r := start(t, nil, b)
	c := dial(t, r.addr)
	c.takeLittle()
	for range 3 {
		c.send(chat())
		p := b.accept()
		p.request()
		p.say(strings.Replace(okSSE, "\r\n\r\n", "\r\nConnection: close\r\n\r\n", 1))
		f := startFlood(t, p, 16<<20)
		f.awaitBlocked(r)
		a := c.answer()
		if a.err != nil || a.body != f.sent.String() {
			t.Fatalf("%d bytes of %d: %v", len(a.body), f.sent.Len(), a.err)
		}
		<-f.done
		p.Close()
		if line := r.ended(); line["ended_by"] != "upstream" {
			t.Errorf("ended by %v", line["ended_by"])
		}
	}
}

// With drops on, a slow client costs events and holds nobody up; the answer says
// that it is not whole where an operator looks.
func TestDropsAreTold(t *testing.T) {
	eachWay(t, func(cfg *config.Config) { cfg.Upstreams[0].Stream.DropOnOverflow = true }, func(t *testing.T, r *rig, _ *backend, p *peer, body io.ReadCloser) {
		f := startFlood(t, p, 30<<20)
		if err := <-f.done; err != nil { // the client has read nothing yet
			t.Fatal(err)
		}
		got, err := io.ReadAll(body)
		if err != nil {
			t.Fatal(err)
		}
		line := r.ended()
		s := r.lastStream()
		events := func(b []byte) []string { return strings.SplitAfter(string(b), "\n\n") }
		all, some := events(f.sent.Bytes()), events(got)
		if n := int64(len(all) - len(some)); n == 0 || s.ChunksDropped != n || line["dropped_events"] != n || r.metric("vega_stream_dropped_events_total", "") != float64(n) {
			t.Errorf("%d events are missing; counted %d, logged %v", n, s.ChunksDropped, line["dropped_events"])
		}
		if some[0] != all[0] || !strings.HasSuffix(string(got), floodEnd) {
			t.Error("the first or the last event is missing")
		}
		for _, ev := range some {
			if i := slices.Index(all, ev); i < 0 {
				t.Fatalf("an event came out that was not sent: %.100q", ev)
			} else {
				all = all[i+1:]
			}
		}
	})
}

func TestHeartbeats(t *testing.T) {
	eachWay(t, func(cfg *config.Config) { cfg.Upstreams[0].Stream.HeartbeatInterval = short / 5 }, func(t *testing.T, r *rig, _ *backend, p *peer, body io.ReadCloser) {
		expect(t, body, ": waiting\n\n: waiting\n\n")
		ping := ": ping\n\n"
		p.chunk(ping)
		token := floodEvent(1)
		// Comments go on beside the upstream's own, until there is a token.
		got := readUntil(t, body, ping)
		if strings.ReplaceAll(got, ": waiting\n\n", "") != ping {
			t.Errorf("got %q", got)
		}
		expect(t, body, ": waiting\n\n")
		p.chunk(token)
		got = readUntil(t, body, token)
		if strings.ReplaceAll(got, ": waiting\n\n", "") != token {
			t.Errorf("got %.100q", got)
		}
		p.chunk(floodEnd)
		p.say(lastChunk)
		if rest, err := io.ReadAll(body); string(rest) != floodEnd || err != nil {
			t.Errorf("the stream ends with %q, %v", rest, err)
		}
		if line := r.ended(); line["ended_by"] != "upstream" {
			t.Errorf("ended by %v", line["ended_by"])
		}
	})
}

// A stream that says its length has exactly that: nothing is added, and nothing left
// out for a slow client.
func TestStreamOfKnownLength(t *testing.T) {
	b := newBackend(t)
	r := start(t, func(cfg *config.Config) {
		cfg.Upstreams[0].Stream.HeartbeatInterval, cfg.Upstreams[0].Stream.DropOnOverflow = short/5, true
	}, b)
	c := dial(t, r.addr)
	c.takeLittle()
	c.send(chat())
	p, _ := b.asked()
	var events strings.Builder
	for i := range 3000 { // more than buffers and kernel take
		events.WriteString(floodEvent(i))
	}
	events.WriteString(floodEnd)
	want := events.String()
	p.say("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: " + strconv.Itoa(len(want)) + "\r\n\r\n")
	a := c.head()
	time.Sleep(short) // heartbeats would come
	go io.WriteString(p.Conn, want)
	await(t, "the buffer is full", func() bool { return r.only().State == stream.Blocked })
	c.rest(&a)
	if a.err != nil || a.body != want {
		t.Errorf("%d bytes of %d: %v", len(a.body), len(want), a.err)
	}
	if line := r.ended(); line["ended_by"] != "upstream" {
		t.Errorf("ended by %v", line["ended_by"])
	}
}

// readUntil reads byte by byte up to the end of what.
func readUntil(t *testing.T, body io.Reader, what string) string {
	t.Helper()
	var got []byte
	one := make([]byte, 1)
	for !bytes.HasSuffix(got, []byte(what)) {
		if _, err := io.ReadFull(body, one); err != nil {
			t.Fatalf("after %.200q: %v", got, err)
		}
		got = append(got, one...)
	}
	return string(got)
}

// Many slow clients at a time all get all of it, within one budget.
func TestManySlowStreams(t *testing.T) {
	const streams, size = 300, 384 << 10
	b := newBackend(t)
	r := start(t, func(cfg *config.Config) {
		cfg.Stream.TotalBufferBytes = 4 << 20
		cfg.Upstreams[0].Stream.TotalBufferBytes = 4 << 20
	}, b)
	var body strings.Builder
	for i := 0; body.Len() < size; i++ {
		fmt.Fprintf(&body, "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"%d %s\"}}]}\n\n", i, strings.Repeat("x", 300))
	}
	body.WriteString(floodEnd)
	b.always(okSSE + chunked(body.String()) + lastChunk)
	dialer := smallWindows()
	results := make(chan error, streams)
	held := make(chan struct{})
	readOn := sync.OnceFunc(func() { close(held) })
	defer readOn()
	for range streams {
		nc, err := dialer.DialContext(t.Context(), "tcp", r.addr)
		if err != nil {
			t.Fatal(err)
		}
		c := newClient(t, nc)
		c.send(chat())
		go func() {
			results <- func() error {
				raw, err := readHead(c.br)
				if err != nil {
					return err
				}
				from := c.body(answer{raw: raw})
				var got strings.Builder
				<-held
				for {
					_, err := io.CopyN(&got, from, 32<<10)
					if errors.Is(err, io.EOF) {
						break
					}
					if err != nil {
						return err
					}
					time.Sleep(short / 2) // the pace of the client
				}
				if got.String() != body.String() {
					return fmt.Errorf("%d bytes of %d", got.Len(), body.Len())
				}
				return nil
			}()
		}()
	}
	await(t, "a stream is held up", func() bool {
		live, _ := r.registry.List()
		return slices.ContainsFunc(live, func(s stream.View) bool { return s.State == stream.Blocked })
	})
	readOn()
	for range streams {
		if used := r.budget.Used(); used > 4<<20+streams<<10 {
			t.Errorf("%d bytes are held", used)
		}
		if err := <-results; err != nil {
			t.Fatal(err)
		}
		if line := r.ended(); line["ended_by"] != "upstream" {
			t.Errorf("ended by %v", line["ended_by"])
		}
	}
	if n := r.metric("vega_stream_blocked_seconds_total", ""); n == 0 {
		t.Error("no stream was counted as held up")
	}
	await(t, "nothing is held", func() bool { return r.budget.Used() == 0 && r.only().ID == "" })
}

// smallWindows dials as a client for which the kernel holds little: short
// segments keep the proxy's send buffer small too.
func smallWindows() *net.Dialer {
	return &net.Dialer{ControlContext: func(_ context.Context, _, _ string, c syscall.RawConn) error {
		var err error
		set := func(fd uintptr) {
			err = errors.Join(
				syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 4<<10),
				syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, syscall.TCP_MAXSEG, 1000))
		}
		return errors.Join(c.Control(set), err)
	}}
}
