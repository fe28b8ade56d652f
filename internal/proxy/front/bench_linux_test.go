package front_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/vega-proxy/vega-proxy/internal/proxy/front"
)

// both runs a benchmark through a front and through net/http.
func both(b *testing.B, h http.HandlerFunc, run func(*testing.B, string)) {
	b.Run("front", func(b *testing.B) { run(b, start(b, h).addr) })
	b.Run("net-http", func(b *testing.B) { run(b, startStd(b, h)) })
}

var kilobyte = []byte(strings.Repeat("0123456789abcdef", 64))

// BenchmarkWhole answers 1 KiB with 1 KiB. The client is the same, and cheap.
func BenchmarkWhole(b *testing.B) {
	length, kind := []string{"1024"}, []string{"application/json"}
	both(b, func(w http.ResponseWriter, r *http.Request) {
		if body, ok := r.Body.(*front.Body); ok {
			if got, err := body.Bytes(); len(got) != 1024 || err != nil {
				b.Error(len(got), err)
			}
		} else {
			var buf [1024]byte
			if _, err := io.ReadFull(r.Body, buf[:]); err != nil {
				b.Error(err)
			}
		}
		h := w.Header()
		h["Content-Length"], h["Content-Type"] = length, kind
		w.Write(kilobyte)
	}, func(b *testing.B, addr string) {
		nc := dial(b, addr)
		request := fmt.Appendf(nil, "POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nUser-Agent: bench/1.0\r\nContent-Length: 1024\r\nContent-Type: application/json\r\nAuthorization: Bearer sk-0123456789\r\nAccept: */*\r\n\r\n%s", kilobyte)
		answer := make([]byte, 4096)
		b.ReportAllocs()
		for b.Loop() {
			nc.Write(request)
			for n := 0; n < 1024; {
				m, err := nc.Read(answer)
				if err != nil {
					b.Fatal(err)
				}
				n += m
			}
		}
	})
}

// BenchmarkStream answers with 200 chunks, each flushed and read.
func BenchmarkStream(b *testing.B) {
	event := []byte("data: {\"choices\":[{\"delta\":{\"content\":\"token\"}}]}\n\n")
	coding := []string{"chunked"}
	both(b, func(w http.ResponseWriter, r *http.Request) {
		w.Header()["Transfer-Encoding"] = coding
		f := w.(interface{ FlushError() error })
		for range 200 {
			w.Write(event)
			if err := f.FlushError(); err != nil {
				b.Error(err)
			}
		}
	}, func(b *testing.B, addr string) {
		nc := dial(b, addr)
		buf := make([]byte, 64<<10)
		b.ReportAllocs()
		for b.Loop() {
			io.WriteString(nc, get)
			for end := false; !end; {
				n, err := nc.Read(buf)
				if err != nil {
					b.Fatal(err)
				}
				end = strings.HasSuffix(string(buf[max(0, n-5):n]), "0\r\n\r\n")
			}
		}
	})
}

// BenchmarkHeld measures what 1,000 connections hold: between requests, and in
// the middle of an answer.
func BenchmarkHeld(b *testing.B) {
	const conns = 1000
	for _, path := range []string{"/idle", "/waiting"} {
		var waiting sync.WaitGroup
		b.Run(path[1:], func(b *testing.B) {
			both(b, func(w http.ResponseWriter, r *http.Request) {
				if body, ok := r.Body.(*front.Body); ok {
					body.Release()
				} else {
					io.Copy(io.Discard, r.Body)
				}
				w.Header()["Transfer-Encoding"] = []string{"chunked"}
				io.WriteString(w, "x")
				http.NewResponseController(w).Flush()
				if r.URL.Path == "/waiting" {
					waiting.Done()
					<-r.Context().Done()
				}
			}, func(b *testing.B, addr string) {
				var held float64
				for b.Loop() {
					var clients [conns]net.Conn
					before := inUse()
					for i := range clients {
						clients[i] = dial(b, addr)
					}
					for _, nc := range clients {
						if path == "/waiting" {
							waiting.Add(1)
						}
						fmt.Fprintf(nc, "POST %s HTTP/1.1\r\nHost: a\r\nContent-Length: 1024\r\n\r\n%s", path, kilobyte)
						nc.Read(make([]byte, 256))
					}
					waiting.Wait()
					held += float64(inUse()-before) / conns
					for _, nc := range clients {
						nc.Close()
					}
				}
				b.ReportMetric(held/float64(b.N), "B/conn")
			})
		})
	}
}

// inUse is the memory in use, the goroutines' stacks included.
func inUse() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc + m.StackInuse)
}
