package config

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

// writeFile writes a file into a directory of the test's own.
func writeFile(t *testing.T, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// load loads a file of this content with these variables and no flags.
func load(t *testing.T, yaml string, environ ...string) (*Config, []string, error) {
	t.Helper()
	return Load(writeFile(t, "vega.yaml", yaml), nil, environ)
}

func mustLoad(t *testing.T, yaml string, environ ...string) *Config {
	t.Helper()
	c, _, err := load(t, yaml, environ...)
	if err != nil {
		t.Fatalf("Load of\n%s\nwith %v: %v", yaml, environ, err)
	}
	return c
}

// refusals are the problems of a configuration that must not load.
func refusals(t *testing.T, yaml string, environ ...string) Problems {
	t.Helper()
	c, _, err := load(t, yaml, environ...)
	if err == nil {
		t.Fatalf("Load accepted\n%s\nwith %v", yaml, environ)
	}
	if c != nil {
		t.Error("Load returned a configuration together with an error")
	}
	ps, ok := errors.AsType[Problems](err)
	if !ok {
		t.Fatalf("error is %T, not Problems: %v", err, err)
	}
	return ps
}

// wantProblems holds the problems to exactly these paths, in any order.
func wantProblems(t *testing.T, ps Problems, paths ...string) {
	t.Helper()
	var got []string
	for _, p := range ps {
		got = append(got, p.Path)
	}
	slices.Sort(got)
	slices.Sort(paths)
	if !slices.Equal(got, paths) {
		t.Errorf("problems at %q, want %q:\n%v", got, paths, ps)
	}
}

// wantText holds an error or warning to contain every one of the parts.
func wantText(t *testing.T, text string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(text, part) {
			t.Errorf("%q does not say %q", text, part)
		}
	}
}

func parseFlags(t *testing.T, args ...string) *pflag.FlagSet {
	t.Helper()
	fs := pflag.NewFlagSet("serve", pflag.ContinueOnError)
	Flags(fs)
	if err := fs.Parse(args); err != nil {
		t.Fatal(err)
	}
	return fs
}

// certificate makes a pair of files that belong together.
func certificate(t *testing.T) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1)}
	certDER, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	cert = writeFile(t, "cert.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certDER})))
	key = writeFile(t, "key.pem", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})))
	return cert, key
}
