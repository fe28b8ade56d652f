package proxy

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/vega-proxy/vega-proxy/internal/cache"
	"github.com/vega-proxy/vega-proxy/internal/monitor/progress"
	"github.com/vega-proxy/vega-proxy/internal/proxy/front"
	"github.com/vega-proxy/vega-proxy/internal/stream"
	"github.com/vega-proxy/vega-proxy/internal/trace"
	"github.com/vega-proxy/vega-proxy/internal/upstream"
)

// Upstreams finds a backend for a request and asks it.
type Upstreams interface {
	Do(ctx context.Context, c *upstream.Call) (*upstream.Answer, error)
	// Refuses tells whether nobody may be asked for that model for now; Refuse
	// then counts and says it, and else returns nil.
	Refuses(model string) bool
	Refuse(model string, tell func(*upstream.Upstream)) *upstream.Error
}

// Options is what a Server is built from.
type Options struct {
	// Settings are those to begin with; Prepare takes others.
	Settings Settings
	// Loopback tells that the listener is reached from this machine only.
	Loopback bool
	// Budget bounds the memory of all streams' buffers, StreamRegistry lists them,
	// and StreamEvents counts what they do.
	Budget         *stream.Budget
	StreamRegistry *stream.Registry
	StreamEvents   *stream.Events
	// Journal gets a record of each exchange with a model; nil is none.
	Journal Journal
	// Begin is told of each exchange. It makes the progress ready that the exchange
	// enters its steps in, and returns what follows what it makes. last is what it
	// returned for the connection's exchange before, which has ended, or nil. nil is off.
	Begin func(p *progress.Exchange, requestID string, last Watch) Watch
	// Trace begins each exchange's part in a trace, by the client's header; nil is
	// off.
	Trace func(h http.Header, start time.Time) *trace.Exchange
	// Seen is told of each exchange that belongs to a session: the bytes of its
	// bodies and the tokens that it took. nil is off.
	Seen func(session string, bytes, tokens int64)
	// Timed is told where the time of each exchange went that stands in the
	// journal. nil is off.
	Timed func(Timing)
	// IsAdminKey tells whether a client sent the admin API's key by mistake.
	IsAdminKey func(string) bool

	Log     *slog.Logger
	Metrics *Metrics
}

// Server is the proxy's own listener and what it does with each request.
type Server struct {
	opts        Options // its Settings are empty: rules holds those in force
	cfg         Config  // the listener's, for as long as it lives
	loopback    bool
	hops        *hops
	rules       atomic.Pointer[rules]
	certificate atomic.Pointer[tls.Certificate] // nil is cleartext
	held        allowance                       // for records in the making
	seen        *cache.Memo[seen]

	base      context.Context // ends when what is in flight is cut; set by Serve
	draining  atomic.Bool
	lastError atomic.Pointer[errorAnswer]
	mu        sync.Mutex
	inFlight  int
	idle      chan struct{} // closed when draining and nothing is in flight
}

// New checks the options and builds the server.
func New(opts Options) (*Server, error) {
	s := &Server{
		opts:     opts,
		cfg:      opts.Settings.Config,
		loopback: opts.Loopback,
		hops:     newHops(),
		seen:     cache.NewMemo[seen](seenBodies),
		idle:     make(chan struct{}),
	}
	s.opts.Settings = Settings{}
	r, err := s.newRules(opts.Settings)
	if err != nil {
		return nil, err
	}
	s.rules.Store(r)
	if s.cfg.TLS.CertFile != "" {
		certificate, err := loadCertificate(s.cfg.TLS)
		if err != nil {
			return nil, err
		}
		s.certificate.Store(certificate)
	}
	return s, nil
}

// finalStop is how long handlers get to notice that their time is over.
const finalStop = 5 * time.Second

// Serve answers on ln until ctx ends, and then drains: for the drain delay all
// is served as before, then the listener closes, and what is in flight goes on
// until the drain timeout cuts it. It returns when no handler is left.
func (s *Server) Serve(ctx context.Context, ln net.Listener) error {
	base, cut := context.WithCancelCause(context.Background())
	defer cut(nil)
	s.base = base
	srv := &http.Server{
		Handler: s,
		// OPTIONS * is the upstream's to answer, too.
		DisableGeneralOptionsHandler: true,
		ReadHeaderTimeout:            s.cfg.Limits.ReadHeaderTimeout,
		IdleTimeout:                  s.cfg.Limits.IdleTimeout,
		MaxHeaderBytes:               int(s.cfg.Limits.MaxHeaderBytes),
		BaseContext:                  func(net.Listener) context.Context { return base },
		ConnContext:                  connContext,
		ErrorLog:                     slog.NewLogLogger(s.opts.Log.With("part", "listener").Handler(), slog.LevelDebug),
	}
	srv.Protocols = new(http.Protocols)
	srv.Protocols.SetHTTP1(true)
	encrypted := s.certificate.Load() != nil
	srv.Protocols.SetHTTP2(encrypted)
	srv.Protocols.SetUnencryptedHTTP2(s.cfg.HTTP2)
	accepted := newListener(ln, s.cfg.Limits.MaxConnections)
	served := make(chan error, 2) // a server each
	var wg sync.WaitGroup
	defer wg.Wait()
	// What plain requests cost is decided here: they need not go through
	// net/http, which gets all others.
	plain := front.New(front.Config{
		Handler:           s,
		ReadHeaderTimeout: s.cfg.Limits.ReadHeaderTimeout,
		IdleTimeout:       s.cfg.Limits.IdleTimeout,
		BodyTimeout:       s.cfg.Limits.IdleTimeout,
		MaxHead:           int(s.cfg.Limits.MaxHeaderBytes),
		MaxBody:           smallBody,
		BaseContext:       base,
		ConnContext:       connContext,
		Log:               s.opts.Log,
	})
	var outer net.Listener = accepted
	if encrypted {
		config := &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: s.getCertificate, NextProtos: []string{"h2", "http/1.1"}}
		outer = newTLSListener(accepted, config, handshakeTimeout, s.refuseUnread)
		wg.Go(func() { served <- srv.Serve(outer) })
	} else {
		wg.Go(func() { served <- plain.Serve(accepted) })
		wg.Go(func() { served <- srv.Serve(strictListener{plain.Fallback(), s.refuseUnread}) })
	}

	select {
	case err := <-served: // the listener failed by itself
		cut(errDraining)
		return errors.Join(fmt.Errorf("serve %s: %w", ln.Addr(), err), plain.Close(), closeServer(srv))
	case <-ctx.Done():
	}
	if d := s.rules.Load().DrainDelay; d > 0 {
		s.opts.Log.Info("draining: still serving", "for", d.String())
		time.Sleep(d) // a second signal ends the process
	}
	n, timeout := s.drain(), s.rules.Load().DrainTimeout
	if err := outer.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		s.opts.Log.Warn("close the listener", "error", err)
	}
	s.opts.Log.Info("draining: listener closed", "in_flight", n, "timeout", timeout.String())
	if !s.waitIdle(timeout) {
		s.opts.Log.Warn("drain timeout: cutting what is still in flight")
		cut(errDraining)
		if !s.waitIdle(finalStop) {
			s.opts.Log.Error("some exchanges did not end when they were cut")
		}
	}
	// Handlers have returned before their last bytes are written.
	last, stop := context.WithTimeout(context.Background(), finalStop)
	defer stop()
	plain.Settle(last)
	_ = srv.Shutdown(last) // what it does not reach in time is closed now
	return errors.Join(plain.Close(), closeServer(srv))
}

// closeServer ends what net/http still holds. Its listener is closed already.
func closeServer(srv *http.Server) error {
	if err := srv.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}

const handshakeTimeout = 10 * time.Second

// enter counts an exchange in.
func (s *Server) enter() {
	s.mu.Lock()
	s.inFlight++
	s.mu.Unlock()
}

func (s *Server) leave() {
	s.mu.Lock()
	s.inFlight--
	if s.inFlight == 0 && s.draining.Load() {
		s.closeIdle()
	}
	s.mu.Unlock()
}

// drain refuses new exchanges from here on and returns how many are in flight.
func (s *Server) drain() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.draining.Store(true)
	if s.inFlight == 0 {
		s.closeIdle()
	}
	return s.inFlight
}

func (s *Server) closeIdle() {
	select {
	case <-s.idle:
	default:
		close(s.idle)
	}
}

func (s *Server) waitIdle(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-s.idle:
		return true
	case <-t.C:
		return false
	}
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.enter()
	defer s.leave()
	c := connsOf(r)
	if c.strict != nil {
		c.strict.serving.Store(true)
		defer c.strict.serving.Store(false)
	}
	x := &exchange{s: s, rules: s.rules.Load(), w: w, r: r, conn: c.client, strict: c.strict, report: report{start: time.Now()}}
	s.opts.Metrics.inFlight.Inc()
	defer s.opts.Metrics.inFlight.Dec()
	defer x.release()
	abort := x.guarded()
	x.accountGuarded()
	if abort {
		panic(http.ErrAbortHandler)
	}
}
