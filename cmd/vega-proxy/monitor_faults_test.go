package main

import (
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/vega-proxy/vega-proxy/internal/simllm"
)

// TestMonitorNamesFaults plants faults into the running program, one after the
// other, and has the admin API name them: what it is, and where in the code.
func TestMonitorNamesFaults(t *testing.T) {
	t.Parallel()
	program := filepath.Join(t.TempDir(), "vega-proxy")
	if err := build(program, "-tags", "faults"); err != nil {
		t.Fatal(err)
	}
	const interval = 5 * time.Second
	_, backend := simulate(t, simllm.Config{Tokens: 3})
	faulty := func(t *testing.T, settings string, env ...string) (*process, *http.Client) {
		return serveProgram(t, program, filepath.Join(t.TempDir(), "data"), env, upstreamAt(backend)+"cache: {policy: 'off'}\n"+settings), newClient(t)
	}
	ask := func(t *testing.T, p *process, c *http.Client, requestID string) {
		t.Helper()
		do(t, c, http.MethodPost, p.proxy+chatPath, chat, "X-Request-Id", requestID).want(t, http.StatusOK, "")
	}

	t.Run("steps", func(t *testing.T) {
		t.Parallel()
		p, c := faulty(t, "monitor: {check_interval: 5s}\n")
		for fault, where := range map[string]string{
			"lock":  "main.lockAndUnlock faults.go:",
			"block": "main.blockHandler faults.go:",
		} {
			begun := time.Now()
			id := fault + "-1"
			// On a busy machine the look may come when the lock is free again.
			until(t, "the step that was slow, and where", func() bool {
				ask(t, p, c, id)
				return p.slowCallback(c, "dispatch", id, where)
			})
			if took := time.Since(begun); took > 2*interval {
				t.Errorf("%s was found after %v", fault, took)
			}
		}
	})

	t.Run("processor", func(t *testing.T) {
		t.Parallel()
		// A program beside it may have made it late before, and it looks only once a minute.
		for range 3 {
			p, c := faulty(t, "monitor: {check_interval: 5s, thresholds: {scheduler: 200}}\n", "GOMAXPROCS=1")
			ask(t, p, c, "hog-1")
			for begun := time.Now(); time.Since(begun) < 2*interval; time.Sleep(50 * time.Millisecond) {
				if p.slowCallback(c, "scheduler", "", "main.hogProcessor faults.go:") {
					return
				}
			}
		}
		t.Error("nobody says what has the processor")
	})

	t.Run("leaks", func(t *testing.T) {
		t.Parallel()
		const threshold = 3 * time.Second
		p, c := faulty(t, "monitor: {check_interval: 1s, leak_check_interval: 5s, leak_threshold: 3s}\n")
		begun := time.Now()
		for _, id := range []string{"good-1", "body-1", "exchange-1", "descriptors-1"} {
			ask(t, p, c, id)
		}
		var memory struct {
			PotentialLeaks int64                          `json:"potential_leaks"`
			ByType         map[string]struct{ Leaks int } `json:"by_type"`
			Descriptors    struct {
				Suspects []struct {
					What  string
					Count int
				}
			} `json:"file_descriptors"`
		}
		until(t, "leaks and forgotten descriptors", func() bool {
			p.asked(c, http.MethodGet, "/admin/performance/memory/leaks", &memory)
			return memory.PotentialLeaks > 0 && len(memory.Descriptors.Suspects) > 0
		})
		if took := time.Since(begun); took < threshold || took > threshold+2*interval {
			t.Errorf("they were found after %v", took)
		}
		if s := memory.Descriptors.Suspects; len(s) != 1 || s[0].What != program || s[0].Count < 8 {
			t.Errorf("forgotten descriptors are %+v", s)
		}
		// The exchange that is kept keeps its answer, too.
		for kind, want := range map[string][]string{"exchange": {"exchange-1"}, "upstream_body": {"body-1", "exchange-1"}} {
			var list struct {
				Objects []struct {
					RequestID      string  `json:"request_id"`
					CreatedAtPlace string  `json:"created_at_place"`
					LetGoSeconds   float64 `json:"let_go_seconds"`
				}
			}
			p.asked(c, http.MethodGet, "/admin/performance/memory/leaks/"+kind, &list)
			if len(list.Objects) != len(want) || memory.ByType[kind].Leaks != len(want) {
				t.Errorf("leaks of %s are %+v, by type %+v; want %q", kind, list.Objects, memory.ByType, want)
				continue
			}
			for i, o := range list.Objects {
				if o.RequestID != want[i] || o.LetGoSeconds < threshold.Seconds() || !strings.Contains(o.CreatedAtPlace, "proxy.(*exchange).") {
					t.Errorf("leak of %s is %+v, want that of %s", kind, o, want[i])
				}
			}
		}
	})
}

// slowCallback tells whether there is a slow callback of that name and exchange
// which was seen in that place.
func (p *process) slowCallback(c *http.Client, name, requestID, where string) bool {
	p.t.Helper()
	var status struct {
		Recent []struct {
			Name      string
			RequestID string `json:"request_id"`
			Stack     []string
		} `json:"recent_slow_callbacks"`
	}
	p.asked(c, http.MethodGet, "/admin/performance/event-loop/status", &status)
	for _, s := range status.Recent {
		if s.Name == name && s.RequestID == requestID && strings.Contains(strings.Join(s.Stack, "\n"), where) {
			return true
		}
	}
	return false
}
