package doctor

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/vega-proxy/vega-proxy/internal/config"
)

// backend is what was seen of an upstream. Where one step failed, those behind it
// were not tried.
type backend struct {
	cfg  config.Upstream
	base *url.URL
	key  string // shown where no credential is configured

	resolve error
	dial    error
	dialed  time.Duration
	tls     error
	expires time.Time // of the certificate; zero without TLS
	client  *http.Client

	// models is the answer to /v1/models. Where that is no list under the URL's
	// path, shorter is the answer without the path.
	models, shorter *answer
	listed          []model
	loaded          []string // Ollama's models in memory
	kind            kind

	stream *generated // nil unless it was asked for and ended in time
}

// answer is that to a small request.
type answer struct {
	err    error
	status int
	header http.Header
	body   []byte
	first  time.Duration // from the request's end to the answer's first byte
	at     time.Time     // of that byte
}

func (a *answer) good() bool { return a != nil && a.err == nil && a.status == http.StatusOK }

const (
	maxBody   = 4 << 20
	modelPath = "/v1/models"
)

// survey looks at an upstream from the outside inwards.
func survey(ctx context.Context, u config.Upstream, key string) *backend {
	b := &backend{cfg: u, key: key}
	var err error
	if b.base, err = url.Parse(u.URL); err != nil {
		b.resolve = err
		return b
	}
	host, port := b.base.Hostname(), b.base.Port()
	if port == "" {
		port = map[string]string{"https": "443"}[b.base.Scheme]
		if port == "" {
			port = "80"
		}
	}
	if _, err := netip.ParseAddr(host); err != nil {
		if _, b.resolve = net.DefaultResolver.LookupNetIP(ctx, "ip", host); b.resolve != nil {
			return b
		}
	}
	if !b.connect(ctx, net.JoinHostPort(host, port)) {
		return b
	}
	defer b.client.CloseIdleConnections()
	b.models = b.get(ctx, b.base, modelPath)
	if path := strings.TrimSuffix(b.base.Path, "/"); path != "" && !b.models.good() && b.models.err == nil {
		b.shorter = b.get(ctx, &url.URL{Scheme: b.base.Scheme, Host: b.base.Host}, modelPath)
	}
	b.listed = parseModels(b.models.body)
	b.identify(ctx)
	return b
}

// connect sees whether a connection, and over it TLS, can be had.
func (b *backend) connect(ctx context.Context, address string) bool {
	config, err := b.cfg.TLS.Load()
	if err != nil {
		b.tls = err
		return false
	}
	dialer := &net.Dialer{Timeout: b.cfg.ConnectTimeout}
	start := time.Now()
	conn, err := dialer.DialContext(ctx, "tcp", address)
	if b.dialed = time.Since(start); err != nil {
		b.dial = err
		return false
	}
	defer conn.Close()
	if b.base.Scheme == "https" {
		own := &tls.Config{MinVersion: tls.VersionTLS12}
		if config != nil {
			own = config.Clone()
		}
		own.ServerName = b.base.Hostname()
		secured := tls.Client(conn, own)
		if b.tls = secured.HandshakeContext(ctx); b.tls != nil {
			return false
		}
		b.expires = secured.ConnectionState().PeerCertificates[0].NotAfter
	}
	b.client = &http.Client{
		Transport: &http.Transport{DialContext: dialer.DialContext, TLSClientConfig: config, ForceAttemptHTTP2: true},
		// The proxy passes redirects on.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return true
}

// request is one as the proxy would send it.
func (b *backend) request(ctx context.Context, method string, base *url.URL, path, body string) (*http.Request, error) {
	target := strings.TrimSuffix(base.String(), "/") + path
	req, err := http.NewRequestWithContext(ctx, method, target, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("User-Agent", "vega-proxy-doctor")
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	if b.key != "" && !b.hasCredential() {
		req.Header.Set("Authorization", "Bearer "+b.key)
	}
	for name, value := range b.cfg.Headers {
		req.Header.Set(name, value)
	}
	return req, nil
}

// hasCredential tells whether the configuration gives the upstream one.
func (b *backend) hasCredential() bool { return len(b.cfg.SecretHeaders) > 0 }

func (b *backend) get(ctx context.Context, base *url.URL, path string) *answer {
	a := &answer{}
	start := time.Now()
	sent := make(chan time.Time, 1) // the transport may still write it when an error has come
	req, err := b.request(httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		WroteRequest: func(httptrace.WroteRequestInfo) {
			select {
			case sent <- time.Now():
			default: // net/http has sent it again
			}
		},
	}), http.MethodGet, base, path, "")
	if err != nil {
		a.err = err
		return a
	}
	res, err := b.client.Do(req)
	if err != nil {
		if e, ok := errors.AsType[*url.Error](err); ok {
			err = e.Err // without the URL, which is named already
		}
		a.err = err
		return a
	}
	defer res.Body.Close()
	a.status, a.header, a.at = res.StatusCode, res.Header, time.Now()
	select {
	case start = <-sent: // without the time for connecting
	default:
	}
	a.first = a.at.Sub(start)
	a.body, a.err = io.ReadAll(io.LimitReader(res.Body, maxBody))
	return a
}

// usable tells whether a model can be asked for something.
func (b *backend) usable() bool { return b.models.good() && len(b.candidates()) > 0 }

// candidates are the models that the upstream has and the configuration lets it
// serve, those in memory first. Models that only embed are left out by their
// name, which is all there is to go by.
func (b *backend) candidates() (names []string) {
	for _, m := range b.listed {
		if b.serves(m.ID) && !strings.Contains(strings.ToLower(m.ID), "embed") {
			names = append(names, m.ID)
		}
	}
	slices.SortStableFunc(names, func(x, y string) int { return rank(b.loaded, x) - rank(b.loaded, y) })
	return names
}

func rank(loaded []string, name string) int {
	if slices.Contains(loaded, name) {
		return 0
	}
	return 1
}

// serves tells whether a client may ask for a listed model by one of its names:
// to Ollama m is m:latest.
func (b *backend) serves(id string) bool {
	return b.cfg.Serves(id) || b.cfg.Serves(strings.TrimSuffix(id, ":latest"))
}
