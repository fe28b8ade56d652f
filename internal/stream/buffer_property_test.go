package stream

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// randomBody is a body of events that can be told apart, with line ends between
// some, and with a last one that may lack its end.
func randomBody(rnd *rand.Rand, f Framing, fillers bool) string {
	var b strings.Builder
	longest := []int{30, 300, 3000, 8000}[rnd.IntN(4)]
	for i := range 1 + rnd.IntN(150) {
		text := fmt.Sprintf("%d %s", i, strings.Repeat("x", rnd.IntN(longest)))
		switch {
		case f == NDJSON:
			fmt.Fprintf(&b, "{%q}\n", text)
		case rnd.IntN(8) == 0:
			fmt.Fprintf(&b, ": %s\n\n", text)
		case rnd.IntN(3) == 0:
			fmt.Fprintf(&b, "event: a\r\ndata: %s\r\n\r\n", text)
		default:
			fmt.Fprintf(&b, "data: %s\n\n", text)
		}
		if fillers && rnd.IntN(10) == 0 {
			b.WriteString("\n")
		}
	}
	if rnd.IntN(3) == 0 {
		b.WriteString("data: without an end")
	}
	return b.String()
}

// cut returns a body's events, without what stands between them.
func cut(f Framing, body string) (events []string) {
	s := NewSplitter(f)
	rest := []byte(body)
	for len(rest) > 0 {
		n, event := s.Next(rest)
		if n == 0 {
			return append(events, string(rest))
		}
		if event {
			events = append(events, strings.Trim(string(rest[:n]), "\r\n"))
		}
		rest = rest[n:]
	}
	return events
}

// missing returns how many of all are not in some, which must be in order.
func missing(t *testing.T, all, some []string) (n int) {
	t.Helper()
	for _, ev := range all {
		if len(some) > 0 && some[0] == ev {
			some = some[1:]
		} else {
			n++
		}
	}
	if len(some) > 0 {
		t.Errorf("%d events came out that did not go in, or out of order: %.60q", len(some), some[0])
	}
	return n
}

const plenty = 1 << 30

// run is one random stream.
type run struct {
	cfg     Config
	framing Framing
	body    string
	kept    map[string]bool // events that must not be dropped
	gated   bool
	client  *slowClient
	budget  *Budget
	source  *steadySource
	abort   time.Duration // 0 is never
}

func randomRun(rnd *rand.Rand, budget *Budget) run {
	cfg := settings()
	cfg.BufferSize = 1 + rnd.IntN(20)
	cfg.BufferBytes = []int64{100, 5000, 1 << 20}[rnd.IntN(3)]
	cfg.DropOnOverflow = rnd.IntN(2) == 0
	cfg.MaxEventBytes = []int64{2000, 1 << 20}[rnd.IntN(2)]
	if rnd.IntN(3) == 0 {
		cfg.Adaptive = AdaptiveConfig{Enabled: true, Initial: 8, Min: 2, Max: 30}
	}
	if rnd.IntN(8) == 0 {
		cfg.ChunkDelayMS = 1 + rnd.IntN(20)
	}
	r := run{cfg: cfg, framing: SSE, gated: rnd.IntN(4) > 0, budget: budget}
	if rnd.IntN(3) == 0 {
		r.framing = NDJSON
	} else if rnd.IntN(2) == 0 {
		r.cfg.HeartbeatInterval = time.Duration(1+rnd.IntN(50)) * time.Millisecond
	}
	r.body = randomBody(rnd, r.framing, !cfg.DropOnOverflow)
	r.kept = map[string]bool{}
	for _, ev := range cut(r.framing, r.body) {
		if rnd.IntN(15) == 0 {
			r.kept[ev] = true
		}
	}
	r.client = newClient(1+rnd.IntN(10_000), []float64{1e4, 1e5, 1e6, 1e12}[rnd.IntN(4)])
	r.source = &steadySource{body: []byte(r.body), rnd: rnd, end: io.EOF, stop: make(chan struct{}),
		pause: []time.Duration{0, time.Millisecond, 50 * time.Millisecond}[rnd.IntN(3)], piece: []int{30, 500, 100_000}[rnd.IntN(3)]}
	switch rnd.IntN(6) {
	case 0:
		r.abort = time.Duration(1+rnd.IntN(2000)) * time.Millisecond
	case 1:
		r.client.failAt = 1 + rnd.IntN(len(r.body))
	case 2:
		r.source.end = errBroken
	}
	return r
}

// do relays the stream, and checks all that can be said about it.
func (r *run) do(t *testing.T) {
	w := &watched{t: t}
	var gate Gate
	if r.gated {
		gate = r.client
	}
	b := NewBuffer(r.cfg, r.client, gate, r.budget, w.events())
	if r.budget.Max() == plenty {
		w.buffer = b // else the others change the fill at any time
	}
	errAborted := errors.New("aborted")
	if r.abort > 0 {
		timer := time.AfterFunc(r.abort, func() {
			b.Abandon(errAborted)
			close(r.source.stop)
			close(r.client.hurry)
		})
		defer timer.Stop()
	}
	relay := Relay{Framing: r.framing, Length: -1, MaxEvent: int(r.cfg.MaxEventBytes), Buffer: b}
	shown := 0
	relay.Event = func(ev []byte, _ time.Time) {
		shown++
		if r.kept[strings.Trim(string(ev), "\r\n")] {
			relay.Keep = true
		}
	}
	if r.framing == SSE {
		b.Heartbeat(true)
	}
	copied := relay.Copy(r.client, r.source)
	closed := b.Close()
	if again := b.Close(); again != closed {
		t.Errorf("a second Close returns %v after %v", again, closed)
	}
	w.settled()

	s := b.Snapshot(time.Now())
	if s.ChunksProduced != s.ChunksConsumed+s.ChunksInFlight+s.ChunksDropped || s.BufferSize != 0 {
		t.Errorf("the numbers do not add up: %+v", s)
	}
	if w.passed != [4]int64{s.ChunksProduced, s.ChunksConsumed, s.BytesProduced, s.BytesConsumed} || int64(w.drops) != s.ChunksDropped {
		t.Errorf("counted %v and %d dropped, but %+v", w.passed, w.drops, s)
	}
	if s.ChunksDropped > 0 && !r.cfg.DropOnOverflow {
		t.Error("events were dropped although that is off")
	}
	if got := time.Duration(s.ThrottleTime * float64(time.Second)).Round(time.Microsecond); got != w.wait.Round(time.Microsecond) {
		t.Errorf("throttled for %v, told of %v", got, w.wait)
	}
	if limit := r.cfg.BufferSize; !r.cfg.Adaptive.Enabled && s.MaxBufferSize > limit {
		t.Errorf("%d events were held of %d", s.MaxBufferSize, limit)
	}

	out := strings.ReplaceAll(r.client.text(), string(comment), "")
	in := cut(r.framing, r.body)
	if copied != nil || closed != nil {
		for _, err := range []error{copied, closed} {
			if err != nil && !errors.Is(err, errBroken) && !errors.Is(err, errStopped) && !errors.Is(err, errAborted) {
				t.Errorf("ended with %v and %v", copied, closed)
			}
		}
		// What came out is whole but for its end, unless it says otherwise.
		some := cut(r.framing, out)
		if b.Severed() && len(some) > 0 {
			some = some[:len(some)-1]
		}
		if n := missing(t, in, some); s.ChunksDropped == 0 && n < len(in)-len(some) {
			t.Error("an event is missing in the middle")
		}
		return
	}
	if s.ChunksInFlight != 0 || b.lost {
		t.Errorf("%d events are in flight after a clean end", s.ChunksInFlight)
	}
	if s.BytesConsumed != int64(len(out)) || s.BytesProduced != int64(len(r.body)) {
		t.Errorf("counted %d bytes in and %d out, which were %d and %d", s.BytesProduced, s.BytesConsumed, len(r.body), len(out))
	}
	if s.ChunksDropped == 0 {
		if out != r.body {
			t.Errorf("%d bytes came out of %d", len(out), len(r.body))
		}
		return
	}
	some := cut(r.framing, out)
	if n := missing(t, in, some); int64(n) != s.ChunksDropped {
		t.Errorf("%d events are missing, %d were dropped", n, s.ChunksDropped)
	}
	if some[0] != in[0] || some[len(some)-1] != in[len(in)-1] {
		t.Error("the first or the last event was dropped")
	}
	there := map[string]bool{}
	for _, ev := range some {
		there[ev] = true
	}
	for ev := range r.kept {
		if !there[ev] {
			t.Errorf("an event was dropped that must be kept: %.40q", ev)
		}
	}
}

func TestRandomStreams(t *testing.T) {
	clean, dropped := 0, 0
	for seed := range uint64(100) {
		synctest.Test(t, func(t *testing.T) {
			rnd := rand.New(rand.NewPCG(seed, 1))
			r := randomRun(rnd, NewBudget(plenty))
			r.do(t)
			if r.budget.Used() != 0 || r.budget.holders.Load() != 0 {
				t.Errorf("%d bytes and %d holders are left in the budget", r.budget.Used(), r.budget.holders.Load())
			}
			if r.client.failAt == 0 && r.abort == 0 {
				clean++
			}
			if r.cfg.DropOnOverflow {
				dropped++
			}
		})
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
	if clean < 40 || dropped < 30 {
		t.Errorf("only %d clean streams, %d that may drop", clean, dropped)
	}
}

// Streams that share a budget which is too small for them all hold no more than
// it together, but for one event each, and all of them come to their end.
func TestRandomStreamsShareABudget(t *testing.T) {
	const streams, longest = 12, 8_100
	for seed := range uint64(6) {
		synctest.Test(t, func(t *testing.T) {
			rnd := rand.New(rand.NewPCG(seed, 2))
			budget := NewBudget(20_000)
			var wg sync.WaitGroup
			for range streams {
				r := randomRun(rand.New(rand.NewPCG(rnd.Uint64(), 3)), budget)
				r.client.look = func() {
					if used := budget.Used(); used > budget.Max()+streams*longest {
						t.Errorf("%d bytes are held", used)
					}
				}
				wg.Go(func() { r.do(t) })
			}
			wg.Wait()
			if budget.Used() != 0 {
				t.Errorf("%d bytes are left in the budget", budget.Used())
			}
		})
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}
