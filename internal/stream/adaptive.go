package stream

import "time"

// pacer sizes a buffer by its client: it may hold what the client takes in a
// second, within the configured bounds. A client that takes nothing has the
// smallest buffer, since more would only be memory; a fast one with hiccups has a
// large one.
type pacer struct {
	cfg   AdaptiveConfig
	size  int
	since time.Time
	taken int // events since then
}

// pace is how often the size is set anew.
const pace = time.Second / 4

func newPacer(cfg AdaptiveConfig) pacer { return pacer{cfg: cfg, size: cfg.Initial} }

// took counts events that the client took, and resizes when it is time.
func (p *pacer) took(n int, now time.Time) {
	if p.since.IsZero() {
		p.since = now
	}
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
