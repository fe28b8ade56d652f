package monitor

import (
	"slices"
	"time"
)

const (
	growthEvery  = time.Minute
	growthWindow = 120 // samples
)

// Growth is how the resident memory develops. It is 0 until there is an hour of samples.
type Growth struct {
	MBPerHour float64 `json:"mb_per_hour"`
	// Ratio is the growth of an hour as a part of the memory now: 0.1 is 10 %.
	Ratio float64 `json:"ratio_per_hour"`
}

// trend is the last two hours of a size, minute by minute.
type trend struct {
	samples []sizeSample
}

type sizeSample struct {
	at   time.Duration
	size float64
}

func (t *trend) add(at time.Duration, size float64) {
	if n := len(t.samples); n > 0 && at-t.samples[n-1].at < growthEvery {
		return
	}
	if len(t.samples) == growthWindow {
		t.samples = slices.Delete(t.samples, 0, 1)
	}
	t.samples = append(t.samples, sizeSample{at, size})
}

// growth fits a line by Theil and Sen: the median of the slopes of all pairs. A
// spike, or a step when the load changes, does not bend it as it would the slope
// of two points or of least squares.
func (t *trend) growth() Growth {
	n := len(t.samples)
	if n < 2 || t.samples[n-1].at-t.samples[0].at < time.Hour {
		return Growth{}
	}
	slopes := make([]float64, 0, n*(n-1)/2)
	sizes := make([]float64, n)
	for i, a := range t.samples {
		sizes[i] = a.size
		for _, b := range t.samples[i+1:] {
			slopes = append(slopes, (b.size-a.size)/(b.at-a.at).Hours())
		}
	}
	slope, typical := median(slopes), median(sizes)
	g := Growth{MBPerHour: slope / mb}
	if typical > 0 {
		g.Ratio = slope / typical
	}
	return g
}

// median sorts its argument.
func median(v []float64) float64 {
	slices.Sort(v)
	n := len(v)
	return (v[(n-1)/2] + v[n/2]) / 2
}
