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
	"github.com/vega-proxy/vega-proxy/internal/proxy/front"
	"github.com/vega-proxy/vega-proxy/internal/stream"
	"github.com/vega-proxy/vega-proxy/internal/upstream"
)

// Upstreams finds a backend for a request and asks it.
type Upstreams interface {
	Do(ctx context.Context, c *upstream.Call) (*upstream.Answer, error)
}

// Options is what a Server is built from.
type Options struct {
	Config    Config
	Upstreams Upstreams
	// Streams holds each upstream's stream settings, by its name.
	Streams map[string]stream.Config
	// Budget bounds the memory of all streams' buffers, StreamRegistry lists them,
	// and StreamEvents counts what they do.
	Budget         *stream.Budget
	StreamRegistry *stream.Registry
	StreamEvents   *stream.Events
	// Cache may answer in place of an upstream; nil is none. With SharedCache
	// one client's answers are for all.
	Cache       Cache
	SharedCache bool
	// Journal gets a record of each exchange with a model; nil is none.
	Journal Journal
	// JournalEmbeddings has embeddings recorded too.
	JournalEmbeddings bool
	// MaxRecordBytes is how much of an answer a record holds.
	MaxRecordBytes int64
	// MaxHeldBytes is how much all answers together may hold for their records.
	MaxHeldBytes int64
	// SessionHeaders are looked at in this order for a session's id.
	SessionHeaders []string
	// Begin is told of each exchange, and what it returns of its steps; nil is
	// off.
	Begin func(requestID string) Steps
	// Tracker follows what exchanges make; nil is off.
	Tracker Tracker
	// Seen is told of each exchange that belongs to a session: the bytes of its
	// bodies and the tokens that it took. nil is off.
	Seen func(session string, bytes, tokens int64)
	// Finishes tells that some upstream goes on after its client left.
	Finishes bool
	// Secret tells that some upstream's headers hold a secret.
	Secret bool
	// IsAdminKey tells whether a client sent the admin API's key by mistake.
	IsAdminKey func(string) bool
	// DrainTimeout is how long streams in flight may go on after Serve's
	// context has ended; DrainDelay how long all is served as before.
	DrainDelay, DrainTimeout time.Duration

	Log     *slog.Logger
	Metrics *Metrics
}

// Server is the proxy's own listener and what it does with each request.
type Server struct {
	opts     Options
	cfg      Config
	guard    *guard
	finishes bool
	held     allowance         // for records in the making
	seen     *cache.Memo[seen] // nil without a cache
	tls      *tls.Config       // nil is cleartext

	base      context.Context // ends when what is in flight is cut; set by Serve
	draining  atomic.Bool
	lastError atomic.Pointer[errorAnswer]
	mu        sync.Mutex
	inFlight  int
	idle      chan struct{} // closed when draining and nothing is in flight
}

// New checks the options and builds the server. loopback tells that its listener
// is reached from this machine only.
func New(opts Options, loopback bool) (*Server, error) {
	s := &Server{opts: opts, cfg: opts.Config, finishes: opts.Finishes, held: allowance{limit: opts.MaxHeldBytes}, idle: make(chan struct{})}
	if opts.Cache != nil {
		s.seen = cache.NewMemo[seen](seenBodies)
	}
	var err error
	if s.guard, err = newGuard(opts.Config, loopback, opts.Secret); err != nil {
		return nil, err
	}
	if c := opts.Config.TLS; c.CertFile != "" {
		pair, err := tls.LoadX509KeyPair(c.CertFile, c.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("tls: %w", err)
		}
		s.tls = &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair}, NextProtos: []string{"h2", "http/1.1"}}
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
	srv.Protocols.SetHTTP2(s.tls != nil)
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
		MaxBody:           min(smallBody, s.cfg.Limits.MaxBodyBytes),
		BaseContext:       base,
		ConnContext:       connContext,
		Log:               s.opts.Log,
	})
	var outer net.Listener = accepted
	if s.tls != nil {
		outer = newTLSListener(accepted, s.tls, handshakeTimeout)
		wg.Go(func() { served <- srv.Serve(outer) })
	} else {
		wg.Go(func() { served <- plain.Serve(accepted) })
		wg.Go(func() { served <- srv.Serve(strictListener{plain.Fallback()}) })
	}

	select {
	case err := <-served: // the listener failed by itself
		cut(errDraining)
		return errors.Join(fmt.Errorf("serve %s: %w", ln.Addr(), err), plain.Close(), closeServer(srv))
	case <-ctx.Done():
	}
	if d := s.opts.DrainDelay; d > 0 {
		s.opts.Log.Info("draining: still serving", "for", d.String())
		time.Sleep(d) // a second signal ends the process
	}
	n := s.drain()
	if err := outer.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		s.opts.Log.Warn("close the listener", "error", err)
	}
	s.opts.Log.Info("draining: listener closed", "in_flight", n, "timeout", s.opts.DrainTimeout.String())
	if !s.waitIdle(s.opts.DrainTimeout) {
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
	x := &exchange{s: s, w: w, r: r, conn: c.client, strict: c.strict, report: report{start: time.Now()}}
	s.opts.Metrics.inFlight.Inc()
	defer s.opts.Metrics.inFlight.Dec()
	defer x.release()
	abort := x.run()
	x.account()
	if abort {
		panic(http.ErrAbortHandler)
	}
}

func (s *Server) maxEvent(upstream string) int { return int(s.opts.Streams[upstream].MaxEventBytes) }

func (s *Server) stall(upstream string) time.Duration {
	return s.opts.Streams[upstream].WriteStallTimeout
}
