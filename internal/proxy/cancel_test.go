package proxy_test

import (
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/vega-proxy/vega-proxy/internal/config"
)

// A client that leaves takes its request with it, in every phase.
func TestClientGone(t *testing.T) {
	leave := map[string]func(*client){
		"closed": func(c *client) { c.Close() },
		"reset":  func(c *client) { (&peer{Conn: c.Conn}).reset() },
	}
	for how, leave := range leave {
		t.Run(how+" while the head is awaited", func(t *testing.T) {
			b := newBackend(t)
			r := start(t, nil, b)
			c := dial(t, r.addr)
			c.send(chat())
			p, _ := b.asked()
			leave(c)
			p.gone()
			if line := r.ended(); line["ended_by"] != "client" || line["status"] != int64(499) {
				t.Errorf("ended by %v with status %v", line["ended_by"], line["status"])
			}
		})
		t.Run(how+" while the first event is awaited", func(t *testing.T) {
			b := newBackend(t)
			r := start(t, nil, b)
			c, p, _ := streaming(t, r, b, okSSE)
			leave(c)
			p.gone()
			if line := r.ended(); line["ended_by"] != "client" {
				t.Errorf("ended by %v", line["ended_by"])
			}
		})
		t.Run(how+" in mid-stream", func(t *testing.T) {
			b := newBackend(t)
			r := start(t, nil, b)
			c, p, body := streaming(t, r, b, okSSE)
			p.chunk("data: 1\n\n")
			expect(t, body, "data: 1\n\n")
			leave(c)
			p.gone()
			if line := r.ended(); line["ended_by"] != "client" {
				t.Errorf("ended by %v", line["ended_by"])
			}
		})
		t.Run(how+" in the queue", func(t *testing.T) {
			b := newBackend(t)
			r := start(t, func(cfg *config.Config) { cfg.Upstreams[0].MaxInFlight = 1 }, b)
			first := dial(t, r.addr)
			first.send(chat())
			p, _ := b.asked()
			c := dial(t, r.addr)
			c.send(chat())
			leave(c)
			if line := r.ended(); line["ended_by"] != "client" {
				t.Errorf("ended by %v", line["ended_by"])
			}
			p.say(okChat)
			first.answer()
			b.unasked()
		})
		t.Run(how+" in the middle of its request", func(t *testing.T) {
			b := newBackend(t)
			r := start(t, nil, b)
			c := dial(t, r.addr)
			c.send("POST /api/blobs/sha256:1 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n" + strings.Repeat("x", 100_000))
			p := b.accept()
			p.head()
			leave(c)
			p.gone()
			if line := r.ended(); line["ended_by"] != "client" {
				t.Errorf("ended by %v", line["ended_by"])
			}
		})
		t.Run(how+" while nothing is read of its request", func(t *testing.T) {
			b := newBackend(t)
			r := start(t, nil, b)
			c := dial(t, r.addr)
			go io.WriteString(c.Conn, post("/api/blobs/sha256:1", strings.Repeat("x", 64<<20))) // ends with the connection
			p := b.accept()
			p.head()
			leave(c)
			p.gone()
			r.ended()
		})
		t.Run(how+" though the answer goes on", func(t *testing.T) {
			b := newBackend(t)
			r := start(t, func(cfg *config.Config) { cfg.Upstreams[0].OnClientGone = "finish" }, b)
			c, p, body := streaming(t, r, b, okSSE)
			p.chunk("data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"}}]}\n\n")
			expect(t, body, "data: ")
			leave(c)
			for range 100 { // some of them meet a connection that is gone for certain
				p.chunk("data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"b\"}}]}\n\n")
			}
			p.chunk("data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n")
			p.chunk("data: [DONE]\n\n")
			p.say(lastChunk)
			if line := r.ended(); line["finish_reason"] != "stop" || line["ended_by"] != "client" {
				t.Errorf("ended by %v with %v", line["ended_by"], line["finish_reason"])
			}
		})
	}
}

// An upstream that finishes alone is still bounded by its idle timeout.
func TestFinishIsBounded(t *testing.T) {
	b := newBackend(t)
	r := start(t, func(cfg *config.Config) {
		cfg.Upstreams[0].OnClientGone, cfg.Upstreams[0].IdleTimeout = "finish", short
	}, b)
	c, p, body := streaming(t, r, b, okSSE)
	p.chunk("data: 1\n\n")
	expect(t, body, "data: 1\n\n")
	c.Close()
	p.gone()
	r.ended()
}

// Thousands of aborted streams leave nothing behind.
func TestAbortedStreamsLeaveNothing(t *testing.T) {
	n := 5000
	if testing.Short() {
		n = 200
	}
	b := newBackend(t)
	r := start(t, nil, b)
	abort := func() {
		c := dial(t, r.addr)
		c.send(chat())
		p, _ := b.asked()
		p.say(okSSE + chunked("data: 1\n\n"))
		expect(t, c.body(c.head()), "data: 1\n\n")
		c.Close()
		p.gone()
		p.Close()
		r.ended()
	}
	for range 50 {
		abort()
	}
	goroutines, files, heap := runtime.NumGoroutine(), openFiles(t), heapInUse()
	for range n {
		abort()
		b.mu.Lock()
		b.peers = b.peers[:0]
		b.mu.Unlock()
	}
	if now := runtime.NumGoroutine(); now > goroutines+10 {
		t.Errorf("%d goroutines, %d before", now, goroutines)
	}
	if now := openFiles(t); now > files+10 {
		t.Errorf("%d open files, %d before", now, files)
	}
	// What the test itself keeps of each connection is some hundred bytes.
	if now := heapInUse(); now > heap+uint64(n)*1024+8<<20 {
		t.Errorf("%d KiB of heap, %d before", now>>10, heap>>10)
	}
}

func openFiles(t *testing.T) int {
	t.Helper()
	files, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", os.Getpid()))
	if err != nil {
		t.Fatal(err)
	}
	return len(files)
}

func heapInUse() uint64 {
	runtime.GC()
	runtime.GC() // the second empties the pools
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return stats.HeapAlloc
}

// A client that takes little at a time, but steadily, is slow and not dead.
func TestSlowClientIsNotCut(t *testing.T) {
	b := newBackend(t)
	r := start(t, func(cfg *config.Config) {
		cfg.Upstreams[0].Stream.WriteStallTimeout = 30 * short
		cfg.Upstreams[0].Stream.BufferBytes = 64 << 10
	}, b)
	c, p, body := streaming(t, r, b, okSSE)
	ev := "data: " + strings.Repeat("x", 8<<10) + "\n\n"
	n := (18 << 20) / len(ev) // takes longer than the limit
	sent := make(chan error, 1)
	go func() {
		var err error
		for range n {
			if _, err = io.WriteString(p.Conn, chunked(ev)); err != nil {
				break
			}
		}
		if err == nil {
			_, err = io.WriteString(p.Conn, lastChunk)
		}
		sent <- err
	}()
	tick := time.NewTicker(short / 2)
	defer tick.Stop()
	buf := make([]byte, 256<<10)
	got := 0
	for {
		m, err := io.ReadFull(body, buf)
		got += m
		if err != nil {
			if err != io.EOF && err != io.ErrUnexpectedEOF || got != n*len(ev) {
				t.Fatalf("after %d bytes of %d: %v", got, n*len(ev), err)
			}
			break
		}
		<-tick.C // the pace of the client, which is what is tested
	}
	if err := <-sent; err != nil {
		t.Error(err)
	}
	c.Close()
	if line := r.ended(); line["ended_by"] != "upstream" {
		t.Errorf("ended by %v", line["ended_by"])
	}
}

// A client that takes nothing is cut off, and its upstream is freed.
func TestStalledClientIsCut(t *testing.T) {
	b := newBackend(t)
	r := start(t, func(cfg *config.Config) { cfg.Upstreams[0].Stream.WriteStallTimeout = 2 * short }, b)
	_, p, _ := streaming(t, r, b, okSSE)
	ev := chunked("data: " + strings.Repeat("x", 32<<10) + "\n\n")
	for err := error(nil); err == nil; {
		_, err = io.WriteString(p.Conn, ev)
		if isTimeout(err) {
			t.Fatal("the upstream is still held")
		}
	}
	if line := r.ended(); line["ended_by"] != "stall" {
		t.Errorf("ended by %v", line["ended_by"])
	}
	if m := r.breaker(0).Metrics; m.FailedRequests != 0 {
		t.Errorf("the breaker counted %+v", m)
	}
}
