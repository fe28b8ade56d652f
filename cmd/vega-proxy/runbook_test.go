package main

import (
	"context"
	"database/sql"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// inTrouble gives a demo the exchanges that the runbook looks for: whole ones, a
// failed one, one whose client left, and a stream that is running.
func inTrouble(t *testing.T, p *process, c *http.Client) (streamID string) {
	t.Helper()
	do(t, c, http.MethodPost, p.proxy+chatPath, chat).want(t, http.StatusOK, "")
	do(t, c, http.MethodPost, p.proxy+chatPath, chat, "Cache-Control", "no-store", "X-Sim-Fail", "500").want(t, http.StatusInternalServerError, "")
	ctx, leave := context.WithCancel(t.Context())
	left := make(chan error, 1)
	go func() {
		_, err := try(ctx, c, http.MethodPost, p.proxy+chatPath, chat, "Cache-Control", "no-store", "X-Sim-Ttft", "1h")
		left <- err
	}()
	until(t, "the upstream has the request", func() bool {
		return strings.Contains(do(t, c, http.MethodGet, p.admin+"/metrics", "").body, `vega_upstream_in_flight{upstream="default"} 1`)
	})
	leave()
	if <-left == nil {
		t.Error("an answer came that nobody waited for")
	}
	res, err := send(t.Context(), c, http.MethodPost, p.proxy+chatPath, chatLive, "Cache-Control", "no-store", "X-Sim-Delay", "1h")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { res.Body.Close() })
	var list struct{ Streams []struct{ ID string } }
	until(t, "the stream is listed", func() bool {
		p.asked(c, http.MethodGet, "/admin/performance/streams", &list)
		return len(list.Streams) == 1
	})
	return list.Streams[0].ID
}

// TestRunbookCommands runs every command and query of the runbook against a demo.
func TestRunbookCommands(t *testing.T) {
	t.Parallel()
	runbook := readDoc(t, "docs/runbook.md")
	p, c := demo(t), newClient(t)
	id := inTrouble(t, p, c)
	bin := t.TempDir()
	if err := os.Symlink(binary, filepath.Join(bin, "vega-proxy")); err != nil {
		t.Fatal(err)
	}
	here := strings.NewReplacer("http://127.0.0.1:8080", p.proxy, "http://127.0.0.1:8081", p.admin)
	shown := blocks(runbook, "sh")
	setUp := here.Replace(shown[0]) + "export ID=" + id + ` PATH="` + bin + `:$PATH"` + "\n"
	family := regexp.MustCompile(`name\[\]=(\w+)`)
	for _, block := range shown[1:] {
		out, err := shell(t, p.cmd.Dir, setUp+block)
		if err != nil || strings.Contains(out, `"error":{"code"`) {
			t.Errorf("%s\n%v\n%s", block, err, out)
		}
		for _, m := range family.FindAllStringSubmatch(block, -1) {
			if !strings.Contains(out, "# TYPE "+m[1]+" ") && m[1] != "vega_queue_duration_seconds" { // has no series until somebody waited
				t.Errorf("%s\nsays nothing of %s", block, m[1])
			}
		}
		if strings.Contains(block, "Is this kept?") && !strings.Contains(out, "X-Vega-Cache: HIT") {
			t.Errorf("%s\nis no hit:\n%s", block, out)
		}
	}
	if len(shown) < 20 {
		t.Errorf("the runbook shows only %d commands", len(shown))
	}

	p.flush(c)
	db, err := sql.Open("sqlite", "file:"+filepath.Join(p.dataDir, "conversations.db")+"?mode=ro")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	queries := blocks(runbook, "sql")
	if len(queries) == 0 {
		t.Error("the runbook has no queries")
	}
	for _, query := range queries {
		if n, err := rows(t.Context(), db, query); err != nil || n == 0 {
			t.Errorf("%s\n%d rows, %v", query, n, err)
		}
	}
}

// rows runs a query and counts what it finds.
func rows(ctx context.Context, db *sql.DB, query string) (n int, err error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	found, err := db.QueryContext(ctx, query)
	if err != nil {
		return 0, err
	}
	defer found.Close()
	for found.Next() {
		n++
	}
	return n, found.Err()
}
