//go:build prove

package main

import (
	"context"
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vega-proxy/vega-proxy/internal/simllm"
)

const (
	startsEach   = 25
	longestStart = 100 * time.Millisecond
	// What a killed process left, and how long a start over it may take.
	leftBytes       = 100e6
	longestOverLeft = 300 * time.Millisecond
)

// TestStarts holds how long a start takes until the proxy says that it is ready, passes
// a request and has its line in the log: on a new data directory, on one that was used, and over the spool
// that a kill has left; on an idle machine and beside twice as many busy processes as
// it has processors.
func TestStarts(t *testing.T) {
	_, backend := simulate(t, simllm.Config{Tokens: 3})
	left := filepath.Join(t.TempDir(), "left")
	dead := "postgres://nobody@127.0.0.1:1/none"
	sent := fillSpool(t, left, dead, backend)
	used := filepath.Join(t.TempDir(), "used")
	for _, beside := range []int{0, 2 * runtime.NumCPU()} {
		stop := keepBusy(t, beside)
		for _, s := range []struct {
			name, database string
			dir            func() string
			longest        time.Duration
		}{
			{"a new directory", "", func() string { return filepath.Join(t.TempDir(), "new") }, longestStart},
			{"a used directory", "", func() string { return used }, longestStart},
			{"over what a kill left", dead, func() string { return left }, longestOverLeft},
		} {
			var took []time.Duration
			for range startsEach {
				took = append(took, startOnce(t, s.dir(), s.database, backend))
			}
			slices.Sort(took)
			t.Logf("%s, beside %d busy processes: median %v, longest %v of %d", s.name, beside, took[startsEach/2], took[startsEach-1], startsEach)
			if took[startsEach-1] > s.longest {
				t.Errorf("%s, beside %d busy processes: a start took %v: %v", s.name, beside, took[startsEach-1], took)
			}
		}
		stop()
	}
	// A start with a database that is there stores all of it.
	p := serveIn(t, left, nil, upstreamAt(backend))
	p.flush(newClient(t))
	if a := audited(t, "--data-dir", left); a.Spooled != 0 || a.Dropped != 0 || a.InSink != int64(sent) {
		t.Errorf("of %d conversations: %+v", sent, a)
	}
}

// fillSpool leaves a spool of leftBytes behind a kill, and returns how many
// conversations are in it.
func fillSpool(t *testing.T, dir, database, backend string) (sent int) {
	p := serveIn(t, dir, nil, upstreamAt(backend)+"cache: {policy: 'off'}\n", "--database", database)
	c := newClient(t)
	prompt := strings.Repeat("all work and no play ", 12_000)
	body := strings.Replace(chat, "Tell me about the sea.", prompt, 1)
	for size := 0; size < leftBytes; size += len(body) {
		do(t, c, http.MethodPost, p.proxy+chatPath, body).want(t, http.StatusOK, "")
		sent++
	}
	p.signal(syscall.SIGKILL)
	p.end()
	return sent
}

// startOnce starts the program, and kills it when it serves. It returns how long that
// took.
func startOnce(t *testing.T, dir, database, backend string) time.Duration {
	t.Helper()
	listen, admin := freeAddress(t), freeAddress(t)
	c := newClient(t)
	begun := time.Now()
	p := begin(t, nil, "serve", "--upstream", backend, "--data-dir", dir, "--listen", listen, "--admin-listen", admin, "--database", database)
	for _, url := range []string{"http://" + admin + "/readyz", "http://" + listen + "/v1/models"} {
		for {
			if r, err := try(t.Context(), c, http.MethodGet, url, ""); err == nil && r.status == http.StatusOK {
				break
			}
			if time.Since(begun) > patience {
				t.Fatal("it does not get ready")
			}
			time.Sleep(time.Millisecond)
		}
	}
	p.wait(`"msg":"proxy listening"`)
	took := time.Since(begun)
	p.signal(syscall.SIGKILL)
	p.end()
	return took
}

// freeAddress is one that nobody listened on a moment ago.
func freeAddress(t *testing.T) string {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

// keepBusy starts n processes that do nothing but compute, until stop.
func keepBusy(t *testing.T, n int) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	var all []*exec.Cmd
	for range n {
		cmd := exec.CommandContext(ctx, "sh", "-c", "while :; do :; done")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		all = append(all, cmd)
	}
	return func() {
		cancel()
		for _, cmd := range all {
			_ = cmd.Wait() // killed
		}
	}
}
