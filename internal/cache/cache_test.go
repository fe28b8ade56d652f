package cache

import (
	"encoding/json"
	"fmt"
	"maps"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

func TestMissThenHit(t *testing.T) {
	c := newCache(t, nil)
	if miss, unkept := fill(t, c, query(1), "answer"); miss != First || unkept != "" {
		t.Errorf("the first time: %q, %q", miss, unkept)
	}
	turn := c.Begin(t.Context(), query(1))
	e := turn.Entry
	if e == nil || string(e.Body) != "answer" || e.Upstream != "up" || e.Status != 200 || e.Header.Get("Content-Type") != "text/event-stream" {
		t.Fatalf("the second time: %+v", turn)
	}
	if again := c.Begin(t.Context(), query(1)).Entry; again != e {
		t.Error("an entry was copied")
	}
	if body, why := look(t, c, query(2)); body != "" || why != First {
		t.Errorf("another question: %q, %q", body, why)
	}
	want := Stats{Size: 1, MaxSize: 1000, Bytes: e.size, MaxBytes: 64 << 20, TTLSeconds: 300, Hits: 2, Misses: 2, HitRate: 0.5, TotalRequests: 4}
	if got := c.Stats(); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("stats %+v", got)
	}
}

// Who would not be asked an upstream finds what there is, and starts nothing that
// others would wait for.
func TestUnasked(t *testing.T) {
	c := newCache(t, nil)
	unasked := query(1)
	unasked.Unasked = true
	if turn := c.Begin(t.Context(), unasked); turn.Entry != nil || turn.Lead != nil || turn.Follower != nil || turn.Reason != First {
		t.Errorf("of nothing: %+v", turn)
	}
	if why, _ := fill(t, c, query(1), "answer"); why != First {
		t.Errorf("there was a flight already: %q", why)
	}
	if e := c.Begin(t.Context(), unasked).Entry; e == nil || string(e.Body) != "answer" {
		t.Errorf("of an entry: %+v", e)
	}
	c.Clear("")
	if turn := c.Begin(t.Context(), unasked); turn.Entry != nil || turn.Reason != Cleared {
		t.Errorf("after a clear: %+v", turn)
	}
	if s := c.Stats(); s.Hits != 1 || s.Misses != 1 {
		t.Errorf("stats %+v", s)
	}
}

func TestStatsJSON(t *testing.T) {
	got, err := json.Marshal(newCache(t, nil).Stats())
	const want = `{"size":0,"maxsize":1000,"bytes":0,"max_bytes":67108864,"ttl_seconds":300,"hits":0,"misses":0,"coalesced":0,` +
		`"stale_served":0,"evictions":0,"expirations":0,"rejected":0,"hit_rate":0,"total_requests":0}`
	if err != nil || string(got) != want {
		t.Errorf("%s, %v", got, err)
	}
}

func TestMetrics(t *testing.T) {
	c := newCache(t, nil)
	reg := prometheus.NewPedanticRegistry()
	reg.MustRegister(c)
	fill(t, c, query(1), "a")
	look(t, c, query(1))
	look(t, c, query(2))
	l := c.Begin(t.Context(), query(3)).Lead
	c.Missed()
	l.Start(plainHead)
	l.End(Outcome{})
	l.Close()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, family := range families {
		for _, m := range family.GetMetric() {
			name := family.GetName()
			if labels := m.GetLabel(); len(labels) > 0 {
				name += " " + labels[0].GetName() + "=" + labels[0].GetValue()
			}
			got[name] = m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	want := map[string]float64{
		"llm_cache_hits_total": 1, "llm_cache_misses_total": 3, "vega_cache_coalesced_total": 0, "vega_cache_stale_total": 0,
		"vega_cache_evictions_total": 0, "vega_cache_expirations_total": 0,
		"vega_cache_entries": 1, "vega_cache_bytes": float64(c.Stats().Bytes),
	}
	for _, why := range unkept {
		want["vega_cache_rejected_total reason="+string(why)] = 0
	}
	want["vega_cache_rejected_total reason=incomplete"] = 1
	if !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestTTL(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCache(t, nil)
		fill(t, c, query(1), "a")
		short := query(2)
		short.Directives.TTL = 10 * time.Second
		fill(t, c, short, "b")
		never := query(3)
		never.Directives.TTL = 0
		if _, unkept := fill(t, c, never, "c"); unkept != NoStore {
			t.Errorf("with a TTL of 0: %q", unkept)
		}
		time.Sleep(10*time.Second - time.Nanosecond)
		if body, _ := look(t, c, query(2)); body != "b" {
			t.Error("gone before its time")
		}
		time.Sleep(time.Nanosecond)
		if body, why := look(t, c, query(2)); body != "" || why != Expired {
			t.Errorf("after its time: %q, %q", body, why)
		}
		if e := c.Begin(t.Context(), query(1)).Entry; e == nil || e.Age() != 10 {
			t.Errorf("an entry of 10 seconds: %+v", e)
		}
		aged := query(1)
		aged.Directives.MaxAge = 10 * time.Second
		if body, _ := look(t, c, aged); body != "a" {
			t.Error("an entry of 10 seconds is older than max-age=10")
		}
		aged.Directives.MaxAge = 9 * time.Second
		if body, why := look(t, c, aged); body != "" || why != Expired {
			t.Errorf("max-age=9: %q, %q", body, why)
		}
		fresh := query(1)
		fresh.Directives.MinFresh = 289 * time.Second
		if body, _ := look(t, c, fresh); body != "a" {
			t.Error("an entry with 290 seconds to live is not fresh for 289")
		}
		fresh.Directives.MinFresh = 290 * time.Second
		if body, why := look(t, c, fresh); body != "" || why != Expired {
			t.Errorf("min-fresh=290: %q, %q", body, why)
		}
		time.Sleep(290 * time.Second)
		if body, why := look(t, c, query(1)); body != "" || why != Expired {
			t.Errorf("after the TTL: %q, %q", body, why)
		}
		if s := c.Stats(); s.Expirations != 2 || s.Evictions != 0 || s.Size != 0 || s.Bytes != 0 {
			t.Errorf("stats %+v", s)
		}
	})
}

func TestExpiredEntriesGoUnasked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCache(t, func(cfg *Config) { cfg.MaxSize = 10 })
		for i := range 10 {
			fill(t, c, query(i), "a")
		}
		if s := c.Stats(); s.Size != 10 {
			t.Fatalf("size %d", s.Size)
		}
		time.Sleep(300 * time.Second)
		if s := c.Stats(); s.Size != 0 || s.Expirations != 10 || s.Bytes != 0 {
			t.Errorf("stats %+v", s)
		}
		if miss, _ := fill(t, c, query(3), "a"); miss != Expired {
			t.Errorf("asked again: %q", miss)
		}
	})
}

func TestNoCacheRefreshes(t *testing.T) {
	c := newCache(t, nil)
	fill(t, c, query(1), "old")
	for _, d := range []Directives{{NoCache: true, MaxAge: -1, TTL: -1}, {MaxAge: 0, TTL: -1}} {
		fresh := query(1)
		fresh.Directives = d
		if miss, unkept := fill(t, c, fresh, "new"); miss != NoCache || unkept != "" {
			t.Errorf("%+v: %q, %q", d, miss, unkept)
		}
		if body, _ := look(t, c, query(1)); body != "new" {
			t.Errorf("%+v: %q is kept", d, body)
		}
	}
	if s := c.Stats(); s.Size != 1 || s.Evictions != 0 {
		t.Errorf("stats %+v", s)
	}
}

// TestBounds: whatever comes, no more than allowed is kept, and what is counted
// is what there is.
func TestBounds(t *testing.T) {
	tests := []struct {
		name     string
		entries  int
		bytes    int64
		size     int // of a body
		wantSize int64
	}{
		{"by entries", 100, 64 << 20, 100, 100},
		{"by bytes", 100000, 1 << 20, 10 << 10, 0},
		{"one", 1, 1 << 20, 10, 1},
		{"two", 2, 1 << 20, 10, 2},
		{"three", 3, 1 << 20, 10, 3},
		{"hardly any bytes", 1000, 2000, 10, 0},
		{"no bytes to speak of", 1000, 1, 10, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := newCache(t, func(cfg *Config) { cfg.MaxSize, cfg.MaxBytes, cfg.MaxEntryBytes = tt.entries, tt.bytes, 64<<10 })
			body := strings.Repeat("x", tt.size)
			for i := range 2000 {
				fill(t, c, query(i), body)
				if i%40 > 0 {
					continue
				}
				if s := c.Stats(); s.Size > int64(tt.entries) || s.Bytes > tt.bytes {
					t.Fatalf("after %d: %+v", i, s)
				}
			}
			s := c.Stats()
			if fewest := tt.wantSize - tt.wantSize/16; s.Size < fewest || tt.wantSize > 0 && s.Size > tt.wantSize { // a full window gives up some at a time
				t.Errorf("size %d, want %d to %d", s.Size, fewest, tt.wantSize)
			}
			if s.Size+int64(s.Evictions)+int64(s.Rejected) != 2000 {
				t.Errorf("of 2000 entries: %+v", s)
			}
			found, bytes := int64(0), int64(0)
			for i := range 2000 {
				if e := c.store.get(slot{query(i).Key, Stream}); e != nil {
					found++
					bytes += e.size
				}
			}
			if found != s.Size || bytes != s.Bytes {
				t.Errorf("%d entries of %d bytes are there: %+v", found, bytes, s)
			}
			if body, _ := look(t, c, query(1999)); tt.wantSize > 0 && body == "" {
				t.Error("the last one is not there")
			}
		})
	}
}

// TestMemory: what the entries are counted for is what they take.
func TestMemory(t *testing.T) {
	live := func() int64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.GC() // what pools hold goes in two steps
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	for _, size := range []int{1, 700, 5000} {
		before := live()
		c := newCache(t, func(cfg *Config) { cfg.MaxSize, cfg.MaxBytes = 1<<20, 16<<20 })
		body := strings.Repeat("x", size)
		for i := range 3 * (16 << 20) / (size + overhead) {
			fill(t, c, query(i), body)
		}
		s, took := c.Stats(), live()-before
		const fixed = 8 << 20 // ristretto's counters for so many entries, the notes
		if s.Bytes < 15<<20 || took > s.Bytes+s.Bytes/10+fixed {
			t.Errorf("%d entries of %d bytes count for %d and take %d", s.Size, size, s.Bytes, took)
		}
		runtime.KeepAlive(c)
	}
}

func TestTooLarge(t *testing.T) {
	c := newCache(t, func(cfg *Config) { cfg.MaxEntryBytes = 10 })
	if miss, unkept := fill(t, c, query(1), "0123456789"); miss != First || unkept != "" {
		t.Errorf("at the limit: %q, %q", miss, unkept)
	}
	if miss, unkept := fill(t, c, query(2), "0123456789a"); miss != First || unkept != TooLarge {
		t.Errorf("over the limit: %q, %q", miss, unkept)
	}
	if miss, _ := fill(t, c, query(2), "short"); miss != TooLarge {
		t.Errorf("the next time: %q", miss)
	}
	if body, _ := look(t, c, query(2)); body != "short" {
		t.Errorf("got %q", body)
	}
}

func TestClear(t *testing.T) {
	c := newCache(t, func(cfg *Config) { cfg.MaxSize = 20 })
	of := func(i int, model string) Query {
		q := query(i)
		q.Model = model
		return q
	}
	for i := range 15 {
		fill(t, c, of(i, []string{"m", "m:latest", "n"}[i%3]), "a")
	}
	flying := c.Begin(t.Context(), of(100, "m")).Lead
	other := c.Begin(t.Context(), of(101, "n")).Lead
	if n := c.Clear("m:latest"); n != 10 {
		t.Errorf("%d entries of m went", n)
	}
	if s := c.Stats(); s.Size != 5 || s.Evictions != 0 || s.Expirations != 0 {
		t.Errorf("stats %+v", s)
	}
	if body, why := look(t, c, of(0, "m")); body != "" || why != First && why != Cleared {
		t.Errorf("of m: %q, %q", body, why)
	}
	if miss, _ := fill(t, c, of(0, "m"), "b"); miss != Cleared {
		t.Errorf("of m: %q", miss)
	}
	for l, want := range map[*Lead]Reason{flying: Cleared, other: ""} {
		l.Start(plainHead).Append([]byte("x"))
		if unkept := l.End(whole); unkept != want {
			t.Errorf("a flight of %s: %q, want %q", l.fl.query.Model, unkept, want)
		}
		l.Close()
	}
	if n := c.Clear(""); n != 7 {
		t.Errorf("%d entries went in all", n)
	}
	if s := c.Stats(); s.Size != 0 || s.Bytes != 0 {
		t.Errorf("stats %+v", s)
	}
}

// TestClearAgainstFills: after a clear there is nothing of what was begun before.
func TestClearAgainstFills(t *testing.T) {
	c := newCache(t, func(cfg *Config) { cfg.MaxSize = 50 })
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for i := range 500 {
				q := query(w*100 + i%100)
				q.Directives.NoCache = true
				l := c.Begin(t.Context(), q).Lead
				l.Start(plainHead).Append([]byte("x"))
				l.End(whole)
				l.Close()
				if i%50 == w {
					c.Clear("")
				}
			}
		})
	}
	wg.Wait()
	c.Clear("")
	s := c.Stats()
	if s.Size != 0 || s.Bytes != 0 || len(c.store.moving) != 0 {
		t.Errorf("after all: %+v, %d moving", s, len(c.store.moving))
	}
	for i := range 400 {
		if body, _ := look(t, c, query(i)); body != "" {
			t.Fatalf("%d is still there", i)
		}
	}
}

func TestConversion(t *testing.T) {
	c := newCache(t, nil)
	asked := 0
	q := query(1)
	q.Convert = func(e *Entry, to Form) (*Conversion, bool) {
		asked++
		return &Conversion{Body: append([]byte("whole "), e.Body...), ContentType: "application/json"}, to == Whole
	}
	fill(t, c, q, "events")
	q.Form = Whole
	for range 2 {
		turn := c.Begin(t.Context(), q)
		if turn.Entry == nil || string(turn.Entry.Body) != "whole events" || turn.Entry.Header.Get("Content-Type") != "application/json" {
			t.Fatalf("got %+v", turn)
		}
	}
	if asked != 1 {
		t.Errorf("converted %d times", asked)
	}
	if body, _ := look(t, c, query(1)); body != "events" {
		t.Errorf("the original is %q", body)
	}
	q.Form = StreamWithUsage
	if body, why := look(t, c, q); body != "" || why != Framing {
		t.Errorf("what cannot be converted: %q, %q", body, why)
	}
	c.Clear("")
	q.Form = Whole
	if body, _ := look(t, c, q); body != "" {
		t.Error("a converted entry outlived the clear")
	}
}

func TestStale(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCache(t, func(cfg *Config) { cfg.StaleIfError = time.Minute })
		fill(t, c, query(1), "a")
		time.Sleep(330 * time.Second)
		l := c.Begin(t.Context(), query(1)).Lead
		if l == nil {
			t.Fatal("an expired entry is a hit")
		}
		l.Fail(errBoom)
		l.Close()
		e := c.Stale(query(1))
		if e == nil || string(e.Body) != "a" || e.Age() != 330 {
			t.Errorf("got %+v", e)
		}
		fresh := query(1)
		fresh.Directives.MinFresh = time.Second
		if c.Stale(fresh) != nil {
			t.Error("what is to be fresh is stale")
		}
		for age, given := range map[time.Duration]bool{0: false, 329 * time.Second: false, 330 * time.Second: true} {
			young := query(1)
			young.Directives.MaxAge = age
			if got := c.Stale(young) != nil; got != given {
				t.Errorf("no older than %s: given is %v", age, got)
			}
		}
		other := query(1)
		other.Form = Whole
		if c.Stale(other) != nil {
			t.Error("another form was given without a conversion")
		}
		other.Convert = func(e *Entry, _ Form) (*Conversion, bool) { return &Conversion{Body: e.Body}, true }
		if c.Stale(other) == nil {
			t.Error("it was not converted")
		}
		time.Sleep(30 * time.Second)
		if c.Stale(query(1)) != nil {
			t.Error("it is given too late")
		}
		if s := c.Stats(); s.StaleServed != 3 || s.Misses != 1 || s.Hits != 0 {
			t.Errorf("stats %+v", s)
		}
	})
	off := newCache(t, nil)
	fill(t, off, query(1), "a")
	if off.Stale(query(1)) != nil {
		t.Error("stale_if_error is off")
	}
}

func TestCacheThatIsOff(t *testing.T) {
	c := newCache(t, func(cfg *Config) { cfg.Policy = "off" })
	if c.Clear("") != 0 || c.Stats().Size != 0 {
		t.Error("there is something")
	}
}

func BenchmarkHit(b *testing.B) {
	c := newCache(b, nil)
	q := query(1)
	fill(b, c, q, strings.Repeat("x", 1024))
	ctx := b.Context()
	b.ReportAllocs()
	for b.Loop() {
		if c.Begin(ctx, q).Entry == nil {
			b.Fatal("a miss")
		}
	}
}

// BenchmarkMiss is what the cache adds to a request that it cannot answer.
func BenchmarkMiss(b *testing.B) {
	c := newCache(b, nil)
	head := plainHead
	head.Length = 1024
	body := []byte(strings.Repeat("x", 1024))
	s := Subject{Endpoint: "e"}
	ctx := b.Context()
	b.ReportAllocs()
	for b.Loop() {
		s.Generation++
		l := c.Begin(ctx, Query{Key: s.Key(), Form: Whole, Directives: plainly}).Lead
		l.Start(head).Append(body)
		l.End(whole)
		l.Close()
	}
}
