package proxy

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"github.com/vega-proxy/vega-proxy/internal/cache"
	"github.com/vega-proxy/vega-proxy/internal/dialect"
	"github.com/vega-proxy/vega-proxy/internal/stream"
	"github.com/vega-proxy/vega-proxy/internal/trace"
	"github.com/vega-proxy/vega-proxy/internal/upstream"
)

// The causes with which an exchange's context ends. Any other cause means that
// the client went away.
var (
	errDraining  = errors.New("the proxy is shutting down")
	errCancelled = errors.New("the administrator cancelled the exchange")
)

// exchange is one request and its answer. It is owned by the handler's
// goroutine.
type exchange struct {
	s      *Server
	rules  *rules
	w      http.ResponseWriter
	r      *http.Request
	conn   *clientConn // nil where the server is driven without our listener
	strict *strictConn

	watched watched // here, among what is at hand at any time: it is asked all the while

	id     string
	path   string // decoded and cleaned
	route  dialect.Route
	parsed bool // generate or embed: the kinds whose bodies are read

	buffer  *bytes.Buffer         // lent for body
	body    []byte                // the request's body, or its beginning beside stream
	stream  *timedBody            // what is passed on as it comes
	bodyErr atomic.Pointer[error] // why stream broke off
	plain   []byte                // the body without its content encoding; nil if it was not read
	model   string
	made    string // a model that comes of the request
	tenant  string // what the caller is known by
	asked   dialect.Request

	session     string // that the body names, once sessionRead
	sessionRead bool

	ctx    context.Context
	cancel context.CancelCauseFunc // nil where nothing but the client can end it
	// asking is the upstream that has the request, for the one question
	// whether it finishes alone.
	asking atomic.Pointer[upstream.Upstream]
	answer *upstream.Answer

	relaying *stream.Relay  // of a streamed answer
	reader   *stream.Reader // of one that is another's; nil is one of its own
	live     *stream.Live
	stalls   *stallWatch // nil where the connection's deadline will do

	meter   dialect.Meter
	tally   tally
	keeping keeping
	caching caching
	trace   *trace.Exchange // nil is off
	report  report
}

// report is what is known of an exchange at its end.
type report struct {
	start, received time.Time
	head            time.Time // of the upstream's answer; zero if there was none
	status          int
	code            Code    // of a refusal or a cut, else empty
	ended           EndedBy // which side ended it
	refused         bool    // by the proxy itself
	served          string  // the upstream whose answer it was, if this exchange did not ask
	attempts        int     // that came to no answer
	err             error
	bytesRead       int64 // of the answer, from the upstream
	bytesOut        int64 // of the answer, to the client
}

// bytesIn is how much of the request's body has come.
func (x *exchange) bytesIn() int64 {
	if x.stream != nil {
		return x.stream.n.Load()
	}
	return int64(len(x.body))
}

// EndedBy is the side that ended an exchange.
type EndedBy string

const (
	byUpstream EndedBy = "upstream" // the answer ended
	byClient   EndedBy = "client"   // the client went away
	byStall    EndedBy = "stall"    // the client took nothing for too long
	byTimeout  EndedBy = "timeout"  // the upstream kept a deadline of ours waiting
	byError    EndedBy = "error"    // the upstream broke off or was not to be had, or the proxy refused
	byAdmin    EndedBy = "admin"
	byShutdown EndedBy = "shutdown"
)

// statusClientGone is what logs and metrics show where no answer was possible.
const statusClientGone = 499

// run does the exchange and tells whether the connection must be aborted, as
// the only sign of a cut that every client sees.
func (x *exchange) run() (abort bool) {
	if no := x.admit(); no != nil {
		return x.refuse(no)
	}
	x.rest()
	if no := x.read(); no != nil {
		return x.refuse(no)
	}
	x.report.received = time.Now()
	x.ctx = x.r.Context()
	turn, no := x.consult(x.ctx)
	if no != nil {
		return x.refuse(no)
	}
	x.rest()
	return x.take(turn)
}

// take does what the cache says: answers with what there is, waits for another's
// answer, or asks.
func (x *exchange) take(turn cache.Turn) (abort bool) {
	switch {
	case turn.Entry != nil:
		return x.replay(turn.Entry, cacheHit)
	case turn.Follower != nil:
		return x.follow(turn.Follower)
	}
	return x.ask(turn.Lead)
}

// ask asks the upstreams, for others too if there is a flight.
func (x *exchange) ask(lead *cache.Lead) (abort bool) {
	if lead == nil {
		if no := x.rules.Upstreams.Refuse(x.model, x.tellRefused()); no != nil {
			return x.unanswered(no)
		}
		defer x.watch()()
	} else {
		stop := x.watchFlight(lead)
		defer func() {
			stop()
			lead.Close()
		}()
	}
	answer, err := x.rules.Upstreams.Do(x.ctx, x.call())
	if err != nil {
		switch {
		case lead == nil:
		case breakerOpen(err):
			lead.Refuse(err)
		default:
			lead.Fail(err)
		}
		return x.unanswered(err)
	}
	x.answer, x.report.head = answer, time.Now()
	if answer.Status == http.StatusSwitchingProtocols {
		return x.upgrade()
	}
	return x.relay()
}

// unanswered is for when no upstream has an answer.
func (x *exchange) unanswered(err error) (abort bool) {
	if e := x.stale(err); e != nil {
		return x.replay(e, cacheStale)
	}
	return x.refuse(x.explain(err))
}

// admit names the exchange and lets it in, or says why not.
func (x *exchange) admit() *refusal {
	x.nameIt()
	x.watchSelf()
	x.traceSelf()
	x.path = cleanPath(x.r.URL.Path)
	x.route = dialect.RouteOf(x.r.Method, x.path)
	x.parsed = x.route.Kind == dialect.KindGenerate || x.route.Kind == dialect.KindEmbed
	x.caching.age = -1
	x.caching.reason = string(cache.Kind)
	if x.parsed {
		x.caching.reason = string(cache.Policy)
		if x.rules.Cache != nil {
			x.caching.tenant = cache.TenantOf(x.r.Header, x.rules.SharedCache)
		}
	}
	switch {
	case x.strict != nil && x.r.ProtoMajor == 1 && x.strict.ambiguous.Load(): // the frames of HTTP/2 may look like anything
		return &refusal{code: ambiguous, close: true, message: "the request's length is ambiguous: Transfer-Encoding beside Content-Length, or in HTTP/1.0"}
	case x.r.Method == http.MethodConnect:
		return &refusal{code: unsupported, message: "CONNECT is not supported: this is a reverse proxy"}
	}
	if x.keeping.on = x.journalled(); x.keeping.on {
		x.tenant = tenantOf(x.r.Header)
	}
	if no := x.rules.guard.check(x.r, x.path); no != nil {
		return no
	}
	if x.s.draining.Load() {
		return &refusal{code: shuttingDown, close: true, retryAfter: time.Second, message: "this proxy is shutting down"}
	}
	return nil
}

// read reads what must be known of the body.
func (x *exchange) read() *refusal {
	if no := x.readBody(); no != nil {
		return no
	}
	x.work(stepReadRequest)
	plain, no := x.inspected()
	if no != nil {
		return no
	}
	switch {
	case x.parsed:
		x.understandBody(plain)
		x.model = x.asked.Model
		if x.asked.Stream {
			x.keepBody()
		}
		x.plain = plain
		if len(x.r.Header["Content-Encoding"]) == 0 {
			x.plain = x.body // which may be another copy now
		}
	case x.route.ModelInBody:
		x.model = dialect.ModelOf(plain)
	case x.route.MakesModel:
		x.made = dialect.ModelOf(plain)
	}
	return nil
}

// watch sets the exchange's context, which ends with the client unless the
// upstream that was asked finishes alone. The func it returns lets go of it.
func (x *exchange) watch() (stop func()) {
	client := x.r.Context()
	switch {
	case x.rules.Finishes:
		client = context.WithoutCancel(client)
	case x.parsed && !x.asked.Stream:
		// A whole answer cannot be cancelled by the admin: it saves a context.
		x.ctx = client
		return func() {}
	}
	x.ctx, x.cancel = context.WithCancelCause(client)
	if !x.rules.Finishes {
		return func() { x.cancel(nil) }
	}
	client = x.r.Context()
	stopWatching := context.AfterFunc(client, func() {
		cause := context.Cause(client)
		if u := x.asking.Load(); u == nil || !u.FinishesAlone() {
			x.cancel(cause)
		}
	})
	// Who finishes alone has outlived its client, but not the server.
	stopServing := context.AfterFunc(x.s.base, func() { x.cancel(context.Cause(x.s.base)) })
	return func() {
		stopWatching()
		stopServing()
		x.cancel(nil)
	}
}

// call is the request as the upstreams get it.
func (x *exchange) call() *upstream.Call {
	c := &upstream.Call{
		Method: x.r.Method,
		Target: x.target(),
		Body:   x.body,
		Model:  x.model,
		Retry:  x.retry(),
		Judge:  x.judge,
		Chosen: x.chosen,

		Prepare: x.prepare,
	}
	if x.stream != nil {
		c.Body, c.Stream, c.Length = nil, x.stream, x.r.ContentLength
		c.StopStream = x.stopStream
		c.Trailer = func() http.Header { return x.r.Trailer }
	}
	x.traceCall(c)
	return c
}

// prepare adds what is needed once there is somebody to ask.
func (x *exchange) prepare(c *upstream.Call) {
	x.work(stepDispatch)
	defer x.rest()
	c.Upgrade = upgradeOf(x.r.Header) // before what it stands in is stripped
	c.Header = x.outbound()
	c.Informational = x.informational
}

func (x *exchange) chosen(c *upstream.Call, u *upstream.Upstream) {
	x.asking.Store(u)
	x.traceTry(c, u)
}

// target is the request-target as it came. A client that takes us for a forward
// proxy names a host, which is not where the request goes.
func (x *exchange) target() string {
	if strings.HasPrefix(x.r.RequestURI, "/") {
		return x.r.RequestURI
	}
	return x.r.URL.RequestURI()
}

// retry translates what the endpoint allows.
func (x *exchange) retry() upstream.Retry {
	switch {
	case x.route.Kind == dialect.KindManage, x.route.Retry == dialect.RetryNever:
		return upstream.RetryNever
	case x.route.Retry == dialect.RetrySafe, x.route.Kind == dialect.KindEmbed, x.route.Kind == dialect.KindRead:
		return upstream.RetryAnywhere
	case x.route.Kind == dialect.KindGenerate:
		return upstream.RetryElsewhere
	default:
		return upstream.RetryUnsent
	}
}

// stopStream ends a read of the request's body that nobody needs any more.
func (x *exchange) stopStream() {
	// A connection without deadlines cannot be stopped; its read then ends with
	// the client.
	_ = http.NewResponseController(x.w).SetReadDeadline(time.Now())
}

// bodyBroke ends the exchange with a body, passed on as it comes, that does not
// come to its end: the client's doing, whatever the upstream makes of it.
func (x *exchange) bodyBroke(err error) {
	x.bodyErr.CompareAndSwap(nil, &err)
	x.cancel(err)
}

// informational passes an interim answer on.
func (x *exchange) informational(status int, h http.Header) {
	if !x.r.ProtoAtLeast(1, 1) {
		return // HTTP/1.0 would take it for the answer
	}
	stripHops(h)
	to := x.w.Header()
	maps.Copy(to, h)
	x.w.WriteHeader(status)
	clear(to)
}

// release gives back what was lent, on every path.
func (x *exchange) release() {
	if x.answer != nil {
		x.endAnswer()
	}
	if x.buffer != nil && x.buffer.Cap() <= maxPooledBody {
		bodies.Put(x.buffer)
	}
	x.buffer = nil
	x.s.held.give(x.keeping.held)
	x.letGo()
}

// nameIt gives the exchange an id of its own, which is its record's too, and for
// all to see the client's if that is fit to be shown.
func (x *exchange) nameIt() {
	x.keeping.id = newID()
	if values := x.r.Header["X-Request-Id"]; len(values) > 0 {
		id := values[0]
		if id != "" && len(id) <= 128 && strings.IndexFunc(id, func(c rune) bool { return c <= ' ' || c > '~' }) < 0 {
			x.id = id
			return
		}
	}
	x.id = x.keeping.id.String()
}

// newID returns a UUIDv7: ids sort by their time.
func newID() uuid.UUID {
	id, err := uuid.NewV7()
	if err != nil { // the system has no randomness
		return uuid.UUID{}
	}
	return id
}
