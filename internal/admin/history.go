package admin

import (
	"encoding/json"
	"time"
)

const (
	// historyStep is the time between two points of the history, of which
	// historyLength are kept: the last hour, in about 150 KB.
	historyStep   = 5 * time.Second
	historyLength = 720
	// quantileWindow is over how much time quantiles and the hit rate are taken.
	quantileWindow = time.Minute
	keptSamples    = int(quantileWindow/historyStep) + 1
)

// history is the figures of the last hour. It is for one goroutine at a time.
type history struct {
	samples []*sample // the last keptSamples, the newest last
	points  []point   // a ring, the oldest at next once it is full
	next    int
}

// add takes a sample in, and returns the point that it makes with those before
// it; none for the first.
func (h *history) add(s *sample) (p point, ok bool) {
	if len(h.samples) > 0 {
		p, ok = h.point(s)
	}
	if len(h.samples) == keptSamples {
		copy(h.samples, h.samples[1:])
		h.samples = h.samples[:keptSamples-1]
	}
	h.samples = append(h.samples, s)
	if !ok {
		return p, false
	}
	if len(h.points) < historyLength {
		h.points = append(h.points, p)
		return p, true
	}
	h.points[h.next] = p
	h.next = (h.next + 1) % historyLength
	return p, true
}

// point is what a sample makes with those before it, without being kept. Rates
// are over one to two steps, so that they do not jump.
func (h *history) point(s *sample) (point, bool) {
	for i := len(h.samples) - 1; i >= 0; i-- {
		recent := h.samples[i]
		if i == 0 && s.at.After(recent.at) || s.at.Sub(recent.at) >= historyStep {
			return newPoint(h.samples[0], recent, s), true
		}
	}
	return point{}, false
}

// MarshalJSON writes a list for each figure, the oldest first.
func (h *history) MarshalJSON() ([]byte, error) {
	ordered := append(append(make([]point, 0, len(h.points)), h.points[h.next:]...), h.points[:h.next]...)
	at := make([]float64, len(ordered))
	all := map[string]any{"step_seconds": historyStep.Seconds(), "at": at}
	for i, name := range figureNames {
		column := make([]*float64, len(ordered))
		for j, p := range ordered {
			column[j] = number(p.figures[i])
		}
		all[name] = column
	}
	for j, p := range ordered {
		at[j] = unix(p.at)
	}
	return json.Marshal(all)
}
