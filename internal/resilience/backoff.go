package resilience

import (
	"math/rand/v2"
	"time"
)

// Backoff draws the wait before a further try, attempt 1 being the first of them:
// anything from 0 to BaseBackoff × 2^(attempt−1), at most MaxBackoff. The full
// range, and not a band around its end, spreads clients that failed together
// furthest.
func (c RetryConfig) Backoff(attempt int) time.Duration {
	limit := doubled(c.BaseBackoff, max(attempt-1, 0), c.MaxBackoff)
	return time.Duration(rand.Float64() * float64(limit))
}

// doubled returns base × 2^n, at most limit, without overflow.
func doubled(base time.Duration, n int, limit time.Duration) time.Duration {
	if base > limit>>n {
		return limit
	}
	return base << n
}
