package main

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
	"unsafe"
)

// BenchmarkFollower shows what the program spends on a stream of 200 events that a
// client shares with 63 others, beside one that it has for itself: CPU time of two of
// the program alone, of which each is asked in turn. An event comes each millisecond,
// which for 64 streams is all that two processors can do, or every five, as a model
// writes.
func BenchmarkFollower(b *testing.B) {
	for _, every := range []time.Duration{time.Millisecond, 5 * time.Millisecond} {
		b.Run(every.String(), func(b *testing.B) { followers(b, every) })
	}
}

func followers(b *testing.B, every time.Duration) {
	const clients, events = 64, 200
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "text/event-stream")
		for range events {
			io.WriteString(w, firstEvent)
			w.(http.Flusher).Flush()
			time.Sleep(every)
		}
		io.WriteString(w, lastEvents)
	}))
	b.Cleanup(backend.Close)
	c := newClient(b)
	var asked, failed atomic.Int64
	ask := func(p *process) (spent float64) {
		body := strings.Replace(chatLive, "the sea", fmt.Sprint(asked.Add(1)), 1)
		before := p.spent()
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
		return float64((p.spent() - before).Microseconds()) / clients
	}
	var sides [2]*process
	for i, coalesce := range []string{"false", "true"} {
		sides[i] = serve(b, upstreamAt(backend.URL)+"batchlog: {enabled: false}\ncache: {coalesce: "+coalesce+"}\n")
		ask(sides[i]) // what is used for the first time
	}
	var own, shared, ratio []float64
	for b.Loop() {
		own, shared = append(own, ask(sides[0])), append(shared, ask(sides[1]))
		ratio = append(ratio, shared[len(shared)-1]/own[len(own)-1])
	}
	if n := failed.Load(); n > 0 {
		b.Fatalf("%d streams failed", n)
	}
	median := func(of []float64) float64 {
		slices.Sort(of)
		return of[len(of)/2]
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(median(own), "CPU-µs/own")
	b.ReportMetric(median(shared), "CPU-µs/shared")
	b.ReportMetric(median(ratio), "shared/own")
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
