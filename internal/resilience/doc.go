// Package resilience decides whether an upstream may be asked now, and how often
// again: a circuit breaker on sony/gobreaker, a retry budget with its backoff, and
// a limiter of requests in flight with a fair, bounded queue.
//
// It counts outcomes and time and nothing else: what a status, an error or a body
// means is judged by the caller, who says Success, Failure or Neutral. It opens no
// connection, knows no HTTP, writes no log and starts no goroutine that outlives a
// call; the lease of a half-open probe is a timer.
package resilience
