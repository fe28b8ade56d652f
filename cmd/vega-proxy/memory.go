package main

import (
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
)

const (
	// spareGarbage is how many bytes of garbage may lie before they are
	// collected, as long as that is more than the live heap. The live heap of a
	// proxy without much in its cache is so small that the default, as much
	// garbage as is live, would have it collected hundreds of times a second
	// under load.
	spareGarbage = 32 << 20
	leastPercent = 100 // the default
	mostPercent  = 400
)

// spendMemory sets how much garbage may lie, and sets it anew after each
// collection: a full cache must not cost five times its size. Who sets GOGC or
// GOMEMLIMIT knows better.
func spendMemory() {
	if os.Getenv("GOGC") != "" || os.Getenv("GOMEMLIMIT") != "" {
		return
	}
	debug.SetGCPercent(mostPercent)
	afterCollection(mostPercent)
}

// afterCollection sets the percentage by the live heap when the next collection
// has ended, and so on.
func afterCollection(percent int) {
	type sentinel struct{ _ [16]byte }
	runtime.AddCleanup(new(sentinel), func(percent int) {
		live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
		metrics.Read(live)
		next := percentFor(live[0].Value.Uint64())
		if next != percent {
			debug.SetGCPercent(next)
		}
		afterCollection(next)
	}, percent)
}

func percentFor(live uint64) int {
	return int(min(max(spareGarbage*100/max(live, 1), leastPercent), mostPercent))
}
