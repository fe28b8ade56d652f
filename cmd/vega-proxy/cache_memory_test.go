package main

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// distinct starts a backend whose answers are all different, of 200 to 8,000 bytes.
func distinct(t *testing.T) string {
	filler := strings.Repeat("the sea is calm tonight ", 400)
	var answered atomic.Int64
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		n := answered.Add(1)
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"id":"%d","object":"chat.completion","created":1,"model":"demo","choices":[{"index":0,"message":{"role":"assistant","content":"%d %s"},"finish_reason":"stop"}]}`,
			n, n, filler[:n*7919%7800])
	}))
	t.Cleanup(srv.Close)
	return srv.URL
}

// flood asks questions by their numbers, which were not asked before, eight at a
// time.
func flood(t *testing.T, p *process, first, last int64) {
	t.Helper()
	var asked atomic.Int64
	asked.Store(first - 1)
	var wg sync.WaitGroup
	c := newClient(t)
	for range 8 {
		wg.Go(func() {
			for n := asked.Add(1); n <= last && !t.Failed(); n = asked.Add(1) {
				got, err := try(t.Context(), c, http.MethodPost, p.proxy+chatPath, strings.Replace(chat, "the sea", strconv.FormatInt(n, 10), 1))
				if err != nil || got.status != http.StatusOK || got.header.Get("X-Vega-Cache") != "MISS" {
					t.Errorf("question %d: %d %v, %v", n, got.status, got.header, err)
				}
			}
		})
	}
	wg.Wait()
}

const mib = 1 << 20

// cacheOf is a cache of so many MiB without a bound on entries that matters.
func cacheOf(size int) string {
	return fmt.Sprintf("batchlog: {enabled: false}\ncache: {maxsize: 100000, max_bytes: %dMiB}\n", size)
}

// gauge reads one of the program's metrics that has no labels.
func (p *process) gauge(name string) float64 {
	p.t.Helper()
	metrics := do(p.t, newClient(p.t), http.MethodGet, p.admin+"/metrics", "").body
	m := regexp.MustCompile(`(?m)^` + name + ` (\S+)$`).FindStringSubmatch(metrics)
	if m == nil {
		p.t.Fatalf("there is no metric %s", name)
	}
	v, err := strconv.ParseFloat(m[1], 64)
	if err != nil {
		p.t.Fatal(err)
	}
	return v
}

// collect has the program collect its garbage.
func (p *process) collect() {
	p.t.Helper()
	do(p.t, newClient(p.t), http.MethodPost, p.admin+"/admin/performance/memory/gc", "", "X-API-Key", p.key()).want(p.t, http.StatusOK, "")
}

// resident is what the process has of the machine's memory, and had at most.
func (p *process) resident() (now, most int64) {
	p.t.Helper()
	f, err := os.Open(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		p.t.Fatal(err)
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		name, value, _ := strings.Cut(lines.Text(), ":")
		kib, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64)
		switch {
		case err != nil:
		case name == "VmRSS":
			now = kib << 10
		case name == "VmHWM":
			most = kib << 10
		}
	}
	return now, most
}

// TestCacheMemory fills a small cache several times over: what is alive afterwards
// is what the cache says that it holds, and little more than before.
func TestCacheMemory(t *testing.T) {
	t.Parallel()
	const size = 8
	// What else has grown to its own bounds by then: two buffers for lines of the
	// log of a MiB each, what is known of 1,000 exchanges and of 1,024 bodies.
	const others = 4 * mib
	p := serve(t, upstreamAt(distinct(t))+cacheOf(size))
	flood(t, p, 1, 100)
	p.collect()
	before := p.gauge("go_memstats_heap_alloc_bytes")
	flood(t, p, 101, 6_000)
	held := p.gauge("vega_cache_bytes")
	if held > size*mib || held < 0.8*size*mib || p.gauge("vega_cache_evictions_total") == 0 {
		t.Errorf("the cache holds %.1f MiB of %d, and has evicted %.0f", held/mib, size, p.gauge("vega_cache_evictions_total"))
	}
	until(t, "what is alive is what the cache holds", func() bool { // pools are emptied by several collections
		p.collect()
		return p.gauge("go_memstats_heap_alloc_bytes")-before < 1.3*size*mib+others
	})
}
