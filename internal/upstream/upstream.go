package upstream

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path"
	"strings"

	"github.com/vega-proxy/vega-proxy/internal/resilience"
	"github.com/vega-proxy/vega-proxy/internal/upstream/wire"
)

// Upstream is one backend. It is safe for concurrent use.
type Upstream struct {
	cfg       Config
	base      string // path put before each request's path; no slash at its end
	origin    string // scheme://host:port, what "another host" is measured by
	headers   http.Header
	transport wire.Transport
	breaker   *resilience.Breaker
	limiter   *resilience.Limiter
}

func newUpstream(cfg Config, onTransition func(resilience.Transition)) (*Upstream, error) {
	u, err := url.Parse(cfg.URL)
	if err != nil {
		return nil, fmt.Errorf("upstream %s: %w", cfg.Name, err)
	}
	tlsConfig, err := cfg.TLS.load()
	if err != nil {
		return nil, fmt.Errorf("upstream %s: %w", cfg.Name, err)
	}
	headers := make(http.Header, len(cfg.Headers))
	for name, value := range cfg.Headers {
		headers.Set(name, value)
	}
	return &Upstream{
		cfg:     cfg,
		base:    strings.TrimSuffix(u.EscapedPath(), "/"),
		origin:  originOf(u),
		headers: headers,
		transport: wire.New(wire.Config{
			URL:              u,
			ConnectTimeout:   cfg.ConnectTimeout,
			FirstByteTimeout: cfg.FirstByteTimeout,
			IdleTimeout:      cfg.IdleTimeout,
			TLS:              tlsConfig,
		}),
		breaker: resilience.NewBreaker(cfg.Name, cfg.Breaker, onTransition),
		limiter: resilience.NewLimiter(cfg.MaxInFlight, cfg.Queue, cfg.QueueTimeout),
	}, nil
}

// Name is the upstream's configured name.
func (u *Upstream) Name() string { return u.cfg.Name }

// Config is what the upstream was built from.
func (u *Upstream) Config() Config { return u.cfg }

// Breaker decides whether the upstream may be asked.
func (u *Upstream) Breaker() *resilience.Breaker { return u.breaker }

// FinishesAlone tells that an answer is read to its end after its client left.
func (u *Upstream) FinishesAlone() bool { return u.cfg.OnClientGone == "finish" }

// serves tells whether one of the globs matches the model. A request without a
// model may go anywhere.
func (u *Upstream) serves(model string) bool {
	if model == "" || len(u.cfg.Models) == 0 {
		return true
	}
	for _, glob := range u.cfg.Models {
		if matchModel(glob, model) {
			return true
		}
	}
	return false
}

// matchModel is path.Match without its respect for slashes: a `*` also matches
// the slash of "org/name". Configuration loading has checked the glob.
func matchModel(glob, model string) bool {
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

// load returns nil for the zero value: the defaults of crypto/tls.
func (c TLSConfig) load() (*tls.Config, error) {
	if c == (TLSConfig{}) {
		return nil, nil
	}
	t := &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: c.InsecureSkipVerify}
	if c.CAFile != "" {
		pem, err := os.ReadFile(c.CAFile)
		if err != nil {
			return nil, fmt.Errorf("tls.ca_file: %w", err)
		}
		t.RootCAs = x509.NewCertPool()
		if !t.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("tls.ca_file: %w", errors.New(c.CAFile+" holds no certificate in PEM form"))
		}
	}
	if c.CertFile != "" {
		pair, err := tls.LoadX509KeyPair(c.CertFile, c.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("tls.cert_file and tls.key_file: %w", err)
		}
		t.Certificates = []tls.Certificate{pair}
	}
	return t, nil
}
