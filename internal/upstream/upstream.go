package upstream

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path"
	"strings"
	"sync/atomic"
	"time"

	"github.com/vega-proxy/vega-proxy/internal/poll"
	"github.com/vega-proxy/vega-proxy/internal/resilience"
	"github.com/vega-proxy/vega-proxy/internal/upstream/wire"
)

// Upstream is one backend as one configuration has it. It is safe for concurrent
// use.
type Upstream struct {
	cfg     Config
	base    string // path put before each request's path; no slash at its end
	origin  string // scheme://host:port, what "another host" is measured by
	headers http.Header

	// What the same upstream of the next configuration may go on with.
	*backend
	transport wire.Transport
	trust     [sha256.Size]byte // of all that TLS was set up with
}

// backend is what is known of a backend, whatever its settings are: for as long
// as its name and its origin stay.
type backend struct {
	breaker *resilience.Breaker
	limiter *resilience.Limiter
	gone    atomic.Bool // no longer configured; some may still be using it
}

func newBackend(cfg *Config, onTransition func(resilience.Transition)) *backend {
	b := &backend{limiter: resilience.NewLimiter(cfg.MaxInFlight, cfg.Queue, cfg.QueueTimeout)}
	b.breaker = resilience.NewBreaker(cfg.Name, cfg.Breaker, func(t resilience.Transition) {
		if onTransition != nil && !b.gone.Load() {
			onTransition(t)
		}
	})
	return b
}

// newUpstream builds an upstream; before, if not nil, is the one of the same name
// that it follows, of which it takes over what the settings have not changed. It
// changes nothing of that one.
func newUpstream(cfg Config, before *Upstream, onTransition func(resilience.Transition), loop *poll.Loop) (*Upstream, error) {
	u, err := url.Parse(cfg.URL)
	if err != nil {
		return nil, fmt.Errorf("upstream %s: %w", cfg.Name, err)
	}
	tlsConfig, trust, err := cfg.TLS.load()
	if err != nil {
		return nil, fmt.Errorf("upstream %s: %w", cfg.Name, err)
	}
	headers := make(http.Header, len(cfg.Headers))
	for name, value := range cfg.Headers {
		headers.Set(name, value)
	}
	up := &Upstream{
		cfg:     cfg,
		base:    strings.TrimSuffix(u.EscapedPath(), "/"),
		origin:  originOf(u),
		headers: headers,
		trust:   trust,
	}
	same := before != nil && before.origin == up.origin
	if same {
		up.backend = before.backend
	} else {
		up.backend = newBackend(&cfg, onTransition)
	}
	if same && before.trust == trust && before.cfg.timeouts() == cfg.timeouts() {
		up.transport = before.transport
	} else {
		up.transport = wire.New(wire.Config{
			URL:              u,
			ConnectTimeout:   cfg.ConnectTimeout,
			FirstByteTimeout: cfg.FirstByteTimeout,
			IdleTimeout:      cfg.IdleTimeout,
			TLS:              tlsConfig,
			Loop:             loop,
		})
	}
	return up, nil
}

// timeouts are those that connections are made with.
func (c *Config) timeouts() [3]time.Duration {
	return [3]time.Duration{c.ConnectTimeout, c.FirstByteTimeout, c.IdleTimeout}
}

// Name is the upstream's configured name.
func (u *Upstream) Name() string { return u.cfg.Name }

// Config is what the upstream was built from.
func (u *Upstream) Config() Config { return u.cfg }

// Breaker decides whether the upstream may be asked.
func (u *Upstream) Breaker() *resilience.Breaker { return u.breaker }

// FinishesAlone tells that an answer is read to its end after its client left.
func (u *Upstream) FinishesAlone() bool { return u.cfg.OnClientGone == "finish" }

// Serves tells whether one of the globs matches the model. A request without a
// model may go anywhere.
func (c *Config) Serves(model string) bool {
	if model == "" || len(c.Models) == 0 {
		return true
	}
	for _, glob := range c.Models {
		if MatchModel(glob, model) {
			return true
		}
	}
	return false
}

// MatchModel is path.Match without its respect for slashes: a `*` also matches
// the slash of "org/name". Configuration loading has checked the glob.
func MatchModel(glob, model string) bool {
	const stand = "\x00"
	ok, err := path.Match(strings.ReplaceAll(glob, "/", stand), strings.ReplaceAll(model, "/", stand))
	return ok && err == nil
}

func originOf(u *url.URL) string {
	port := u.Port()
	switch {
	case port != "":
	case u.Scheme == "https":
		port = "443"
	default:
		port = "80"
	}
	return strings.ToLower(u.Scheme + "://" + u.Hostname() + ":" + port)
}

// Load reads the files. It returns nil for the zero value: the defaults of
// crypto/tls.
func (c TLSConfig) Load() (*tls.Config, error) {
	t, _, err := c.load()
	return t, err
}

// load is Load, and the sum is another when a file's content is.
func (c TLSConfig) load() (_ *tls.Config, sum [sha256.Size]byte, err error) {
	if c == (TLSConfig{}) {
		return nil, sum, nil
	}
	var read [3][]byte
	for i, file := range []struct{ key, path string }{{"ca_file", c.CAFile}, {"cert_file", c.CertFile}, {"key_file", c.KeyFile}} {
		if file.path == "" {
			continue
		}
		if read[i], err = os.ReadFile(file.path); err != nil {
			return nil, sum, fmt.Errorf("tls.%s: %w", file.key, err)
		}
	}
	t := &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: c.InsecureSkipVerify}
	if c.CAFile != "" {
		t.RootCAs = x509.NewCertPool()
		if !t.RootCAs.AppendCertsFromPEM(read[0]) {
			return nil, sum, fmt.Errorf("tls.ca_file: %s holds no certificate in PEM form", c.CAFile)
		}
	}
	if c.CertFile != "" {
		pair, err := tls.X509KeyPair(read[1], read[2])
		if err != nil {
			return nil, sum, fmt.Errorf("tls.cert_file and tls.key_file: %w", err)
		}
		t.Certificates = []tls.Certificate{pair}
	}
	return t, sha256.Sum256(fmt.Appendf(nil, "%t %q", c.InsecureSkipVerify, read)), nil
}
