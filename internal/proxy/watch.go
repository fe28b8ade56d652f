package proxy

import (
	"github.com/vega-proxy/vega-proxy/internal/cache"
	"github.com/vega-proxy/vega-proxy/internal/monitor/progress"
	"github.com/vega-proxy/vega-proxy/internal/stream"
	"github.com/vega-proxy/vega-proxy/internal/upstream"
)

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

// Watch is what watches one exchange, from Options.Begin on.
type Watch interface {
	// All but End follow what must be gone some time after its end, without keeping it
	// alive, if the progress says so. The func that each returns is called when
	// the owner has let go.

	// Exchange is given a field of the exchange, which is its id, and about how
	// many bytes it holds.
	Exchange(id *string, size int64) (done func())
	Stream(b *stream.Buffer, requestID string) (done func())
	UpstreamBody(a *upstream.Answer, requestID string) (done func())
	Recording(r *stream.Recording, requestID string) (done func())
	Flight(l *cache.Lead, requestID string) (done func())

	// End comes last, once.
	End()
}

// watched is what an exchange tells of itself.
type watched struct {
	by       Watch             // nil is nobody
	progress progress.Exchange // steps are entered by their index in StepNames

	// What is to be called at the end for what is followed; nil is for nothing.
	exchange, stream, answer func()
	recording, flight        func() // others may go on reading these
}

// exchangeSize is about what an exchange takes beside its request's body.
const exchangeSize = 4 << 10

func (x *exchange) watchSelf() {
	if begin := x.s.opts.Begin; begin != nil {
		w := &x.watched
		if x.conn == nil || x.r.ProtoMajor != 1 { // others may be under way on it
			w.by = begin(&w.progress, x.id, nil)
		} else {
			w.by = begin(&w.progress, x.id, x.conn.watch)
			x.conn.watch = w.by
		}
		w.progress.Enter(stepAdmit)
		if w.progress.Follows(progress.KindExchange) {
			w.exchange = w.by.Exchange(&x.id, exchangeSize+max(0, x.r.ContentLength))
		}
	}
}

// work says which step the exchange is in from here on.
func (x *exchange) work(step int) {
	if w := &x.watched; w.by != nil {
		w.progress.Enter(step)
	}
}

// rest says that the exchange is in no step from here on.
func (x *exchange) rest() {
	if w := &x.watched; w.by != nil {
		w.progress.Leave()
	}
}

func (w *watched) follows(k progress.Kind) bool { return w.by != nil && w.progress.Follows(k) }

func (x *exchange) trackStream(b *stream.Buffer) {
	if w := &x.watched; w.follows(progress.KindStream) {
		w.stream = w.by.Stream(b, x.id)
	}
}

func (x *exchange) trackAnswer() {
	if w := &x.watched; w.follows(progress.KindUpstreamBody) {
		w.answer = w.by.UpstreamBody(x.answer, x.id)
	}
}

func (x *exchange) trackRecording() {
	if w := &x.watched; x.caching.recording != nil && w.follows(progress.KindRecording) {
		w.recording = w.by.Recording(x.caching.recording, x.id)
	}
}

func (x *exchange) trackFlight() {
	if w := &x.watched; w.follows(progress.KindFlight) {
		w.flight = w.by.Flight(x.caching.lead, x.id)
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
	if w.by != nil {
		w.by.End()
	}
}
