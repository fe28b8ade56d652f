package cache

import (
	"maps"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/vega-proxy/vega-proxy/internal/cache/l2"
)

// Stats is the cache's state at one moment. A request that was answered from
// the cache is a hit, one for which it had nothing a miss; one that shared another's
// answer is neither, and counted as coalesced. Who was refused is nothing of these.
type Stats struct {
	Size          int64   `json:"size"`
	MaxSize       int     `json:"maxsize"`
	Bytes         int64   `json:"bytes"` // with what an entry takes beside its body
	MaxBytes      int64   `json:"max_bytes"`
	TTLSeconds    int     `json:"ttl_seconds"`
	Hits          uint64  `json:"hits"`
	Misses        uint64  `json:"misses"`
	Coalesced     uint64  `json:"coalesced"`
	StaleServed   uint64  `json:"stale_served"`
	Evictions     uint64  `json:"evictions"`
	Expirations   uint64  `json:"expirations"`
	Rejected      uint64  `json:"rejected"` // answers that were not kept
	HitRate       float64 `json:"hit_rate"` // 0 before the first request
	TotalRequests uint64  `json:"total_requests"`
	// L2 is the second tier's own account, nil if there is none. What was found
	// there counts as a hit above, like any other.
	L2 *l2.Stats `json:"l2,omitempty"`

	reasons map[Reason]uint64
}

// Stats reads all counts. Expired entries are no longer in the size.
func (c *Cache) Stats() Stats {
	s := Stats{
		MaxSize: c.cfg().MaxSize, MaxBytes: c.cfg().MaxBytes, TTLSeconds: c.cfg().TTLSeconds,
		Hits: c.hits.Load(), Misses: c.misses.Load(), Coalesced: c.coalesced.Load(), StaleServed: c.stale.Load(),
		reasons: c.rejections.read(),
	}
	for _, n := range s.reasons {
		s.Rejected += n
	}
	c.sweep()
	s.Size, s.Bytes = c.store.size(), c.store.bytes.Load()
	s.Evictions, s.Expirations = c.store.evictions.Load(), c.store.expirations.Load()
	if c.tier != nil {
		l2 := c.tier.Stats()
		s.L2 = &l2
	}
	s.TotalRequests = s.Hits + s.Misses
	if s.TotalRequests > 0 {
		s.HitRate = float64(s.Hits) / float64(s.TotalRequests)
	}
	return s
}

// sweep drops what has expired, and remembers that it has.
func (c *Cache) sweep() {
	c.store.arrive()
	gone := c.store.sweep(time.Now())
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, e := range gone {
		c.notes.put(e.slot(), Expired)
	}
}

// rejections count the answers that were not kept.
type rejections struct {
	mu sync.Mutex
	by map[Reason]uint64
}

func (r *rejections) add(why Reason) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.by == nil {
		r.by = make(map[Reason]uint64)
	}
	r.by[why]++
}

func (r *rejections) read() map[Reason]uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return maps.Clone(r.by)
}

var (
	hitsDesc        = desc("llm_cache_hits_total", "Requests that were answered from the cache.")
	missesDesc      = desc("llm_cache_misses_total", "Requests that the cache could have answered and did not, save those that were refused.")
	coalescedDesc   = desc("vega_cache_coalesced_total", "Requests that shared the answer to an equal one.")
	staleDesc       = desc("vega_cache_stale_total", "Expired or kept answers given since the upstream was not to be asked.")
	evictionsDesc   = desc("vega_cache_evictions_total", "Entries that were given up for want of room.")
	expirationsDesc = desc("vega_cache_expirations_total", "Entries that were given up since their time was over.")
	rejectedDesc    = desc("vega_cache_rejected_total", "Answers that were not kept, by the reason.", "reason")
	entriesDesc     = desc("vega_cache_entries", "Entries in the cache.")
	bytesDesc       = desc("vega_cache_bytes", "Bytes that the entries take.")
)

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(name, help, labels, nil)
}

// Describe and Collect make the cache a prometheus.Collector, with the figures
// that Stats has.
func (c *Cache) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		hitsDesc, missesDesc, coalescedDesc, staleDesc, evictionsDesc, expirationsDesc, rejectedDesc, entriesDesc, bytesDesc,
	} {
		ch <- d
	}
	if c.tier != nil {
		c.tier.Describe(ch)
	}
}

// Collect reads the counts.
func (c *Cache) Collect(ch chan<- prometheus.Metric) {
	s := c.Stats()
	count := func(d *prometheus.Desc, n uint64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n), labels...)
	}
	count(hitsDesc, s.Hits)
	count(missesDesc, s.Misses)
	count(coalescedDesc, s.Coalesced)
	count(staleDesc, s.StaleServed)
	count(evictionsDesc, s.Evictions)
	count(expirationsDesc, s.Expirations)
	for why, n := range s.reasons {
		count(rejectedDesc, n, string(why))
	}
	for _, why := range unkept {
		if s.reasons[why] == 0 {
			count(rejectedDesc, 0, string(why)) // a series that appears with its first event hides it from rate
		}
	}
	ch <- prometheus.MustNewConstMetric(entriesDesc, prometheus.GaugeValue, float64(s.Size))
	ch <- prometheus.MustNewConstMetric(bytesDesc, prometheus.GaugeValue, float64(s.Bytes))
	if c.tier != nil {
		c.tier.Collect(ch)
	}
}
