package main

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// TestReplicasShare: what one has answered the other gives, with the same bytes, to
// the same credentials only, and each looks once however many ask.
func TestReplicasShare(t *testing.T) {
	t.Parallel()
	store := newRedis(t, "--requirepass", "planted-password")
	backend, answered := numbering(t)
	url := "redis://default:${L2_PASSWORD}@" + store.address() + "/3"
	a := newReplica(t, backend, url, patient, "L2_PASSWORD=planted-password").ready()
	b := newReplica(t, backend, "file:"+writeFile(t, "url", strings.ReplaceAll(url, "${L2_PASSWORD}", "planted-password")+"\n"), patient).ready()

	first := a.want("the sea", "MISS")
	a.written(1)
	got := do(t, b.c, http.MethodPost, b.proxy+chatPath, chat)
	got.want(t, http.StatusOK, "")
	h := got.header
	if got.body != first || h.Get("X-Vega-Cache") != "HIT" || h.Get("Age") == "" || h.Get("X-Backend") != "yes" || h.Get("X-Vega-Upstream") != "default" ||
		h.Get("Date") != "" && h.Get("X-Vega-Cache-Reason") != "" {
		t.Errorf("from the other: %v\n%s", h, got.body)
	}
	b.want("the sea", "HIT")
	if s := b.l2(); s.Hits != 1 || s.Misses != 0 {
		t.Errorf("two hits are %+v", s)
	}
	line := b.wait(`"msg":"exchange"`, `"cache":"HIT"`)
	if line["completion_tokens"] != 2.0 || line["finish_reason"] != "stop" {
		t.Errorf("the line of a hit from the other is %v", line)
	}

	// Whose it is, is the same for both.
	b.want("the sea", "MISS", "Authorization", "Bearer other")
	b.want("the sky", "MISS", "Authorization", "Bearer one")
	b.written(2)
	a.want("the sky", "HIT", "Authorization", "Bearer one")
	a.want("the sky", "MISS")
	a.want("the sky", "MISS", "Authorization", "Bearer two")

	// A stream, and a document made of it.
	live := strings.Replace(chatLive, `"stream":true`, `"stream":true,"stream_options":{"include_usage":true}`, 1)
	streamed := do(t, b.c, http.MethodPost, b.proxy+chatPath, strings.Replace(live, "the sea", "the rain", 1))
	b.written(3)
	if got := do(t, a.c, http.MethodPost, a.proxy+chatPath, strings.Replace(live, "the sea", "the rain", 1)); got.body != streamed.body || got.header.Get("X-Vega-Cache") != "HIT" {
		t.Errorf("the stream from the other is %s %q, want %q", got.header.Get("X-Vega-Cache"), got.body, streamed.body)
	}
	do(t, b.c, http.MethodPost, b.proxy+chatPath, strings.Replace(live, "the sea", "the wind", 1))
	b.written(4)
	if answer := a.want("the wind", "HIT"); !strings.Contains(answer, `"object":"chat.completion"`) || !strings.Contains(answer, "answer") {
		t.Errorf("a document from the other's stream is %s", answer)
	}

	// Many who ask at once are one lookup.
	b.want("the snow", "MISS")
	b.written(5)
	before, asked := a.l2(), answered.Load()
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			got, err := try(t.Context(), a.c, http.MethodPost, a.proxy+chatPath, strings.Replace(chat, "the sea", "the snow", 1))
			if err != nil || got.header.Get("X-Vega-Cache") != "HIT" {
				t.Errorf("%v, %v", got.header, err)
			}
		})
	}
	wg.Wait()
	if after := a.l2(); after.Hits != before.Hits+1 || after.Misses != before.Misses || answered.Load() != asked {
		t.Errorf("50 at once: before %+v, after %+v", before, after)
	}

	// What is only wanted from a cache is looked for there, what is wanted anew not.
	b.want("the fog", "MISS")
	b.written(6)
	a.want("the fog", "HIT", "Cache-Control", "only-if-cached")
	b.want("the hail", "MISS")
	b.written(7)
	a.want("the hail", "MISS", "Cache-Control", "no-cache")

	metrics := do(t, a.c, http.MethodGet, a.admin+"/metrics", "").body
	if !strings.Contains(metrics, "\nvega_cache_l2_hits_total ") || !strings.Contains(metrics, "\nvega_cache_l2_state 0\n") {
		t.Error("the metrics do not tell of the second tier")
	}
	lint(t, metrics)
	if status, reasons := a.health(); status != "healthy" {
		t.Errorf("health %s %q", status, reasons)
	}
	for _, r := range []*replica{a, b} {
		shown := do(t, r.c, http.MethodGet, r.admin+"/admin/config", "", "X-API-Key", r.key()).body
		if !strings.Contains(shown, "xxxxx@"+store.address()) || strings.Contains(shown+r.log.String(), "planted") {
			t.Error("the password is shown, or its URL is not")
		}
		r.signal(syscall.SIGTERM)
		r.wantExit(0)
	}
}

// TestClearReachesReplicas: also the one that could not hear it.
func TestClearReachesReplicas(t *testing.T) {
	t.Parallel()
	store := newRedis(t)
	backend, _ := numbering(t)
	between := newRelay(t, store.address())
	a := newReplica(t, backend, "redis://"+store.address(), patient).ready()
	b := newReplica(t, backend, "redis://"+between.ln.Addr().String(), patient).ready()
	writes, clears := 0, 0
	fill := func() { // both have it
		t.Helper()
		a.ask("the sea")
		writes++
		a.written(writes)
		b.want("the sea", "HIT")
	}
	gone := func(by string) {
		t.Helper()
		clears++
		b.heard(clears)
		got := do(t, b.c, http.MethodPost, b.proxy+chatPath, chat, "Cache-Control", "only-if-cached")
		if got.status != http.StatusGatewayTimeout {
			t.Errorf("after %s the other still gives it: %d %s", by, got.status, got.header.Get("X-Vega-Cache"))
		}
	}
	fill()
	a.clear("")
	gone("a clear")
	if s := a.l2(); s.PendingClears != 0 || s.HeardClears != 0 {
		t.Errorf("who cleared has %+v", s)
	}

	fill()
	do(t, a.c, http.MethodPost, a.proxy+"/api/pull", `{"model":"demo"}`).want(t, http.StatusOK, "")
	gone("a pull")
	got := do(t, b.c, http.MethodPost, b.proxy+chatPath, chat)
	if got.header.Get("X-Vega-Cache-Reason") != "cleared" {
		t.Errorf("the reason is %q", got.header.Get("X-Vega-Cache-Reason"))
	}
	b.written(1)
	a.want("the sea", "HIT") // what was answered afterwards is shared

	// Another model's are not cleared.
	a.clear("other")
	clears++
	b.heard(clears)
	b.want("the sea", "HIT")

	// The other is cut off when it is cleared.
	between.cut(true)
	until(t, "the connection is missed", func() bool { return !b.l2().Synced })
	a.clear("demo")
	b.want("the sea", "HIT") // it cannot know
	between.cut(false)
	gone("a clear that it could not hear")

	// And it is cut off when it clears itself.
	fill()
	between.cut(true)
	until(t, "the connection is missed", func() bool { return !b.l2().Synced })
	b.clear("demo")
	if s := b.l2(); s.PendingClears != 1 {
		t.Errorf("cut off: %+v", s)
	}
	if status, reasons := b.health(); status != "warning" || !containsAll(strings.Join(reasons, "\n"), []string{"second cache tier is not used", "1 clears"}) {
		t.Errorf("cut off: health %s %q", status, reasons)
	}
	between.cut(false)
	a.heard(1)
	b.ready()
	a.want("the sea", "MISS")
	if s := b.l2(); s.PendingClears != 0 {
		t.Errorf("connected again: %+v", s)
	}
}

// TestSharedCacheOutage: a second tier that dies, or hangs, costs what it had, and
// comes back by itself.
func TestSharedCacheOutage(t *testing.T) {
	t.Parallel()
	store := newRedis(t)
	backend, _ := numbering(t)
	const timeout = 400 * time.Millisecond
	a := newReplica(t, backend, "redis://"+store.address(), timeout.String()).ready()
	b := newReplica(t, backend, "redis://"+store.address(), timeout.String()).ready()
	n := 0
	fresh := func() string { n++; return fmt.Sprint("question ", n) }
	for _, outage := range []struct {
		name       string
		begin, end func()
	}{
		{"hangs", func() { store.signal(syscall.SIGSTOP) }, func() { store.signal(syscall.SIGCONT) }},
		{"is dead", store.kill, store.start},
	} {
		known, before := fresh(), a.l2().Writes
		a.want(known, "MISS")
		a.written(before + 1)
		b.want(known, "HIT")
		outage.begin()
		until(t, "the breaker opens when it "+outage.name, func() bool {
			if took := elapsed(func() { a.want(fresh(), "MISS") }); took > timeout*2 {
				t.Errorf("it %s: a request took %s", outage.name, took)
			}
			return a.l2().State != "closed"
		})
		if took := elapsed(func() {
			for range 20 {
				a.want(fresh(), "MISS")
			}
		}); took > 10*timeout {
			t.Errorf("it %s: 20 requests with the breaker open took %s", outage.name, took)
		}
		a.want(known, "HIT")
		b.want(known, "HIT")
		if status, reasons := a.health(); status != "warning" || len(reasons) == 0 {
			t.Errorf("it %s: health %s %q", outage.name, status, reasons)
		}
		do(t, a.c, http.MethodGet, a.admin+"/readyz", "").want(t, http.StatusOK, "")
		if s := a.l2(); s.Errors == 0 || *s.DroppedWrites == 0 || s.LastError == "" {
			t.Errorf("it %s: %+v", outage.name, s)
		}
		a.clear("nobody's") // told when it is back
		outage.end()
		a.ready()
		b.ready()
		until(t, "the clear is told", func() bool { return a.l2().PendingClears == 0 })
		a.want(known, "HIT")
		b.want(known, "HIT")
		before = a.l2().Writes
		again := fresh()
		a.want(again, "MISS")
		a.written(before + 1)
		b.want(again, "HIT")
	}
	a.wait(`"msg":"second cache tier"`, `"to":"open"`, `"level":"WARN"`)
	a.wait(`"msg":"second cache tier"`, `"to":"closed"`)
}

// TestSharedCacheSlow: one that answers too late comes to be left alone, and stays
// so until it is fast again.
func TestSharedCacheSlow(t *testing.T) {
	t.Parallel()
	store := newRedis(t)
	backend, _ := numbering(t)
	between := newRelay(t, store.address())
	const timeout = 200 * time.Millisecond
	a := newReplica(t, backend, "redis://"+between.ln.Addr().String(), timeout.String()).ready()
	between.delay.Store(int64(timeout))
	n := 0
	until(t, "the breaker opens", func() bool {
		n++
		if took := elapsed(func() { a.want(fmt.Sprint("question ", n), "MISS") }); took > 3*timeout {
			t.Errorf("a request took %s", took)
		}
		return a.l2().State != "closed"
	})
	a.wait(`"msg":"second cache tier"`, `"from":"half_open"`, `"to":"open"`) // it was tried, and is too slow
	if took := elapsed(func() { a.want("another", "MISS") }); took > timeout {
		t.Errorf("with the breaker open a request took %s", took)
	}
	between.delay.Store(0)
	a.ready()
}

// TestSharedCacheGarbage: whatever lies in Redis is a miss at worst, and what was
// cleared does not come back when Redis forgets the clear.
func TestSharedCacheGarbage(t *testing.T) {
	t.Parallel()
	store := newRedis(t)
	backend, _ := numbering(t)
	a := newReplica(t, backend, "redis://"+store.address(), patient).ready()
	b := newReplica(t, backend, "redis://"+store.address(), patient).ready()
	ctx := t.Context()
	spoils := []func(name string){
		func(name string) { store.must(store.client.Set(ctx, name, "garbage", 0).Err()) },
		func(name string) { store.must(store.client.Set(ctx, name, strings.Repeat("x", 8<<20), 0).Err()) },
		func(name string) { store.must(store.client.SetRange(ctx, name, 200, "!").Err()) },
		func(name string) {
			value, err := store.client.Get(ctx, name).Result()
			store.must(err)
			store.must(store.client.Set(ctx, name, value[:len(value)-9], 0).Err())
		},
		func(name string) {
			store.must(store.client.Del(ctx, name).Err())
			store.must(store.client.LPush(ctx, name, "a list").Err())
		},
	}
	var last string // a good value, to be put where it does not belong
	for i, spoil := range append(spoils, func(name string) { store.must(store.client.Set(ctx, name, last, 0).Err()) }) {
		names := store.values()
		question := fmt.Sprint("question ", i)
		a.want(question, "MISS")
		a.written(i + 1)
		for _, name := range store.values() {
			if !slices.Contains(names, name) {
				if i == 0 {
					last = store.client.Get(ctx, name).Val()
				}
				spoil(name)
			}
		}
		b.want(question, "MISS")
		if s := b.l2(); s.Invalid != i+1 || s.State != "closed" {
			t.Errorf("after %d kinds of garbage: %+v", i+1, s)
		}
		b.want(question, "HIT")
	}
	if s := b.l2(); s.Errors != 0 {
		t.Errorf("garbage counts as errors: %+v", s)
	}

	// All is gone, the clear too: it is told again, and what the first had before
	// does not come back by it.
	a.want("old", "MISS")
	a.clear("demo")
	b.heard(1)
	store.must(store.client.FlushAll(ctx).Err())
	until(t, "the second tier begins anew", func() bool {
		n, err := store.client.XLen(ctx, "vega:1:clears").Result()
		return err == nil && n >= 2
	})
	a.ready()
	b.ready()
	until(t, "the clear is told again", func() bool { return a.l2().PendingClears+b.l2().PendingClears == 0 })
	before := a.l2().Writes
	a.want("new", "MISS")
	a.written(before + 1)
	until(t, "b gives it", func() bool { _, status := b.ask("new", "Cache-Control", "no-store"); return status == "BYPASS" })
	b.want("new", "HIT")
	b.want("old", "MISS")

	// The log of clears is of the wrong type: the tier is left alone, with a reason.
	store.must(store.client.Del(ctx, "vega:1:clears", "vega:1:epoch").Err())
	store.must(store.client.Set(ctx, "vega:1:clears", "x", 0).Err())
	until(t, "the tier is left alone", func() bool { s := a.l2(); return s.State == "open" && strings.Contains(s.LastError, "WRONGTYPE") })
	a.want("more", "MISS")
	store.must(store.client.Del(ctx, "vega:1:clears").Err())
	a.ready()
}

// TestSharedCacheRefuses: a wrong password is no start, no delay and no secret lost.
func TestSharedCacheRefuses(t *testing.T) {
	t.Parallel()
	store := newRedis(t, "--requirepass", "right")
	backend, _ := numbering(t)
	a := newReplica(t, backend, "redis://:planted-wrong@"+store.address(), patient)
	a.want("the sea", "MISS")
	a.want("the sea", "HIT")
	until(t, "the breaker opens", func() bool { return a.l2().State != "closed" })
	status, reasons := a.health()
	if s := a.l2(); s.Synced || !strings.Contains(s.LastError, "WRONGPASS") || status != "warning" || !strings.Contains(strings.Join(reasons, ""), "WRONGPASS") {
		t.Errorf("%+v, health %s %q", s, status, reasons)
	}
	if strings.Contains(a.log.String(), "planted") {
		t.Error("the log shows the password")
	}
	a.signal(syscall.SIGTERM)
	a.wantExit(0)
}
