package proxy

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/vega-proxy/vega-proxy/internal/stream"
)

// Settings is what a reload may change.
type Settings struct {
	// Config's part that belongs to the listener holds as it was at first.
	Config    Config
	Upstreams Upstreams
	// Streams holds each upstream's stream settings by its name, and Stream those
	// of answers whose upstream is no longer among them.
	Streams map[string]stream.Config
	Stream  stream.Config
	// Cache may answer in place of an upstream; nil is none. With SharedCache
	// one client's answers are for all.
	Cache       Cache
	SharedCache bool
	// Generation is another one where other upstreams would answer: what was
	// cached under one is not given under another.
	Generation uint64
	// JournalEmbeddings has embeddings recorded too.
	JournalEmbeddings bool
	// MaxRecordBytes is how much of an answer a record holds.
	MaxRecordBytes int64
	// MaxHeldBytes is how much all answers together may hold for their records.
	MaxHeldBytes int64
	// SessionHeaders are looked at in this order for a session's id.
	SessionHeaders []string
	// Finishes tells that some upstream goes on after its client left.
	Finishes bool
	// Secret tells that some upstream's headers hold a secret.
	Secret bool
	// DrainTimeout is how long streams in flight may go on after Serve's
	// context has ended; DrainDelay how long all is served as before.
	DrainDelay, DrainTimeout time.Duration
}

// rules are settings in force. An exchange keeps to those that it began under.
type rules struct {
	Settings
	guard *guard
}

func (s *Server) newRules(set Settings) (*rules, error) {
	g, err := newGuard(set.Config, s.hops, s.loopback, set.Secret)
	if err != nil {
		return nil, err
	}
	set.SessionHeaders = slices.Clone(set.SessionHeaders)
	for i, name := range set.SessionHeaders {
		set.SessionHeaders[i] = http.CanonicalHeaderKey(name)
	}
	return &rules{set, g}, nil
}

// stream returns the stream settings of an upstream.
func (r *rules) stream(upstream string) stream.Config {
	if c, ok := r.Streams[upstream]; ok {
		return c
	}
	return r.Stream
}

// Prepare makes ready what new settings need and changes nothing yet; apply does,
// for the exchanges that begin from then on. The listener's certificate is read
// anew.
func (s *Server) Prepare(next Settings) (apply func(), err error) {
	r, err := s.newRules(next)
	if err != nil {
		return nil, err
	}
	certificate := s.certificate.Load()
	if certificate != nil {
		if certificate, err = loadCertificate(next.Config.TLS); err != nil {
			return nil, err
		}
	}
	return func() {
		s.certificate.Store(certificate)
		s.rules.Store(r)
		s.opts.Metrics.retain(func(upstream string) bool {
			_, configured := r.Streams[upstream]
			return configured
		})
	}, nil
}

func loadCertificate(c TLSConfig) (*tls.Certificate, error) {
	pair, err := tls.LoadX509KeyPair(c.CertFile, c.KeyFile)
	if err != nil {
		return nil, fmt.Errorf("tls: %w", err)
	}
	return &pair, nil
}

// getCertificate is for each handshake.
func (s *Server) getCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	if c := s.certificate.Load(); c != nil {
		return c, nil
	}
	return nil, errors.New("there is no certificate")
}
