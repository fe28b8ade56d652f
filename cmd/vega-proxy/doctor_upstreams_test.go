package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/vega-proxy/vega-proxy/internal/doctor"
)

// handled starts a server of one handler.
func handled(t *testing.T, h http.HandlerFunc) string {
	srv := httptest.NewServer(h)
	t.Cleanup(func() {
		srv.CloseClientConnections()
		srv.Close()
	})
	return srv.URL
}

// answering plants an upstream of one handler.
func answering(h http.HandlerFunc) func(*testing.T, string, *setup) string {
	return func(t *testing.T, _ string, _ *setup) string { return handled(t, h) }
}

// saying plants an upstream that answers /v1/models, and says nothing of others.
func saying(status int, contentType, body string) func(*testing.T, string, *setup) string {
	return answering(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/v1/models" {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", contentType)
		w.WriteHeader(status)
		io.WriteString(w, body)
	})
}

// connected plants an upstream that does something with each connection.
func connected(do func(net.Conn)) func(*testing.T, string, *setup) string {
	return func(t *testing.T, _ string, _ *setup) string {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			for {
				conn, err := ln.Accept()
				if err != nil {
					return
				}
				do(conn)
			}
		}()
		t.Cleanup(func() {
			ln.Close()
			<-ended
		})
		return "http://" + ln.Addr().String()
	}
}

const (
	someModels = `{"object":"list","data":[{"id":"llama","object":"model","owned_by":"vllm"}]}`
	asJSON     = "application/json"
)

// streaming plants an upstream with a model whose answer is written by a func.
func streaming(write func(w io.Writer, flush func())) func(*testing.T, string, *setup) string {
	return func(t *testing.T, _ string, with *setup) string {
		with.args = []string{"--generate"}
		return handled(t, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/v1/models" {
				io.WriteString(w, someModels)
				return
			}
			w.Header().Set("Content-Type", "text/event-stream")
			write(w, w.(http.Flusher).Flush)
		})
	}
}

var upstreamFaults = []fault{
	{name: "no such host", check: "upstream.resolves", words: []string{"backend.invalid has no address", "correct the host"}, plant: at("http://backend.invalid:8000")},
	{name: "refused", check: "upstream.connects", words: []string{"refuses connections", "start the backend"}, plant: at("http://127.0.0.1:1")},
	{name: "silent", check: "upstream.answers", words: []string{"did not answer within", "restart the backend"},
		plant: answering(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })},
	{name: "closes", check: "upstream.answers", words: []string{"no answer in HTTP"}, plant: connected(func(c net.Conn) { c.Close() })},
	{name: "no HTTP", check: "upstream.answers", words: []string{"no answer in HTTP"}, plant: connected(func(c net.Conn) {
		io.WriteString(c, "SSH-2.0-OpenSSH_9.2\r\n")
		c.Close()
	})},
	{name: "wants a key", check: "upstream.authorised", words: []string{"401", "headers:"}, plant: saying(401, asJSON, `{"error":{"message":"no key"}}`)},
	{name: "wants another key", check: "upstream.authorised", words: []string{"401 to the configured credential", "correct the key"},
		plant: func(t *testing.T, dir string, with *setup) string {
			with.of = ", headers: {Authorization: 'Bearer stale'}"
			return saying(401, asJSON, "{}")(t, dir, with)
		}},
	{name: "forbids", check: "upstream.authorised", words: []string{"403"}, plant: saying(403, asJSON, "{}")},
	{name: "wants another client key", check: "upstream.authorised", words: []string{"the key in --key-file"},
		plant: func(t *testing.T, dir string, with *setup) string {
			with.args = []string{"--key-file", writeFile(t, "key", "sk-client\n")}
			return saying(401, asJSON, "{}")(t, dir, with)
		}},
	{name: "an Ollama without a model", check: "upstream.models", words: []string{"no model", "ollama pull"},
		plant: answering(func(w http.ResponseWriter, r *http.Request) {
			io.WriteString(w, map[string]string{
				"/v1/models": `{"object":"list","data":null}`, "/api/version": `{"version":"0.12.0"}`, "/api/ps": `{"models":[]}`,
			}[r.URL.Path])
		})},
	{name: "no model", check: "upstream.models", words: []string{"empty"}, plant: saying(200, asJSON, `{"object":"list","data":[]}`)},
	{name: "other models", check: "upstream.globs", words: []string{"none of its models matches qwen*", "llama"},
		plant: func(t *testing.T, dir string, with *setup) string {
			with.of = ", models: ['qwen*']"
			return saying(200, asJSON, someModels)(t, dir, with)
		}},
	{name: "some other models", check: "upstream.globs", as: doctor.Warning, words: []string{"no model matches qwen*"},
		plant: func(t *testing.T, dir string, with *setup) string {
			with.of = ", models: ['qwen*', llama]"
			return saying(200, asJSON, someModels)(t, dir, with)
		}},
	{name: "a web page", check: "upstream.answers", words: []string{"web page", "11434"}, plant: saying(200, "text/html", "<html>chat</html>")},
	{name: "another server", check: "upstream.path", words: []string{"there is no /v1/models", "correct the host or the port"}, plant: answering(http.NotFound)},
	{name: "in trouble", check: "upstream.answers", words: []string{"status 500", "out of memory"}, plant: saying(500, asJSON, `{"error":"CUDA out of memory"}`)},
	{name: "loading", check: "upstream.answers", as: doctor.Warning, words: []string{"loading"}, plant: saying(503, asJSON, `{"error":{"message":"Loading model","code":503}}`)},
	{name: "redirects", check: "upstream.answers", words: []string{"redirects to https://other.example/"},
		plant: answering(func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "https://other.example/", http.StatusMovedPermanently)
		})},
	{name: "a path too much", check: "upstream.path", words: []string{"remove /v1 from the URL"},
		plant: func(t *testing.T, dir string, with *setup) string {
			return saying(200, asJSON, someModels)(t, dir, with) + "/v1"
		}},
	{name: "another clock", check: "upstream.clock", words: []string{"1h0m", "behind ours", "NTP"},
		plant: answering(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Date", time.Now().Add(-time.Hour).UTC().Format(http.TimeFormat))
			io.WriteString(w, someModels)
		})},
	{name: "one block", check: "upstream.stream", words: []string{"as one block", "proxy_buffering off"},
		plant: streaming(func(w io.Writer, _ func()) {
			time.Sleep(100 * time.Millisecond) // the model writes, and somebody holds it back
			for range 10 {
				io.WriteString(w, firstEvent)
			}
			io.WriteString(w, lastEvents)
		})},
	{name: "no end", check: "upstream.stream", as: doctor.Warning, words: []string{"none with a finish reason"},
		plant: streaming(func(w io.Writer, flush func()) {
			for range 5 {
				io.WriteString(w, firstEvent)
				flush()
				time.Sleep(5 * time.Millisecond)
			}
		})},
	{name: "breaks off", check: "upstream.stream", words: []string{"broke off after 1 events"},
		plant: streaming(func(w io.Writer, flush func()) {
			io.WriteString(w, firstEvent)
			flush()
			panic(http.ErrAbortHandler)
		})},
	{name: "another vega-proxy", check: "upstream.kind", as: doctor.Warning, words: []string{"another vega-proxy"},
		plant: func(t *testing.T, _ string, _ *setup) string {
			backend, _ := holding(t)
			return serve(t, upstreamAt(backend)).proxy
		}},
}

// secured starts a server with a certificate for a name, until a time.
func secured(t *testing.T, name string, until time.Time) (url, caFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-100 * 24 * time.Hour), NotAfter: until,
		DNSNames: []string{name}, IsCA: true, BasicConstraintsValid: true}
	if ip := net.ParseIP(name); ip != nil {
		template.DNSNames, template.IPAddresses = nil, []net.IP{ip}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, someModels) }))
	srv.TLS = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
	srv.Config.ErrorLog = log.New(io.Discard, "", 0) // who does not trust it hangs up
	srv.StartTLS()
	t.Cleanup(srv.Close)
	return srv.URL, writeFile(t, "ca.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
}

// trusting plants such a server, whose certificate is trusted.
func trusting(name string, left time.Duration) func(*testing.T, string, *setup) string {
	return func(t *testing.T, _ string, with *setup) string {
		url, ca := secured(t, name, time.Now().Add(left))
		with.of = fmt.Sprintf(", tls: {ca_file: '%s'}", ca)
		return url
	}
}

const day = 24 * time.Hour

var tlsFaults = []fault{
	{name: "TLS where none is", check: "upstream.tls", words: []string{"does not speak TLS", "http://"},
		plant: func(t *testing.T, dir string, with *setup) string {
			return strings.Replace(saying(200, asJSON, someModels)(t, dir, with), "http:", "https:", 1)
		}},
	{name: "no TLS where it is", check: "upstream.answers", words: []string{"it speaks TLS", "https://"},
		plant: func(t *testing.T, _ string, _ *setup) string {
			url, _ := secured(t, "127.0.0.1", time.Now().Add(day))
			return strings.Replace(url, "https:", "http:", 1)
		}},
	{name: "TLS that hangs", check: "upstream.tls", words: []string{"did not answer within"},
		plant: func(t *testing.T, dir string, with *setup) string {
			ended := make(chan struct{})
			t.Cleanup(func() { close(ended) })
			hang := func(c net.Conn) { go func() { <-ended; c.Close() }() }
			return strings.Replace(connected(hang)(t, dir, with), "http:", "https:", 1)
		}},
	{name: "an unknown authority", check: "upstream.tls", words: []string{"not known here", "tls.ca_file"},
		plant: func(t *testing.T, _ string, _ *setup) string {
			url, _ := secured(t, "127.0.0.1", time.Now().Add(100*day))
			return url
		}},
	{name: "expired", check: "upstream.tls", words: []string{"expired", "renew"}, plant: trusting("127.0.0.1", -day)},
	{name: "expires", check: "upstream.tls", as: doctor.Warning, words: []string{"its certificate ends", "renew"}, plant: trusting("127.0.0.1", 3*day)},
	{name: "another name", check: "upstream.tls", words: []string{"another name"}, plant: trusting("other.example", 100*day)},
}
