package stream

import "time"

// pacer sizes a buffer by its client: it may hold what the client takes in a
// second, within the configured bounds. For a slow client a large buffer would
// only be memory; a fast one with hiccups has use for it. Only the time during
// which something waits for the client says how fast it is.
type pacer struct {
	cfg   AdaptiveConfig
	size  int
	since time.Time
	taken int // events since then
}

// pace is how often the size is set anew.
const pace = time.Second / 4

func newPacer(cfg AdaptiveConfig) pacer { return pacer{cfg: cfg, size: cfg.Initial} }

// begin tells that something waits for the client from now on.
func (p *pacer) begin(now time.Time) { p.since, p.taken = now, 0 }

// took counts events that the client took, and resizes when it is time.
func (p *pacer) took(n int, now time.Time) {
	p.taken += n
	d := now.Sub(p.since)
	if d < pace {
		return
	}
	perSecond := int(float64(p.taken) / d.Seconds())
	// Half way at a time: one hiccup says little.
	p.size = min(max((p.size+perSecond)/2, p.cfg.Min), p.cfg.Max)
	p.since, p.taken = now, 0
}
