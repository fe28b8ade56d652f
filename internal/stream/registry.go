package stream

import (
	"slices"
	"sync"
	"time"
)

// recentStreams is how many ended streams are remembered.
const recentStreams = 100

// Info is what is shown of a stream beside its buffer.
type Info struct {
	ID        string    `json:"id"`
	Model     string    `json:"model"`
	Upstream  string    `json:"upstream"`
	Client    string    `json:"client"`
	Dialect   string    `json:"dialect"`
	StartedAt time.Time `json:"started_at"`
}

// View is a stream at one moment; its JSON is the admin API's.
type View struct {
	Info
	// TimeToFirstToken is null until there is one.
	TimeToFirstToken *float64 `json:"time_to_first_token_seconds"`
	Snapshot
	EndedAt *time.Time `json:"ended_at,omitempty"`
	EndedBy string     `json:"ended_by,omitempty"`
}

// Registry is the streams of the process: those that run, and the last that
// ended. It is safe for concurrent use.
type Registry struct {
	mu     sync.Mutex
	live   map[*Live]struct{}
	recent []View // a ring, the oldest at next once it is full
	next   int
}

// NewRegistry returns an empty registry.
func NewRegistry() *Registry { return &Registry{live: make(map[*Live]struct{})} }

// Live is one running stream.
type Live struct {
	info   Info
	buffer *Buffer
	cancel func()

	mu    sync.Mutex
	first time.Duration // to the first token; 0 is none yet
}

// Add lists a stream until End. cancel ends it from outside; it may be called
// more than once.
func (r *Registry) Add(info Info, b *Buffer, cancel func()) *Live {
	l := &Live{info: info, buffer: b, cancel: cancel}
	r.mu.Lock()
	r.live[l] = struct{}{}
	r.mu.Unlock()
	return l
}

// FirstToken notes when the first token came, and ends the heartbeat. It is for
// the goroutine that relays.
func (l *Live) FirstToken(after time.Duration) {
	l.buffer.FirstToken()
	l.mu.Lock()
	l.first = after
	l.mu.Unlock()
}

// End moves a stream to those that ended.
func (r *Registry) End(l *Live, by string) {
	now := time.Now()
	v := l.view(now)
	v.EndedAt, v.EndedBy = &now, by
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.live, l)
	if len(r.recent) < recentStreams {
		r.recent = append(r.recent, v)
		return
	}
	r.recent[r.next] = v
	r.next = (r.next + 1) % recentStreams
}

func (l *Live) view(at time.Time) View {
	v := View{Info: l.info, Snapshot: l.buffer.Snapshot(at)}
	l.mu.Lock()
	if l.first > 0 {
		v.TimeToFirstToken = new(l.first.Seconds())
	}
	l.mu.Unlock()
	return v
}

// List returns the running streams, the oldest first, and those that ended, the
// newest first.
func (r *Registry) List() (live, recent []View) {
	r.mu.Lock()
	running := make([]*Live, 0, len(r.live))
	for l := range r.live {
		running = append(running, l)
	}
	recent = append(append(make([]View, 0, len(r.recent)), r.recent[r.next:]...), r.recent[:r.next]...)
	r.mu.Unlock()
	slices.Reverse(recent)
	now := time.Now()
	live = make([]View, 0, len(running))
	for _, l := range running {
		live = append(live, l.view(now))
	}
	slices.SortFunc(live, func(a, b View) int { return a.StartedAt.Compare(b.StartedAt) })
	return live, recent
}

// Cancel ends the running streams with that id; false if there is none.
func (r *Registry) Cancel(id string) bool {
	r.mu.Lock()
	var found []*Live
	for l := range r.live {
		if l.info.ID == id {
			found = append(found, l)
		}
	}
	r.mu.Unlock()
	for _, l := range found {
		l.cancel()
	}
	return len(found) > 0
}
