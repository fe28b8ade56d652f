package batchlog

import (
	"bufio"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
)

const killedDir = "VEGA_TEST_KILLED_DIR"

// TestKilled kills, at random moments, a process that appends and stores: what
// Append returned for is in the log once. The process is this test itself.
func TestKilled(t *testing.T) {
	if dir := os.Getenv(killedDir); dir != "" {
		appendForEver(t, dir)
	}
	dir := t.TempDir()
	acknowledged := map[string]bool{}
	for range 8 {
		child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestKilled$")
		child.Env = append(os.Environ(), killedDir+"="+dir)
		out, err := child.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		for n := 20 + rand.IntN(300); n > 0 && lines.Scan(); n-- {
			acknowledged[lines.Text()] = true
		}
		if err := child.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		for lines.Scan() {
			acknowledged[lines.Text()] = true
		}
		if err := child.Wait(); err == nil {
			t.Fatal("the process ended by itself")
		}
	}
	l := open(t, testConfig(), dir)
	flushAll(t, l)
	found := map[string]bool{}
	for q := (Query{Limit: 1000}); ; {
		page, next, err := l.Conversations(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range page {
			found[c.ID] = true
		}
		if q.Cursor = next; next == "" {
			break
		}
	}
	for id := range acknowledged {
		if _, err := uuid.Parse(id); err == nil && !found[id] {
			t.Errorf("%s was taken and is not in the log", id)
		}
	}
	if len(acknowledged) < 100 {
		t.Errorf("only %d records were taken", len(acknowledged))
	}
	balanced(t, l.Log)
}

func appendForEver(t *testing.T, dir string) {
	cfg := testConfig()
	cfg.BatchSize, cfg.FlushInterval = 7, time.Millisecond
	l, err := New(cfg, dir, "here", slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	go func() { t.Error(l.Run(t.Context())) }()
	for {
		r := chat("p", "a")
		late := l.Stats().Late
		l.Append(r, nothing)
		if l.Stats().Late == late { // else the disk is slow, and nothing is promised
			fmt.Println(r.ID)
		}
	}
}
