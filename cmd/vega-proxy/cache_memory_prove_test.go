//go:build prove

package main

import "testing"

// TestMillionAnswers puts a million different answers through a cache of 64 MiB:
// the process never takes more than docs/caching.md says.
func TestMillionAnswers(t *testing.T) {
	if raceEnabled {
		t.Fatal("the race detector takes memory of its own: run this without")
	}
	const size = 64
	p := serve(t, upstreamAt(distinct(t))+cacheOf(size))
	flood(t, p, 1, 100)
	idle, _ := p.resident()
	flood(t, p, 101, 1_000_000)
	now, most := p.resident()
	t.Logf("idle %d MiB, then %d MiB, at most %d MiB; the cache holds %.1f MiB in %.0f entries",
		idle/mib, now/mib, most/mib, p.gauge("vega_cache_bytes")/mib, p.gauge("vega_cache_entries"))
	if most > idle+5*size*mib/2+16*mib {
		t.Errorf("the process has taken %d MiB", most/mib)
	}
}
