package stream

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// The queue against a plain slice: random pushes, pops and drops.
func TestQueue(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 1))
	var q queue
	var want []event
	for i := range 20_000 {
		switch n := rnd.IntN(10); {
		case n < 5 && len(want) < 100:
			e := event{bytes: make([]byte, rnd.IntN(9)), whole: rnd.IntN(5) > 0, keep: rnd.IntN(5) == 0}
			q.push(e)
			want = append(want, e)
		case n < 8:
			if len(want) == 0 {
				continue
			}
			if len(q.oldest().bytes) != len(want[0].bytes) {
				t.Fatalf("step %d: another is the oldest", i)
			}
			if got := q.pop(); len(got.bytes) != len(want[0].bytes) || got.keep != want[0].keep {
				t.Fatalf("step %d: popped %+v, want %+v", i, got, want[0])
			}
			want = want[1:]
		default:
			got, ok := q.dropOldest()
			at := -1
			if len(want) > 0 {
				at = slices.IndexFunc(want[:len(want)-1], func(e event) bool { return e.whole && !e.keep })
			}
			if ok != (at >= 0) {
				t.Fatalf("step %d: dropped %v", i, ok)
			}
			if ok {
				if len(got.bytes) != len(want[at].bytes) || got.keep || !got.whole {
					t.Fatalf("step %d: dropped %+v, want %+v", i, got, want[at])
				}
				want = slices.Delete(slices.Clone(want), at, at+1)
			}
		}
		bytes := int64(0)
		for j, e := range want {
			bytes += int64(len(e.bytes))
			if got := q.events[(q.head+j)%len(q.events)]; len(got.bytes) != len(e.bytes) || got.whole != e.whole || got.keep != e.keep {
				t.Fatalf("step %d: event %d is %+v, want %+v", i, j, got, e)
			}
		}
		if q.n != len(want) || q.bytes != bytes {
			t.Fatalf("step %d: %d events of %d bytes, want %d of %d", i, q.n, q.bytes, len(want), bytes)
		}
	}
	for i, e := range q.events {
		if held := (i-q.head+len(q.events))%len(q.events) < q.n; !held && e.bytes != nil {
			t.Fatal("an event that is gone is still referred to")
		}
	}
}
