package main

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// keptAlive is a client's connection that stays open between requests.
type keptAlive struct {
	t    *testing.T
	conn net.Conn
	r    *bufio.Reader
}

func keepAlive(t *testing.T, url string) *keptAlive {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return &keptAlive{t, conn, bufio.NewReader(conn)}
}

func (k *keptAlive) ask() reply {
	k.t.Helper()
	if _, err := fmt.Fprint(k.conn, "GET /v1/models HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
		k.t.Fatal(err)
	}
	res, err := http.ReadResponse(k.r, nil)
	if err != nil {
		k.t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := readAll(res.Body)
	if err != nil {
		k.t.Fatal(err)
	}
	return reply{res.StatusCode, res.Header, body}
}

func TestDrain(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		t.Run(sig.String(), func(t *testing.T) {
			t.Parallel()
			backend, release := holding(t)
			p := serve(t, upstreamAt(backend)+"shutdown: {drain_delay: 2s}\n")
			c := newClient(t)
			_, stream := openStream(t, c, p.proxy)
			kept := keepAlive(t, p.proxy)
			kept.ask().want(t, http.StatusOK, "")

			p.signal(sig)
			until(t, "readiness fails", func() bool {
				return do(t, c, http.MethodGet, p.admin+"/readyz", "").status == http.StatusServiceUnavailable
			})
			// The others have yet to hear of it: all is served as before.
			keepAlive(t, p.proxy).ask().want(t, http.StatusOK, "")
			kept.ask().want(t, http.StatusOK, "")
			if strings.Contains(p.log.String(), "listener closed") {
				t.Error("the listener was closed before the drain delay was over")
			}

			p.wait("listener closed", `"in_flight":1`)
			until(t, "new connections are refused", func() bool {
				conn, err := net.Dial("tcp", strings.TrimPrefix(p.proxy, "http://"))
				if err == nil {
					conn.Close()
				}
				return err != nil
			})
			r := kept.ask()
			r.want(t, http.StatusServiceUnavailable, "shutting_down")
			if r.header.Get("Retry-After") == "" {
				t.Error("the refusal does not say when to come back")
			}
			if _, err := kept.r.ReadByte(); err == nil {
				t.Error("the connection goes on after the refusal")
			}

			release()
			rest, err := readAll(stream)
			if err != nil || !strings.HasSuffix(rest, lastEvents) {
				t.Errorf("the stream in flight ended with %v after %q", err, rest)
			}
			p.wantExit(0)
			p.wait(`"msg":"stopping"`, "signal received")
			p.wait(`"msg":"stopped"`)
		})
	}
}

func TestDrainTimeoutCuts(t *testing.T) {
	t.Parallel()
	backend, _ := holding(t)
	p := serve(t, upstreamAt(backend)+"shutdown: {drain_timeout: 200ms}\n")
	_, stream := openStream(t, newClient(t), p.proxy)
	p.signal(syscall.SIGTERM)
	rest, err := readAll(stream)
	if err == nil || !strings.Contains(rest, "shutting_down") || strings.Contains(rest, "[DONE]") {
		t.Errorf("the stream was cut with %v after %q", err, rest)
	}
	p.wantExit(0)
	p.wait(`"msg":"exchange"`, `"ended_by":"shutdown"`, `"code":"shutting_down"`)
}

func TestSecondSignalEndsAtOnce(t *testing.T) {
	t.Parallel()
	backend, _ := holding(t)
	p := serve(t, upstreamAt(backend)+"shutdown: {drain_timeout: 10m}\n")
	openStream(t, newClient(t), p.proxy)
	p.signal(syscall.SIGTERM)
	p.wait("listener closed")
	p.signal(syscall.SIGTERM)
	if status := p.end(); !status.Signaled() || status.Signal() != syscall.SIGTERM {
		t.Errorf("ended with %v", p.cmd.ProcessState)
	}
}

func TestHangupChangesNothing(t *testing.T) {
	t.Parallel()
	backend, release := holding(t)
	p := serve(t, upstreamAt(backend))
	_, stream := openStream(t, newClient(t), p.proxy)
	p.signal(syscall.SIGHUP)
	p.wait("configuration reloaded", "SIGHUP", "nothing changed")
	release()
	if rest, err := readAll(stream); err != nil || !strings.HasSuffix(rest, lastEvents) {
		t.Errorf("the stream ended with %v after %q", err, rest)
	}
	p.signal(syscall.SIGTERM)
	p.wantExit(0)
}

// TestHangupWhileStarting: a service manager may ask for a reload of a process that
// has not read its configuration yet.
func TestHangupWhileStarting(t *testing.T) {
	t.Parallel()
	backend, _ := holding(t)
	file := filepath.Join(t.TempDir(), "vega-proxy.yaml") // which is read for as long as we write it
	if err := syscall.Mkfifo(file, 0o600); err != nil {
		t.Fatal(err)
	}
	p := begin(t, nil, "serve", "--config", file, "--data-dir", t.TempDir(), "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0")
	w, err := os.OpenFile(file, os.O_WRONLY, 0) // returns when the process reads
	if err != nil {
		t.Fatal(err)
	}
	p.signal(syscall.SIGHUP)
	_, err = w.WriteString(upstreamAt(backend))
	if err = errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	p.listening()
	p.wait(`"trigger":"SIGHUP"`)
	p.signal(syscall.SIGTERM)
	p.wantExit(0)
}

// TestNobodyReadsTheLog: a reader of the log that sleeps, and one that has left,
// hold up neither an exchange nor the end of the process.
func TestNobodyReadsTheLog(t *testing.T) {
	for name, leave := range map[string]bool{"sleeps": false, "has left": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			backend, _ := holding(t)
			r, w, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			p := &process{t: t, out: newText(), log: newText(), ended: make(chan struct{})}
			p.dataDir = filepath.Join(t.TempDir(), "data")
			p.cmd = command(t, "serve", "--upstream", backend, "--data-dir", p.dataDir, "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0")
			p.cmd.Stderr = w
			p.start()
			w.Close()
			lines := bufio.NewScanner(r)
			for p.proxy == "" && lines.Scan() {
				if strings.Contains(lines.Text(), "proxy listening") {
					p.proxy = "http://" + parseLine(t, lines.Text())["address"].(string)
				}
			}
			if leave {
				r.Close()
			}
			c := newClient(t)
			for range 600 { // more than a pipe holds
				do(t, c, http.MethodGet, p.proxy+"/v1/models", "").want(t, http.StatusOK, "")
			}
			p.signal(syscall.SIGTERM)
			p.wantExit(0)
		})
	}
}
