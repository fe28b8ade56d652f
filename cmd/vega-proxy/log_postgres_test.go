package main

import (
	"fmt"
	"net/http"
	"strings"
	"syscall"
	"testing"

	"github.com/vega-proxy/vega-proxy/internal/simllm"
)

// TestPostgresOutage stops the database under load: no request notices, and all
// is there when it is back. Then the database refuses a record for what it is.
func TestPostgresOutage(t *testing.T) {
	t.Parallel()
	pg := newPostgres(t)
	_, backend := simulate(t, simllm.Config{Tokens: 5})
	p := serve(t, upstreamAt(backend)+"cache: {policy: 'off'}\nbatchlog: {batch_size: 10, flush_interval: 50ms}\n", "--database", pg.URL("log"))
	where := []string{"--data-dir", p.dataDir, "--database", pg.URL("log")}
	l := &crowd{received: map[string]bool{}}
	stop := l.start(t, p.proxy)
	for range 2 {
		l.more(t, 50)
		pg.Kill()
		p.wait("conversations cannot be stored; they stay in the spool")
		l.more(t, 100)
		if a := audited(t, where...); a.Spooled == 0 || a.InSink != -1 || !strings.Contains(a.SinkError, "connect to Postgres") {
			t.Errorf("while the database is away: %+v", a)
		}
		pg.restart()
	}
	l.more(t, 50)
	stop()
	l.mu.Lock()
	if l.sent-len(l.received) > 4 { // those that the end of the load cut
		t.Errorf("%d requests were sent, %d answers received", l.sent, len(l.received))
	}
	l.mu.Unlock()
	c := newClient(t)
	p.flush(c)
	p.wait("conversations are stored again")
	l.check(t, where...)
	before := audited(t, where...)
	if before.Spooled != 0 || before.Dropped != 0 || before.Sink != "postgres" || before.InSink != int64(before.Inserted) {
		t.Errorf("after the outage: %+v", before)
	}
	if found := do(t, c, http.MethodGet, p.admin+"/admin/conversations?q=MARKER+load-1&limit=1", "", "X-API-Key", p.key()); !strings.Contains(found.body, `"prompt":"marker load-1`) {
		t.Errorf("/admin/conversations found %d %s", found.status, found.body)
	}

	pg.execute("log", "ALTER TABLE conversations ADD CONSTRAINT picky CHECK (session_id <> 'poison')")
	for _, session := range []string{"good", "poison", "fine"} {
		do(t, c, http.MethodPost, p.proxy+chatPath, chat, "X-Session-Id", session).want(t, http.StatusOK, "")
	}
	p.flush(c)
	aside := run(t, append([]string{"logs", "set-aside"}, where...)...)
	if strings.Count(aside, "\n") != 2 || !strings.Contains(aside, "picky") {
		t.Errorf("set aside is\n%s", aside)
	}
	if a := audited(t, where...); a.SetAside != 1 || a.Inserted != before.Inserted+2 {
		t.Errorf("with one set aside: %+v", a)
	}
	pg.execute("log", "ALTER TABLE conversations DROP CONSTRAINT picky")
	id := strings.Fields(strings.Split(aside, "\n")[1])[2]
	run(t, append([]string{"logs", "retry", id}, where...)...)
	until(t, "the record is tried again", func() bool { return audited(t, where...).SetAside == 0 })
	if found := exported(t, append(where, "--session", "poison")...); len(found) != 1 {
		t.Errorf("%d records of the session", len(found))
	}
	p.signal(syscall.SIGTERM)
	p.wantExit(0)
	if a := audited(t, where...); a.SetAside != 0 || a.Inserted != before.Inserted+3 {
		t.Errorf("after the retry: %+v", a)
	}
	out := run(t, append([]string{"logs", "show", id}, where...)...)
	if !strings.Contains(out, fmt.Sprintf("id         %s\n", id)) || !strings.Contains(out, "\nuser:\n  Tell me about the sea.\n") {
		t.Errorf("logs show:\n%s", out)
	}
}

// TestPostgresOutageMemory: while the database hangs, and then is not there, what
// comes goes to the spool, and the process grows no more than by a bound, however
// much that is. The runtime gives nothing back of what it asked for, so that it shows
// the most that there was.
func TestPostgresOutageMemory(t *testing.T) {
	t.Parallel()
	pg := newPostgres(t)
	p := serve(t, upstreamAt(distinct(t))+"cache: {maxsize: 100}\nbatchlog: {flush_interval: 50ms}\n", "--database", pg.URL("log"))
	flood(t, p, 1, 2000)
	before := p.gauge("go_memstats_sys_bytes")
	thaw := pg.freeze()
	flood(t, p, 2001, 4000)
	hung := p.gauge("go_memstats_sys_bytes")
	waiting := p.gauge("vega_log_queue_size")
	thaw()
	pg.Kill()
	flood(t, p, 4001, 6000)
	dead := p.gauge("go_memstats_sys_bytes")
	if hung-before > 16*mib || dead-before > 16*mib || waiting < 2000 {
		t.Errorf("%.0f wait; the runtime has %.1f MiB more with a database that hung, then %.1f with none", waiting, (hung-before)/mib, (dead-before)/mib)
	}
	pg.restart()
	p.wait("conversations are stored again")
	c := newClient(t)
	p.flush(c)
	if a := audited(t, "--data-dir", p.dataDir, "--database", pg.URL("log")); a.Inserted != 6000 || a.InSink != 6000 {
		t.Errorf("afterwards: %+v", a)
	}
}

// TestAuditMisses: the audit fails where a row is gone that should be there.
func TestAuditMisses(t *testing.T) {
	t.Parallel()
	pg := newPostgres(t)
	_, backend := simulate(t, simllm.Config{Tokens: 3})
	p := serve(t, upstreamAt(backend)+quick, "--database", pg.URL("log"))
	c := newClient(t)
	for range 2 {
		do(t, c, http.MethodPost, p.proxy+chatPath, chat).want(t, http.StatusOK, "")
	}
	p.flush(c)
	pg.execute("log", "DELETE FROM conversations WHERE id = (SELECT id FROM conversations LIMIT 1)")
	out, stderr, code := execute(t, nil, "audit", "--format", "json", "--data-dir", p.dataDir, "--database", pg.URL("log"))
	if code != 1 || !strings.Contains(out, `"balanced": false`) || !strings.Contains(stderr, "conversations are missing") {
		t.Errorf("code %d\n%s%s", code, out, stderr)
	}
}
