package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// writePair writes a new certificate and its key, and returns the certificate.
func writePair(t *testing.T, certFile, keyFile string) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"localhost"}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	replace(t, certFile, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
	replace(t, keyFile, string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})))
	return der
}

// presents wants the proxy to show a certificate.
func (p *process) presents(der []byte) {
	p.t.Helper()
	conn, err := tls.Dial("tcp", strings.TrimPrefix(p.proxy, "http://"), &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		p.t.Fatal(err)
	}
	defer conn.Close()
	if got := conn.ConnectionState().PeerCertificates[0].Raw; !bytes.Equal(got, der) {
		p.t.Error("another certificate is shown")
	}
}

// TestReloadTLS: a renewed certificate is shown from the next connection on.
func TestReloadTLS(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")
	first := writePair(t, cert, key)
	one := named(t, "one")
	file := writeFile(t, "vega-proxy.yaml", upstreamAt(one)+"tls: {cert_file: "+cert+", key_file: "+key+"}\n")
	p, c := serveFile(t, file), newClient(t)
	p.presents(first)
	second := writePair(t, cert, key)
	if status, done := p.askReload(c); status != 200 || !slices.Equal(done.Changed, []string{"tls.cert_file", "tls.key_file"}) {
		t.Errorf("%d %+v", status, done)
	}
	p.presents(second)
	replace(t, file, upstreamAt(one))
	if _, done := p.askReload(c); done.Applied || !slices.Equal(done.RestartNeeded, []string{"tls.cert_file", "tls.key_file"}) {
		t.Errorf("TLS turned off: %+v", done)
	}
	p.presents(second)
}
