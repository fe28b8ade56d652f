package main

import (
	"cmp"
	"slices"

	"github.com/vega-proxy/vega-proxy/internal/stream"
)

// streams shows the running streams to the admin API.
type streams struct{ *stream.Registry }

func (s streams) List() (live, recent any) { return s.Registry.List() }

// Digest picks the streams whose buffers are in the worst state, and of those the
// oldest, and leaves them in the order of List.
func (s streams) Digest(limit int) (live, recent any, total int) {
	running, ended := s.Registry.List()
	total = len(running)
	if total > limit {
		slices.SortStableFunc(running, func(a, b stream.View) int { return cmp.Compare(b.State, a.State) })
		running = running[:limit]
		slices.SortFunc(running, func(a, b stream.View) int { return a.StartedAt.Compare(b.StartedAt) })
	}
	return running, ended[:min(len(ended), limit)], total
}
