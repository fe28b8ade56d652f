package admin

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

const (
	// beat is how often viewers can hear something new.
	beat = 500 * time.Millisecond
	// maxViewers bounds the connections, and so the sockets and goroutines, that
	// dashboards hold.
	maxViewers = 16
	// shownStreams is how many streams viewers are shown, of however many run.
	shownStreams = 50
)

// feed is what viewers see change: a few values, looked at now and then by one
// goroutine for all viewers, and not at all while there is none. Only the figures
// of the last hour are kept up always.
//
// A viewer is told that there is news, and takes the latest of each value: one
// who is slow misses values in between, and nothing waits for him.
type feed struct {
	metrics  prometheus.Gatherer
	log      *slog.Logger
	sections []section
	woken    chan struct{} // the first viewer has come; holds one
	done     chan struct{} // closed when run has ended

	mu      sync.Mutex // guards all below
	history history
	viewers map[chan struct{}]struct{}
	latest  []version // of each section
}

// section is one value that viewers see. What has no read is published when it
// comes.
type section struct {
	name  string
	every int // beats
	read  func(now time.Time) any
}

// version is a section as it was last read; the number changes with it, and 0 is
// not read yet.
type version struct {
	number int
	body   []byte
}

// newFeed lists what viewers see; each section has the JSON of the endpoint that
// shows the same.
func newFeed(s *Server) *feed {
	f := &feed{
		metrics: s.parts.Metrics,
		log:     s.log,
		woken:   make(chan struct{}, 1),
		done:    make(chan struct{}),
		viewers: map[chan struct{}]struct{}{},
	}
	show := func(name string, every int, read func() any) {
		f.sections = append(f.sections, section{name, every, func(time.Time) any { return read() }})
	}
	show("health", 2, s.report)
	if b := s.parts.Breakers; b != nil {
		show("breakers", 1, s.breakers)
		show("transitions", 1, s.transitions)
	}
	if st := s.parts.Streams; st != nil {
		show("streams", 1, func() any {
			live, recent, total := st.Digest(shownStreams)
			return map[string]any{"streams": live, "recent": recent, "total": total}
		})
	}
	if c := s.parts.Cache; c != nil {
		show("cache", 2, c.Stats)
	}
	if j := s.parts.Log; j != nil {
		show("log", 2, j.Stats)
	}
	f.sections = append(f.sections, section{"now", 2, f.now}, section{name: "point"})
	f.latest = make([]version, len(f.sections))
	return f
}

// newest is the index of the section that holds the history's newest point.
func (f *feed) newest() int { return len(f.sections) - 1 }

// join makes the caller a viewer until leave; news holds one when there is
// something new. It refuses beyond maxViewers.
func (f *feed) join() (news chan struct{}, leave func(), ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.viewers) >= maxViewers {
		return nil, nil, false
	}
	news = make(chan struct{}, 1)
	if len(f.viewers) == 0 {
		clear(f.latest) // from when somebody last looked
		nudge(f.woken)
	}
	f.viewers[news] = struct{}{}
	return news, func() {
		f.mu.Lock()
		delete(f.viewers, news)
		f.mu.Unlock()
	}, true
}

func nudge(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// run looks at what is shown until ctx ends.
func (f *feed) run(ctx context.Context) {
	defer close(f.done)
	sampled := time.Now()
	f.sample(sampled)
	timer := time.NewTimer(historyStep)
	defer timer.Stop()
	for n := 0; ; n++ {
		select {
		case <-ctx.Done():
			return
		case <-f.woken:
			n = 0
		case <-timer.C:
		}
		now := time.Now()
		if now.Sub(sampled) >= historyStep {
			sampled = now
			f.sample(now)
		}
		rest := historyStep - now.Sub(sampled)
		if f.watched() {
			rest = beat
			f.look(n, now)
		}
		timer.Reset(rest)
	}
}

func (f *feed) watched() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.viewers) > 0
}

// sample adds a point to the history.
func (f *feed) sample(now time.Time) {
	s := f.read(now)
	f.mu.Lock()
	p, ok := f.history.add(s)
	f.mu.Unlock()
	if ok {
		f.publish(f.newest(), p)
	}
}

func (f *feed) read(now time.Time) *sample {
	// On an error the rest is there all the same, and /metrics logs it.
	families, _ := f.metrics.Gather()
	return newSample(now, families)
}

// now is a point of this moment, which the history does not get; nil before there
// is another to compare with.
func (f *feed) now(now time.Time) any {
	s := f.read(now)
	f.mu.Lock()
	defer f.mu.Unlock()
	p, ok := f.history.point(s)
	if !ok {
		return nil
	}
	return p
}

// look reads the sections whose turn it is.
func (f *feed) look(n int, now time.Time) {
	for i, s := range f.sections {
		if s.read != nil && n%s.every == 0 {
			f.publish(i, s.read(now))
		}
	}
}

// publish makes a value the latest of its section, if it is another than before.
func (f *feed) publish(i int, value any) {
	body, err := json.Marshal(value)
	if err != nil { // a part's value is no JSON
		f.log.Error("what viewers should see is no JSON", "section", f.sections[i].name, "error", err)
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	last := &f.latest[i]
	if last.number > 0 && bytes.Equal(last.body, body) {
		return
	}
	last.number++
	last.body = body
	for news := range f.viewers {
		nudge(news)
	}
}
