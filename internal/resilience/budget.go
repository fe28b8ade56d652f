package resilience

import (
	"sync"
	"time"
)

const (
	budgetWindow = 10 * time.Second
	budgetBucket = 100 * time.Millisecond
	// budgetFloor lets a quiet proxy retry at all.
	budgetFloor = 10
)

// RetryBudget bounds the load that retries add: in any 10 s, at most max(10,
// percent of the requests of these 10 s). Without it, retries multiply the load of
// an upstream just when it fails under it. All methods may be called from any
// goroutine.
type RetryBudget struct {
	start time.Time

	mu       sync.Mutex // guards what follows
	percent  int
	requests window
	retries  window
	refused  int64
}

// RetryStats is the budget of the last 10 s; Refused counts from the beginning.
type RetryStats struct {
	Requests int   `json:"requests"`
	Retries  int   `json:"retries"`
	Limit    int   `json:"limit"`
	Refused  int64 `json:"refused"`
}

// NewRetryBudget returns a budget of percent of the requests.
func NewRetryBudget(percent int) *RetryBudget {
	// The oldest bucket is partly older than the window. Retries are remembered
	// that much longer and requests are not, so the bound is never exceeded.
	n := int(budgetWindow / budgetBucket)
	return &RetryBudget{
		start:    time.Now(),
		percent:  percent,
		requests: window{buckets: make([]int, n)},
		retries:  window{buckets: make([]int, n+1)},
	}
}

// Configure replaces the percentage, and keeps the counts.
func (r *RetryBudget) Configure(percent int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.percent = percent
}

// Request tells the budget of one more request, its retries not counted.
func (r *RetryBudget) Request() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.advance()
	r.requests.add()
}

// Spend asks for one more retry and, if it may be made, counts it.
func (r *RetryBudget) Spend() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.advance()
	if r.retries.sum >= r.limit() {
		r.refused++
		return false
	}
	r.retries.add()
	return true
}

// Stats returns the numbers of this moment.
func (r *RetryBudget) Stats() RetryStats {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.advance()
	return RetryStats{Requests: r.requests.sum, Retries: r.retries.sum, Limit: r.limit(), Refused: r.refused}
}

func (r *RetryBudget) limit() int { return max(budgetFloor, r.requests.sum*r.percent/100) }

func (r *RetryBudget) advance() {
	now := int64(time.Since(r.start) / budgetBucket)
	r.requests.advance(now)
	r.retries.advance(now)
}

// window counts events in a ring of buckets, the newest of which is head.
type window struct {
	buckets []int
	head    int64
	sum     int
}

func (w *window) add() {
	w.buckets[w.head%int64(len(w.buckets))]++
	w.sum++
}

// advance moves head to now and forgets what fell out on the way.
func (w *window) advance(now int64) {
	n := int64(len(w.buckets))
	for i := max(w.head, now-n) + 1; i <= now; i++ {
		w.sum -= w.buckets[i%n]
		w.buckets[i%n] = 0
	}
	w.head = now
}
