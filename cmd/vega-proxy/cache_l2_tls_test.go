package main

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
)

// TestSharedCacheTLS: the second tier is used over TLS by whoever knows the
// authority of its certificate. Whoever does not, or speaks it wrongly, is told why,
// and serves its clients without it.
func TestSharedCacheTLS(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cert, key, other := filepath.Join(dir, "redis.crt"), filepath.Join(dir, "redis.key"), filepath.Join(dir, "other.crt")
	writePair(t, cert, key)
	writePair(t, other, filepath.Join(dir, "other.key"))
	store := newTLSRedis(t, cert, key)
	backend, _ := numbering(t)
	address := fmt.Sprintf("localhost:%d", store.port)

	a := newReplica(t, backend, "rediss://"+address, patient, "SSL_CERT_FILE="+cert).ready()
	b := newReplica(t, backend, "rediss://"+address, patient, "SSL_CERT_FILE="+cert).ready()
	first := a.want("the sea", "MISS")
	a.written(1)
	if got := b.want("the sea", "HIT"); got != first {
		t.Errorf("the other gives %s, want %s", got, first)
	}
	a.clear("")
	b.heard(1)
	b.want("the sea", "MISS")

	for _, tt := range []struct{ name, url, trusts, why string }{
		{"another authority", "rediss://" + address, other,
			"the certificate of " + address + " is signed by an authority that this machine does not know; name it in SSL_CERT_FILE"},
		{"another name", "rediss://" + store.address(), cert, "the certificate of " + store.address() + " is not for this name"},
		{"no TLS", "redis://" + address, cert, "write rediss in place of redis"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newReplica(t, backend, tt.url, "200ms", "SSL_CERT_FILE="+tt.trusts)
			r.want("the sea", "MISS")
			r.want("the sea", "HIT")
			until(t, "the breaker opens", func() bool { return r.l2().State != "closed" })
			r.want("the sky", "MISS")
			r.want("the sky", "HIT")
			s := r.l2()
			status, reasons := r.health()
			if s.Synced || s.LastError == "" || !strings.Contains(s.LastError, tt.why) || status != "warning" || !strings.Contains(strings.Join(reasons, ""), tt.why) {
				t.Errorf("%+v, health %s %q", s, status, reasons)
			}
		})
	}
}
