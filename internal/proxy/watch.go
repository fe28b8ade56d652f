package proxy

import (
	"github.com/vega-proxy/vega-proxy/internal/cache"
	"github.com/vega-proxy/vega-proxy/internal/stream"
	"github.com/vega-proxy/vega-proxy/internal/upstream"
)

// Steps is told by one exchange what it is busy with. Its methods are called by
// one goroutine at a time and must cost next to nothing.
type Steps interface {
	// Enter begins the step of that index in StepNames, and ends the one before.
	Enter(step int)
	// Leave ends the step; in none it does nothing.
	Leave()
	// End comes last, once.
	End()
}

// The steps of an exchange that are the proxy's own work. Whoever is about to
// wait for the client or the upstream leaves its step before.
const (
	stepAdmit = iota
	stepReadRequest
	stepConsultCache
	stepDispatch
	stepReplay
	stepPassHead
	stepRecord
	stepSettle
	stepAccount
	stepLog
)

// StepNames returns the steps' names by their index.
func StepNames() []string {
	return []string{
		stepAdmit:        "admit",
		stepReadRequest:  "read_request",
		stepConsultCache: "consult_cache",
		stepDispatch:     "dispatch",
		stepReplay:       "replay",
		stepPassHead:     "pass_head",
		stepRecord:       "record",
		stepSettle:       "settle",
		stepAccount:      "account",
		stepLog:          "log",
	}
}

// Tracker follows what must be gone some time after its end, without keeping it
// alive. The func that each method returns is called when the owner has let go.
type Tracker interface {
	// Exchange is given a field of the exchange, which is its id, and about how
	// many bytes it holds.
	Exchange(id *string, size int64) (done func())
	Stream(b *stream.Buffer, requestID string) (done func())
	UpstreamBody(a *upstream.Answer, requestID string) (done func())
	Recording(r *stream.Recording, requestID string) (done func())
	Flight(l *cache.Lead, requestID string) (done func())
}

// watched is what an exchange tells of itself.
type watched struct {
	steps Steps   // nil is off
	track Tracker // nil is off

	// What is to be called at the end for what is followed; nil is for nothing.
	exchange, stream, answer func()
	recording, flight        func() // others may go on reading these
}

// exchangeSize is about what an exchange takes beside its request's body.
const exchangeSize = 4 << 10

func (x *exchange) watchSelf() {
	w, opts := &x.watched, &x.s.opts
	if opts.Begin != nil {
		w.steps = opts.Begin(x.id)
		w.steps.Enter(stepAdmit)
	}
	if w.track = opts.Tracker; w.track != nil {
		w.exchange = w.track.Exchange(&x.id, exchangeSize+max(0, x.r.ContentLength))
	}
}

// work says which step the exchange is in from here on.
func (x *exchange) work(step int) {
	if x.watched.steps != nil {
		x.watched.steps.Enter(step)
	}
}

// rest says that the exchange is in no step from here on.
func (x *exchange) rest() {
	if x.watched.steps != nil {
		x.watched.steps.Leave()
	}
}

func (x *exchange) trackStream(b *stream.Buffer) {
	if w := &x.watched; w.track != nil {
		w.stream = w.track.Stream(b, x.id)
	}
}

func (x *exchange) trackAnswer() {
	if w := &x.watched; w.track != nil {
		w.answer = w.track.UpstreamBody(x.answer, x.id)
	}
}

func (x *exchange) trackRecording() {
	if w := &x.watched; w.track != nil && x.caching.recording != nil {
		w.recording = w.track.Recording(x.caching.recording, x.id)
	}
}

func (x *exchange) trackFlight() {
	if w := &x.watched; w.track != nil {
		w.flight = w.track.Flight(x.caching.lead, x.id)
	}
}

// letGo says that the exchange is over. What its followers still read goes with
// them, and nobody knows when that will be: it is never said to be let go of.
func (x *exchange) letGo() {
	w := &x.watched
	if w.flight != nil && x.caching.lead.Shared() {
		w.recording, w.flight = nil, nil
	}
	for _, done := range [...]func(){w.exchange, w.stream, w.answer, w.recording, w.flight} {
		if done != nil {
			done()
		}
	}
	if w.steps != nil {
		w.steps.End()
	}
}
