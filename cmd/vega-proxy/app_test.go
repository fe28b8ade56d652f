package main

import (
	"context"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/vega-proxy/vega-proxy/internal/config"
)

// configured is the configuration of a command line, with free ports and a new
// data directory.
func configured(t *testing.T, args ...string) *config.Config {
	t.Helper()
	fs := serveCommand().Flags()
	err := fs.Parse(append([]string{
		"--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--data-dir", filepath.Join(t.TempDir(), "data"),
	}, args...))
	if err != nil {
		t.Fatal(err)
	}
	cfg, _, err := load(fs)
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

// TestRunLeavesNothing: when run returns, no goroutine, listener or lock is left,
// though clients still had connections.
func TestRunLeavesNothing(t *testing.T) {
	before := goleak.IgnoreCurrent()
	backend, release := holding(t)
	cfg := configured(t, "--upstream", backend, "--config", writeFile(t, "c.yaml", "metrics: {listen: '127.0.0.1:0'}"))
	log := newText()
	a, err := newApp(cfg, nil, log)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- a.run(ctx) }()

	front := "http://" + a.frontLn.Addr().String()
	c := newClient(t)
	_, stream := openStream(t, c, front)
	kept := keepAlive(t, front)
	kept.ask().want(t, http.StatusOK, "")
	stop()
	if _, ok := log.line(nil, "listener closed"); !ok {
		t.Fatal("the drain did not begin")
	}
	release()
	if rest, err := readAll(stream); err != nil || !strings.HasSuffix(rest, lastEvents) {
		t.Errorf("the stream ended with %v after %q", err, rest)
	}
	if err := <-ended; err != nil {
		t.Errorf("run: %v", err)
	}
	if !strings.HasSuffix(log.String(), "\"stopped\"}\n") {
		t.Errorf("the log's end is lost:\n%s", log)
	}

	for _, ln := range []net.Listener{a.frontLn, a.adminLn, a.metricsLn} {
		if conn, err := net.Dial("tcp", ln.Addr().String()); err == nil {
			conn.Close()
			t.Errorf("%s still listens", ln.Addr())
		}
	}
	if unlock, err := openDataDir(cfg.DataDir); err != nil {
		t.Error(err)
	} else if err := unlock(); err != nil {
		t.Error(err)
	}
	c.CloseIdleConnections()
	http.DefaultClient.CloseIdleConnections()
	kept.conn.Close()
	goleak.VerifyNone(t, before, goleak.IgnoreAnyFunction("net/http/httptest.(*Server).goServe.func1"),
		goleak.IgnoreAnyFunction("net/http.(*conn).serve"))
}

// TestNewAppLeavesNothing: a start that fails lets go of what it had taken.
func TestNewAppLeavesNothing(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	free.Close()

	cfg := configured(t, "--listen", free.Addr().String(), "--admin-listen", taken.Addr().String())
	log := newText()
	if _, err := newApp(cfg, []string{"a warning"}, log); err == nil || !strings.Contains(err.Error(), "admin.listen: ") {
		t.Fatalf("newApp: %v", err)
	}
	if !strings.Contains(log.String(), "a warning") {
		t.Error("the warning was lost")
	}
	ln, err := net.Listen("tcp", free.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	ln.Close()
	unlock, err := openDataDir(cfg.DataDir)
	if err != nil {
		t.Fatal(err)
	}
	if err := unlock(); err != nil {
		t.Error(err)
	}
}

// sleeper is a reader of the log that does not read until it is woken.
type sleeper struct {
	awake chan struct{}
	text  *text
}

func (s sleeper) Write(p []byte) (int, error) {
	<-s.awake
	return s.text.Write(p)
}

func TestGatherWaitsForNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := sleeper{make(chan struct{}), newText()}
		g := newGather(w)
		g.lost = func(n int) { io.WriteString(g, "lost\n") }
		stop := g.start()
		io.WriteString(g, "first\n")
		time.Sleep(2 * gatherFor) // the write has begun, and hangs
		for range 1 + gatherBytes/len("line\n") {
			io.WriteString(g, "line\n") // the last ones find no room
		}
		begun := time.Now()
		stop()
		if waited := time.Since(begun); waited != lastLines {
			t.Errorf("the end waited for %v", waited)
		}
		close(w.awake)
		synctest.Wait()
		got := w.text.String()
		if !strings.HasPrefix(got, "first\nline\n") || !strings.HasSuffix(got, "line\nlost\n") {
			t.Errorf("written: %d bytes, ending in %q", len(got), got[max(0, len(got)-20):])
		}
	})
}

func TestGatherWritesManyLinesAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newText()
		g := newGather(w)
		io.WriteString(g, "a start's\n")
		stop := g.start()
		synctest.Wait()
		if got := w.String(); got != "a start's\n" {
			t.Errorf("written at once: %q", got)
		}
		io.WriteString(g, "one\n")
		io.WriteString(g, "two\n")
		synctest.Wait()
		if got := w.String(); got != "a start's\n" {
			t.Errorf("written soon after: %q", got)
		}
		time.Sleep(gatherFor)
		synctest.Wait()
		if got := w.String(); got != "a start's\none\ntwo\n" {
			t.Errorf("written: %q", got)
		}
		io.WriteString(g, "three\n")
		stop()
		if got := w.String(); got != "a start's\none\ntwo\nthree\n" {
			t.Errorf("written at the end: %q", got)
		}
	})
}
