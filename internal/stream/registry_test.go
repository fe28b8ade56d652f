package stream

import (
	"encoding/json"
	"fmt"
	"slices"
	"sort"
	"testing"
	"testing/synctest"
	"time"
)

func idle(t *testing.T) *Buffer {
	c := newClient(1<<20, 1e9)
	b, _ := newWatched(t, settings(), c, nil)
	return b
}

func ids(views []View) (ids []string) {
	for _, v := range views {
		ids = append(ids, v.ID)
	}
	return ids
}

func TestRegistry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := NewRegistry()
		var lives []*Live
		var cancelled []string
		for i := range 250 {
			id := fmt.Sprint(i)
			lives = append(lives, r.Add(Info{ID: id, StartedAt: time.Now()}, idle(t), func() { cancelled = append(cancelled, id) }))
			time.Sleep(time.Second)
		}
		live, recent := r.List()
		if got := ids(live); len(got) != 250 || got[0] != "0" || got[249] != "249" || len(recent) != 0 {
			t.Errorf("%d live from %s to %s, %d recent", len(got), got[0], got[249], len(recent))
		}
		if !r.Cancel("7") || r.Cancel("none") || !slices.Equal(cancelled, []string{"7"}) {
			t.Errorf("cancelled %q", cancelled)
		}
		for i, l := range lives {
			r.End(l, []string{"upstream", "stall"}[i%2])
			_, recent := r.List()
			got := ids(recent)
			if want := min(i+1, recentStreams); len(got) != want || got[0] != fmt.Sprint(i) || got[want-1] != fmt.Sprint(i+1-want) {
				t.Fatalf("%d recent, from %s to %s", len(got), got[0], got[len(got)-1])
			}
			if v := recent[0]; v.EndedBy != []string{"upstream", "stall"}[i%2] || v.EndedAt == nil || !v.EndedAt.Equal(time.Now()) {
				t.Fatalf("ended by %q at %v", v.EndedBy, v.EndedAt)
			}
		}
		if live, _ := r.List(); len(live) != 0 || r.Cancel("8") {
			t.Errorf("%d are still listed", len(live))
		}
	})
}

// An id that the client chose may come twice: both end.
func TestRegistryCancelsAllOfAnID(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, n := NewRegistry(), 0
		for range 2 {
			r.Add(Info{ID: "same"}, idle(t), func() { n++ })
		}
		if !r.Cancel("same") || n != 2 {
			t.Errorf("%d were cancelled", n)
		}
	})
}

func TestViewJSON(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := NewRegistry()
		cfg := settings()
		c := newClient(100, 0)
		b, _ := newWatched(t, cfg, c, nil)
		l := r.Add(Info{ID: "i", Model: "m", Upstream: "u", Client: "1.2.3.4:5", Dialect: "openai", StartedAt: time.Now()}, b, func() {})
		fields := func() map[string]any {
			live, recent := r.List()
			raw, err := json.Marshal(append(live, recent...)[0])
			if err != nil {
				t.Fatal(err)
			}
			got := map[string]any{}
			if err := json.Unmarshal(raw, &got); err != nil {
				t.Fatal(err)
			}
			return got
		}
		fillUp(t, b, c) // 101 bytes
		for range 8 {
			put(b, ev("1")) // 9 bytes
		}
		time.Sleep(2 * time.Second)
		want := map[string]any{
			"id": "i", "model": "m", "upstream": "u", "client": "1.2.3.4:5", "dialect": "openai", "started_at": "2000-01-01T00:00:00Z",
			"time_to_first_token_seconds": nil,
			"state":                       "warning", "buffer_size": 8.0, "buffer_capacity": 10.0, "buffer_usage_percent": 80.0,
			"chunks_produced": 9.0, "chunks_consumed": 1.0, "chunks_in_flight": 8.0, "chunks_dropped": 0.0,
			"bytes_produced": 173.0, "bytes_consumed": 101.0, "overflow_count": 0.0, "max_buffer_size": 8.0,
			"throttle_time_seconds": 0.0, "duration_seconds": 2.0,
			"throughput_chunks_per_sec": 0.5, "throughput_bytes_per_sec": 50.5,
		}
		compare(t, fields(), want)
		l.FirstToken(1500 * time.Millisecond)
		c.setRate(1e6)
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
		r.End(l, "stall")
		got := fields()
		if got["time_to_first_token_seconds"] != 1.5 || got["ended_by"] != "stall" || got["ended_at"] == nil || got["state"] != "normal" || got["chunks_in_flight"] != 0.0 {
			t.Errorf("ended: %v", got)
		}
	})
}

func compare(t *testing.T, got, want map[string]any) {
	t.Helper()
	var keys []string
	for k := range got {
		keys = append(keys, k)
	}
	for k := range want {
		if _, ok := got[k]; !ok {
			keys = append(keys, k)
		}
	}
	sort.Strings(keys)
	for _, k := range keys {
		if g, ok := got[k]; !ok || g != want[k] {
			t.Errorf("%s is %v, want %v", k, g, want[k])
		}
	}
}
