package main

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
	"unsafe"
)

// BenchmarkFollower shows what the program spends on a stream of 200 events, one a
// millisecond, that a client shares with 63 others, beside one that it has for
// itself: CPU time of the program alone.
func BenchmarkFollower(b *testing.B) {
	const clients, events = 64, 200
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "text/event-stream")
		for range events {
			io.WriteString(w, firstEvent)
			w.(http.Flusher).Flush()
			time.Sleep(time.Millisecond)
		}
		io.WriteString(w, lastEvents)
	}))
	b.Cleanup(backend.Close)
	for _, kind := range []struct{ name, coalesce string }{{"own", "false"}, {"shared", "true"}} {
		b.Run(kind.name, func(b *testing.B) {
			p := serve(b, upstreamAt(backend.URL)+"batchlog: {enabled: false}\ncache: {coalesce: "+kind.coalesce+"}\n")
			c := newClient(b)
			var round, failed atomic.Int64
			before := p.spent()
			for b.Loop() {
				body := strings.Replace(chatLive, "the sea", fmt.Sprint(kind.name, round.Add(1)), 1)
				var wg sync.WaitGroup
				for range clients {
					wg.Go(func() {
						res, err := send(b.Context(), c, http.MethodPost, p.proxy+chatPath, body)
						if err != nil {
							failed.Add(1)
							return
						}
						defer res.Body.Close()
						if _, err := io.Copy(io.Discard, res.Body); err != nil {
							failed.Add(1)
						}
					})
				}
				wg.Wait()
			}
			if n := failed.Load(); n > 0 {
				b.Fatalf("%d streams failed", n)
			}
			b.ReportMetric(float64((p.spent()-before).Microseconds())/float64(round.Load()*clients), "CPU-µs/stream")
		})
	}
}

// spent is the process' CPU time so far, by its own clock, which clock_getcpuclockid(3)
// finds in the same way.
func (p *process) spent() time.Duration {
	p.t.Helper()
	const cpuTime = 2
	clock := ^int32(p.cmd.Process.Pid)<<3 | cpuTime
	var at syscall.Timespec
	if _, _, errno := syscall.Syscall(syscall.SYS_CLOCK_GETTIME, uintptr(clock), uintptr(unsafe.Pointer(&at)), 0); errno != 0 {
		p.t.Fatal(errno)
	}
	return time.Duration(at.Nano())
}
