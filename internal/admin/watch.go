package admin

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"time"
)

const (
	// heartbeat shows both ends of a quiet stream that the other is there.
	heartbeat = 15 * time.Second
	// viewerTimeout is how long a viewer may take nothing.
	viewerTimeout = 10 * time.Second
)

// watch sends a viewer what changes, as server-sent events whose names are the
// sections', until it leaves, shows a key that is no longer the right one, or the
// server stops. First come the figures of the last hour.
func (s *Server) watch(w http.ResponseWriter, r *http.Request) {
	news, leave, ok := s.feed.join()
	if !ok {
		w.Header().Set("Retry-After", "5")
		refuse(w, &refusal{status: http.StatusServiceUnavailable, code: "too_many_viewers",
			message: fmt.Sprintf("%d dashboards are open already, which is the limit; close one of them", maxViewers)})
		return
	}
	defer leave()
	w.Header().Set("Content-Type", "text/event-stream")
	if r.Method == http.MethodHead {
		return
	}
	tick := time.NewTicker(heartbeat)
	defer tick.Stop()
	v := viewer{feed: s.feed, w: w, to: http.NewResponseController(w), seen: make([]int, len(s.feed.sections))}
	for send := v.first; ; send = v.changes {
		if !send() {
			return
		}
		select {
		case <-r.Context().Done():
			return
		case <-s.feed.done:
			return
		case <-news:
		case <-tick.C:
			v.buf.WriteString(":\n\n")
		}
		if !s.key.matches(shownKey(r)) {
			return
		}
	}
}

// viewer is one reader of the events.
type viewer struct {
	feed *feed
	w    http.ResponseWriter
	to   *http.ResponseController
	seen []int // the version of each section
	buf  bytes.Buffer
}

// first sends the history, after which its newest point is old.
func (v *viewer) first() bool {
	v.feed.mu.Lock()
	body, err := json.Marshal(&v.feed.history)
	v.seen[v.feed.newest()] = v.feed.latest[v.feed.newest()].number
	v.feed.mu.Unlock()
	if err != nil { // numbers and lists of them only
		return false
	}
	v.event("history", body)
	return v.flush()
}

// changes sends the sections that have changed since the last time.
func (v *viewer) changes() bool {
	v.feed.mu.Lock()
	for i, latest := range v.feed.latest {
		if latest.number != v.seen[i] {
			v.seen[i] = latest.number
			v.event(v.feed.sections[i].name, latest.body)
		}
	}
	v.feed.mu.Unlock()
	return v.flush()
}

// event writes one event; JSON has no line breaks of its own.
func (v *viewer) event(name string, body []byte) {
	fmt.Fprintf(&v.buf, "event: %s\ndata: %s\n\n", name, body)
}

// flush sends what was written, and reports whether the viewer took it in time.
func (v *viewer) flush() bool {
	// Not supported only by writers without a connection, as in tests.
	_ = v.to.SetWriteDeadline(time.Now().Add(viewerTimeout))
	_, err := v.w.Write(v.buf.Bytes())
	v.buf.Reset()
	return err == nil && v.to.Flush() == nil
}
