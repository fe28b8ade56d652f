package cache

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/dgraph-io/ristretto/v2"
)

// What the store keeps is measured against what a list of the last used, and
// ristretto alone, keep of the same bytes.

// simulated is one way to choose what is kept.
type simulated interface {
	get(sl slot) *Entry
	add(e *Entry)
	close()
}

var policies = map[string]func(testing.TB, Config) simulated{
	"store": func(tb testing.TB, cfg Config) simulated {
		s, err := newStore(cfg)
		if err != nil {
			tb.Fatal(err)
		}
		return storePolicy{s}
	},
	"lru": func(_ testing.TB, cfg Config) simulated {
		w := newWindow(int64(cfg.MaxSize), cfg.MaxBytes)
		return lruPolicy{&w}
	},
	"ristretto": func(tb testing.TB, cfg Config) simulated {
		minCost := cfg.MaxBytes / int64(cfg.MaxSize)
		r, err := ristretto.NewCache(&ristretto.Config[uint64, *Entry]{
			NumCounters: 10 * int64(cfg.MaxSize), MaxCost: cfg.MaxBytes, BufferItems: 64, IgnoreInternalCost: true,
		})
		if err != nil {
			tb.Fatal(err)
		}
		return ristrettoPolicy{r, minCost}
	},
}

type storePolicy struct{ *store }

func (p storePolicy) add(e *Entry) {
	p.mu.Lock()
	moved := p.put(e)
	p.mu.Unlock()
	p.settle(e, moved, true)
}

type lruPolicy struct{ *window }

func (p lruPolicy) get(sl slot) *Entry { return p.use(sl) }
func (p lruPolicy) close()             {}

func (p lruPolicy) add(e *Entry) {
	p.put(e.slot(), e)
	for p.full() {
		p.remove(p.oldest.slot(), p.oldest)
	}
}

type ristrettoPolicy struct {
	*ristretto.Cache[uint64, *Entry]
	minCost int64
}

func (p ristrettoPolicy) get(sl slot) *Entry {
	e, _ := p.Get(sl.hash())
	return e
}

func (p ristrettoPolicy) add(e *Entry) {
	p.Set(e.slot().hash(), e, max(e.size, p.minCost))
	p.Wait()
}

func (p ristrettoPolicy) close() { p.Close() }

const traceKeys = 100_000

// traces are streams of questions, by their numbers. The same name gives the same.
var traces = map[string]func() func() uint64{
	"zipf 1.01":        func() func() uint64 { return zipf(1.01) },
	"zipf 1.1":         func() func() uint64 { return zipf(1.1) },
	"zipf 1.2":         func() func() uint64 { return zipf(1.2) },
	"scan in zipf 1.1": scan,
	"shifting":         shifting,
	"sessions":         sessions,
}

// zipf asks some questions far more often than others, and the same all the while.
func zipf(s float64) func() uint64 {
	return rand.NewZipf(rand.New(rand.NewPCG(1, 1)), s, 1, traceKeys-1).Uint64
}

// scan has a loop over 20,000 questions, one after the other, take every second turn.
func scan() func() uint64 {
	often, n := zipf(1.1), uint64(0)
	return func() uint64 {
		n++
		if n%2 == 0 {
			return traceKeys + n/2%20_000
		}
		return often()
	}
}

// shifting forgets what was asked for often, and turns to something else, every
// 20,000 requests.
func shifting() func() uint64 {
	often, n := zipf(1.1), uint64(0)
	return func() uint64 {
		n++
		return often() + n/20_000*traceKeys
	}
}

// sessions asks a question again soon or never: half of the requests repeat one of
// the last 2,000, and the other half are new.
func sessions() func() uint64 {
	r, n := rand.New(rand.NewPCG(2, 2)), uint64(0)
	var last [2000]uint64
	return func() uint64 {
		n++
		if n > uint64(len(last)) && r.IntN(2) == 0 {
			return last[r.IntN(len(last))]
		}
		last[n%uint64(len(last))] = n
		return n
	}
}

// sizes are how large answers are.
var sizes = map[string]func(n uint64) int64{
	"alike": func(uint64) int64 { return 4 << 10 },
	// From 1 to 32 KiB, evenly by their logarithm; a mean of 9.
	"mixed": func(n uint64) int64 {
		return int64(1024 * math.Exp2(5*rand.New(rand.NewPCG(n, 3)).Float64()))
	},
}

// hitRate replays so many requests of a trace through a cache of so many answers, and
// returns the share of hits in percent.
func hitRate(tb testing.TB, policy, trace, size string, entries, requests int) float64 {
	mean := int64(4 << 10)
	if size == "mixed" {
		mean = 9 << 10
	}
	p := policies[policy](tb, Config{MaxSize: entries, MaxBytes: int64(entries) * mean, MaxEntryBytes: 64 << 10})
	defer p.close()
	next, hits, expires := traces[trace](), 0, time.Now().Add(time.Hour)
	for range requests {
		n := next()
		var key Key
		binary.LittleEndian.PutUint64(key[:], n*0x9e3779b97f4a7c15) // as a hash would have it, no two alike
		if p.get(slot{key, Whole}) != nil {
			hits++
			continue
		}
		p.add(&Entry{key: key, Form: Whole, size: sizes[size](n), Expires: expires})
	}
	return 100 * float64(hits) / float64(requests)
}

// TestHitRate: on no trace is the store clearly behind a list of the last used.
func TestHitRate(t *testing.T) {
	for trace := range traces {
		t.Run(trace, func(t *testing.T) {
			t.Parallel()
			const entries, requests = 1000, 50_000
			ours, lru := hitRate(t, "store", trace, "mixed", entries, requests), hitRate(t, "lru", trace, "mixed", entries, requests)
			if ours < lru-3 {
				t.Errorf("%.1f %% hits, a list of the last used has %.1f", ours, lru)
			}
		})
	}
}

// BenchmarkHitRate is to be run with -benchtime 1x: its figures are shares.
func BenchmarkHitRate(b *testing.B) {
	for trace := range traces {
		for size := range sizes {
			for _, entries := range []int{1000, 10_000} {
				for policy := range policies {
					b.Run(fmt.Sprintf("%s/%s/%d/%s", trace, size, entries, policy), func(b *testing.B) {
						for b.Loop() {
							b.ReportMetric(hitRate(b, policy, trace, size, entries, 300_000), "hits_%")
						}
					})
				}
			}
		}
	}
}
