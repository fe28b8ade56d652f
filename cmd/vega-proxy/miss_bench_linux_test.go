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
	"testing"
	"time"
)

// BenchmarkMissAdds shows what the cache adds to a request that it cannot answer:
// CPU time of two of the program, with the cache that is on by default and without
// any, of which each is asked in turn. Every question is new, question and answer
// have 1 KiB, and sixteen clients ask at a time.
func BenchmarkMissAdds(b *testing.B) {
	const clients, block = 16, 4000
	answer := `{"id":"1","object":"chat.completion","created":1,"model":"demo","choices":[{"index":0,"message":{"role":"assistant","content":"` +
		strings.Repeat("the sea is calm ", 52) + `"},"finish_reason":"stop"}],"usage":{"prompt_tokens":3,"completion_tokens":2,"total_tokens":5}}`
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "application/json")
		io.WriteString(w, answer)
	}))
	b.Cleanup(backend.Close)
	type side struct {
		*process
		clients []*rawClient
		spent   []time.Duration // by block
	}
	var sides [2]*side
	for i, policy := range []string{"off", "all"} {
		s := &side{process: serve(b, upstreamAt(backend.URL)+"batchlog: {enabled: false}\ncache: {policy: "+policy+"}\n")}
		for range clients {
			s.clients = append(s.clients, dialRaw(b, strings.TrimPrefix(s.proxy, "http://")))
		}
		sides[i] = s
	}
	var asked atomic.Int64
	ask := func(s *side, n int) {
		var wg sync.WaitGroup
		for _, c := range s.clients {
			wg.Go(func() {
				for range n / clients {
					body := fmt.Sprintf(`{"model":"demo","messages":[{"role":"user","content":"%d %s"}]}`, asked.Add(1), strings.Repeat("x", 950))
					c.ask(b, fmt.Sprintf("POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", chatPath, len(body), body), http.StatusOK)
				}
			})
		}
		wg.Wait()
	}
	for _, s := range sides { // until the cache is full
		ask(s, 2*block)
	}
	for b.Loop() {
		for _, s := range sides {
			before := s.process.spent()
			ask(s, block)
			s.spent = append(s.spent, s.process.spent()-before)
		}
	}
	var each [2]float64
	for i, s := range sides {
		slices.Sort(s.spent) // the median, since others use the machine too
		each[i] = float64(s.spent[len(s.spent)/2].Nanoseconds()) / block / 1000
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(each[0], "CPU-µs/without")
	b.ReportMetric(each[1], "CPU-µs/with")
	b.ReportMetric(each[1]-each[0], "CPU-µs/added")
}
