package main

import (
	"math"
	"slices"
)

// estimate is a median with the interval that holds it.
type estimate struct {
	n         int
	mid       float64
	low, high float64
}

// minRounds is the fewest rounds that give a 95 % interval: with five, even
// the whole range misses the median once in 16.
const minRounds = 6

// estimateMedian returns the median of vs and the narrowest symmetric pair of
// order statistics that holds the true median with a probability of at least
// 95 %. That assumes nothing of the values' distribution. Below minRounds the
// pair is the whole range.
func estimateMedian(vs []float64) estimate {
	n := len(vs)
	if n == 0 {
		return estimate{}
	}
	vs = slices.Sorted(slices.Values(vs))
	k := outside(n)
	return estimate{n: n, mid: (vs[(n-1)/2] + vs[n/2]) / 2, low: vs[k], high: vs[n-1-k]}
}

// outside is how many of n sorted values may be left out at either end. The
// true median lies beyond the k-th value from an end if at most k of n values
// fall on that side of it, each with a probability of one half.
func outside(n int) int {
	tail, k := math.Pow(0.5, float64(n)), 0
	for term := tail; ; k++ {
		term *= float64(n-k) / float64(k+1)
		if tail += term; 2*tail > 0.05 {
			return k
		}
	}
}
