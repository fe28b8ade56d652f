package l2

import (
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/vega-proxy/vega-proxy/internal/resilience"
)

type counts struct {
	hits, misses, errors, invalid, writes, dropped, heard atomic.Uint64
}

// Stats is the tier's state at one moment.
type Stats struct {
	// State is the breaker's. It is closed also before the first connection,
	// which Synced tells of.
	State resilience.State `json:"state"`
	// Synced tells that all clears of the other replicas are known: before that
	// nothing is looked up.
	Synced bool `json:"synced"`

	Hits          uint64 `json:"hits"`           // lookups that found a value to give
	Misses        uint64 `json:"misses"`         // and those that did not
	Errors        uint64 `json:"errors"`         // calls that failed, lookups and others
	Invalid       uint64 `json:"invalid"`        // values that could not be read
	Writes        uint64 `json:"writes"`         // values written
	DroppedWrites uint64 `json:"dropped_writes"` // values not written
	HeardClears   uint64 `json:"heard_clears"`   // clears that others made

	PendingClears int    `json:"pending_clears"` // own ones that the others do not know yet
	LastError     string `json:"last_error"`     // "" if there was none
}

// Stats reads all counts.
func (t *Tier) Stats() Stats {
	s := Stats{
		State: t.breaker.State(), Synced: t.synced.Load(),
		Hits: t.counts.hits.Load(), Misses: t.counts.misses.Load(),
		Errors: t.counts.errors.Load(), Invalid: t.counts.invalid.Load(),
		Writes: t.counts.writes.Load(), DroppedWrites: t.counts.dropped.Load(), HeardClears: t.counts.heard.Load(),
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	s.PendingClears, s.LastError = len(t.clears.pending), t.lastError
	return s
}

var (
	hitsDesc    = desc("hits_total", "Lookups in the second cache tier that found an answer.")
	missesDesc  = desc("misses_total", "Lookups in the second cache tier that found none.")
	errorsDesc  = desc("errors_total", "Calls to the second cache tier that failed.")
	invalidDesc = desc("invalid_total", "Values in the second cache tier that could not be read.")
	writesDesc  = desc("writes_total", "Answers written to the second cache tier.")
	droppedDesc = desc("dropped_writes_total", "Answers that were not written to the second cache tier.")
	heardDesc   = desc("heard_clears_total", "Clears of the cache that other replicas made.")
	pendingDesc = desc("pending_clears", "Clears of the cache that the other replicas do not know yet.")
	stateDesc   = desc("state", "The breaker of the second cache tier: 0 closed, 1 half open, 2 open.")
	syncedDesc  = desc("synced", "Whether all clears of other replicas are known: 1, else 0, and nothing is looked up.")
)

func desc(name, help string) *prometheus.Desc {
	return prometheus.NewDesc("vega_cache_l2_"+name, help, nil, nil)
}

// Describe and Collect make the tier a prometheus.Collector, with the figures that
// Stats has.
func (t *Tier) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		hitsDesc, missesDesc, errorsDesc, invalidDesc, writesDesc, droppedDesc, heardDesc, pendingDesc, stateDesc, syncedDesc,
	} {
		ch <- d
	}
}

// Collect reads the counts.
func (t *Tier) Collect(ch chan<- prometheus.Metric) {
	s := t.Stats()
	metric := func(d *prometheus.Desc, kind prometheus.ValueType, value float64) {
		ch <- prometheus.MustNewConstMetric(d, kind, value)
	}
	metric(hitsDesc, prometheus.CounterValue, float64(s.Hits))
	metric(missesDesc, prometheus.CounterValue, float64(s.Misses))
	metric(errorsDesc, prometheus.CounterValue, float64(s.Errors))
	metric(invalidDesc, prometheus.CounterValue, float64(s.Invalid))
	metric(writesDesc, prometheus.CounterValue, float64(s.Writes))
	metric(droppedDesc, prometheus.CounterValue, float64(s.DroppedWrites))
	metric(heardDesc, prometheus.CounterValue, float64(s.HeardClears))
	metric(pendingDesc, prometheus.GaugeValue, float64(s.PendingClears))
	metric(stateDesc, prometheus.GaugeValue, float64(s.State))
	synced := 0.0
	if s.Synced {
		synced = 1
	}
	metric(syncedDesc, prometheus.GaugeValue, synced)
}
