package batchlog

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/vega-proxy/vega-proxy/internal/testkit/postgres"
)

// TestPostgresGoesAway: killed, not there, back, and then its connection cut
// while a batch is under way: all is there once.
func TestPostgresGoesAway(t *testing.T) {
	cfg := testConfig()
	cfg.Database = database(t)
	l := open(t, cfg, t.TempDir())
	appendN(l, 10)
	flushAll(t, l)
	shared.Kill()
	appendN(l, 10)
	for range 3 {
		if gone, remaining, err := l.Flush(t.Context()); gone != 0 || remaining != 10 || err != nil {
			t.Errorf("flushed %d, %d remain, %v; the server is dead", gone, remaining, err)
		}
	}
	if st := l.Stats(); st.SinkError == "" || st.FailedBatches < 3 {
		t.Errorf("%+v", st)
	}
	if err := shared.Start(); err != nil {
		t.Fatal(err)
	}
	flushAll(t, l)
	balanced(t, l.Log)

	// A lock makes the batch wait in the server.
	conn := connect(t, cfg.Database)
	tx, err := conn.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(t.Context(), "LOCK TABLE conversations IN ACCESS EXCLUSIVE MODE"); err != nil {
		t.Fatal(err)
	}
	appendN(l, 10)
	tried := make(chan error, 1)
	go func() {
		_, _, err := l.Flush(t.Context())
		tried <- err
	}()
	other := connect(t, shared.URL(""))
	for cut := false; !cut && t.Context().Err() == nil; {
		err := other.QueryRow(t.Context(), `SELECT coalesce(bool_or(pg_terminate_backend(pid)), false) FROM pg_stat_activity
			WHERE application_name = 'vega-proxy' AND wait_event_type = 'Lock'`).Scan(&cut)
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := <-tried; err != nil {
		t.Error(err)
	}
	if err := tx.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	flushAll(t, l)
	if st := l.Stats(); st.Inserted != 30 || st.SetAside != 0 {
		t.Errorf("%+v", st)
	}
	balanced(t, l.Log)
}

// TestPostgresHangs: a server that answers nothing costs the log its time, and
// nobody else.
func TestPostgresHangs(t *testing.T) {
	cfg := testConfig()
	cfg.Database = database(t)
	l := open(t, cfg, t.TempDir())
	appendN(l, 5)
	flushAll(t, l)
	pids := backends(t)
	signalAll(t, pids, syscall.SIGSTOP)
	appendN(l, 5)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, remaining, err := l.Flush(ctx); remaining != 5 || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%d remain, %v", remaining, err)
	}
	if _, _, err := l.Conversations(ctx, Query{}); err == nil {
		t.Error("a search has an answer")
	}
	signalAll(t, pids, syscall.SIGCONT)
	flushAll(t, l)
	if st := l.Stats(); st.Inserted != 10 {
		t.Errorf("%+v", st)
	}
	balanced(t, l.Log)
}

func signalAll(t testing.TB, pids []int, sig syscall.Signal) {
	t.Helper()
	for _, pid := range pids {
		if err := syscall.Kill(pid, sig); err != nil {
			t.Fatal(err)
		}
	}
}

// backends are the processes of the server: the one that takes connections, and
// those that serve a log.
func backends(t testing.TB) []int {
	t.Helper()
	rows, err := connect(t, shared.URL("")).Query(t.Context(), "SELECT pid FROM pg_stat_activity WHERE application_name = 'vega-proxy'")
	if err != nil {
		t.Fatal(err)
	}
	pids, err := pgx.CollectRows(rows, pgx.RowTo[int])
	if err != nil {
		t.Fatal(err)
	}
	return append(pids, shared.PID())
}

// TestWrongPassword: it is said, without the password, and nothing is lost.
func TestWrongPassword(t *testing.T) {
	good := database(t)
	cfg := testConfig()
	cfg.Database = strings.Replace(good, postgres.Password, "wr0ng-s3cret", 1)
	dir := t.TempDir()
	said, trouble := failToStore(t, cfg, dir)
	for _, text := range []string{said, trouble} {
		if !strings.Contains(text, "password authentication failed") || strings.Contains(text, "wr0ng") {
			t.Errorf("said: %s", text)
		}
	}
	if !strings.Contains(said, "level=ERROR") {
		t.Errorf("no error was logged: %s", said)
	}
	cfg.Database = good
	again := open(t, cfg, dir)
	flushAll(t, again)
	if found := all(t, again.Log, Query{}); len(found) != 3 {
		t.Errorf("%d rows after the password was corrected", len(found))
	}
}

// failToStore appends three records that the sink will not take, and leaves them
// in the spool. It returns what was logged, and what the stats said.
func failToStore(t *testing.T, cfg Config, dir string) (logged, trouble string) {
	t.Helper()
	var said bytes.Buffer
	l, err := New(cfg, dir, "here", slog.New(slog.NewTextHandler(&said, nil)), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	run := start(t, l)
	appendN(run, 3)
	if _, remaining, err := run.Flush(t.Context()); remaining != 3 || err != nil {
		t.Errorf("%d remain, %v", remaining, err)
	}
	trouble = run.Stats().SinkError
	if err := run.stop(); err != nil {
		t.Error(err)
	}
	return said.String(), trouble
}

func TestDatabaseThatIsNone(t *testing.T) {
	cfg := testConfig()
	cfg.Database = "postgres://u:s3cret@host:port/x"
	_, err := New(cfg, t.TempDir(), "here", slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	if err == nil || strings.Contains(err.Error(), "s3cret") {
		t.Errorf("error %v", err)
	}
}

// TestPoisonRows: what one constraint of the operator's own refuses does not
// hold up the rest.
func TestPoisonRows(t *testing.T) {
	cfg := testConfig()
	cfg.Database = database(t)
	dir := t.TempDir()
	l := open(t, cfg, dir)
	appendN(l, 1)
	flushAll(t, l)
	execute(t, cfg.Database, "ALTER TABLE conversations ADD CHECK (prompt <> 'forbidden')")
	for i := range 30 {
		if i%7 == 3 {
			l.Append(chat("forbidden", "a"), nil)
		} else {
			l.Append(chat("p", "a"), nil)
		}
	}
	flushAll(t, l)
	if st := l.Stats(); st.Inserted != 27 || st.SetAside != 4 || st.SinkError != "" {
		t.Errorf("%+v", st)
	}
	aside, err := ListSetAside(t.Context(), dir, 10)
	if err != nil || len(aside) != 4 || !strings.Contains(aside[0].Error, "23514") {
		t.Errorf("set aside: %+v, %v", aside, err)
	}
	balanced(t, l.Log)
}

func TestJudgePostgres(t *testing.T) {
	tests := []struct {
		err  error
		want verdict
	}{
		{&pgconn.PgError{Code: "22021"}, poison},
		{&pgconn.PgError{Code: "23505"}, poison},
		{&pgconn.PgError{Code: "54001"}, poison},
		{&pgconn.PgError{Code: "28P01"}, wrong},
		{&pgconn.PgError{Code: "3D000"}, wrong},
		{&pgconn.PgError{Code: "42501"}, wrong},
		{&pgconn.PgError{Code: "53100"}, again}, // its disk is full
		{&pgconn.PgError{Code: "57P01"}, again},
		{&pgconn.PgError{Code: "25006"}, again}, // a standby
		{&pgconn.PgError{Code: "40001"}, again},
		{&pgconn.PgError{}, again},
		{context.DeadlineExceeded, again},
		{errors.New("unexpected EOF"), again},
	}
	s := &postgresSink{}
	for _, tt := range tests {
		if got := s.judge(errors.Join(errors.New("insert"), tt.err)); got != tt.want {
			t.Errorf("%v: %v, want %v", tt.err, got, tt.want)
		}
	}
}

// TestDatabaseFileDamaged: the file is put aside for recovery, and a new one
// takes what comes.
func TestDatabaseFileDamaged(t *testing.T) {
	for name, spoil := range map[string]func(t *testing.T, path string){
		"no database at all": func(t *testing.T, path string) {
			if err := os.WriteFile(path, bytes.Repeat([]byte("garbage "), 1000), 0o600); err != nil {
				t.Fatal(err)
			}
		},
		"pages overwritten": func(t *testing.T, path string) {
			content, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			for i := 4096; i < len(content); i++ {
				content[i] = 0xAA
			}
			if err := os.WriteFile(path, content, 0o600); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			l := open(t, testConfig(), dir)
			appendN(l, 20)
			flushAll(t, l)
			if err := l.stop(); err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(dir, "conversations.db")
			spoil(t, path)
			var said bytes.Buffer
			spoiled, err := New(testConfig(), dir, "here", slog.New(slog.NewTextHandler(&said, nil)), prometheus.NewRegistry())
			if err != nil {
				t.Fatal(err)
			}
			l = start(t, spoiled)
			appendN(l, 3)
			flushAll(t, l)
			if found := all(t, l.Log, Query{}); len(found) != 3 {
				t.Errorf("%d rows in the new file, want 3", len(found))
			}
			aside, err := filepath.Glob(path + ".damaged-*")
			if err != nil || len(aside) == 0 {
				t.Errorf("the damaged file is gone, %v", err)
			}
			if err := l.stop(); err != nil {
				t.Fatal(err)
			}
			if line := said.String(); len(aside) > 0 && (!strings.Contains(line, "level=ERROR") || !strings.Contains(line, "file="+aside[0])) {
				t.Errorf("the log does not say where it is:\n%s", line)
			}
		})
	}
}

// TestDatabaseFileFull: it is waited for, and nothing is lost.
func TestDatabaseFileFull(t *testing.T) {
	dir := t.TempDir()
	l := open(t, testConfig(), dir)
	appendN(l, 1)
	flushAll(t, l)
	sink := l.sink.(*sqliteSink)
	limit := func(pages string) {
		t.Helper()
		if _, err := sink.writer.ExecContext(t.Context(), "PRAGMA max_page_count = "+pages); err != nil {
			t.Fatal(err)
		}
	}
	limit("1") // it stays as large as it is
	for range 20 {
		l.Append(chat(strings.Repeat("p", 4096), "a"), nil)
	}
	_, remaining, err := l.Flush(t.Context())
	if remaining != 20 || err != nil {
		t.Errorf("%d remain, %v", remaining, err)
	}
	if trouble := l.Stats().SinkError; !strings.Contains(trouble, "full") {
		t.Errorf("trouble: %q", trouble)
	}
	limit("1000000")
	flushAll(t, l)
	if st := l.Stats(); st.Inserted != 21 || st.SetAside != 0 {
		t.Errorf("%+v", st)
	}
	balanced(t, l.Log)
}

// TestDatabaseFileCannotBeMade: where there is no place for it.
func TestDatabaseFileCannotBeMade(t *testing.T) {
	dir := t.TempDir()
	cfg := testConfig()
	cfg.Database = "sqlite:" + dir + "/missing/log.db"
	l := open(t, cfg, dir)
	appendN(l, 2)
	if _, remaining, err := l.Flush(t.Context()); remaining != 2 || err != nil {
		t.Errorf("%d remain, %v", remaining, err)
	}
	if err := os.Mkdir(dir+"/missing", 0o700); err != nil {
		t.Fatal(err)
	}
	flushAll(t, l)
	info, err := os.Stat(dir + "/missing/log.db")
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v; want 0600", info.Mode(), err)
	}
}

// TestDatabaseFileReadOnly: the settings are wrong, not the record.
func TestDatabaseFileReadOnly(t *testing.T) {
	dir := t.TempDir()
	l := open(t, testConfig(), dir)
	appendN(l, 1)
	flushAll(t, l)
	sink := l.sink.(*sqliteSink)
	if _, err := sink.writer.ExecContext(t.Context(), "PRAGMA query_only = 1"); err != nil {
		t.Fatal(err)
	}
	appendN(l, 1)
	if _, remaining, err := l.Flush(t.Context()); remaining != 1 || err != nil {
		t.Errorf("%d remain, %v", remaining, err)
	}
	if _, err := sink.writer.ExecContext(t.Context(), "PRAGMA query_only = 0"); err != nil {
		t.Fatal(err)
	}
	flushAll(t, l)
	if st := l.Stats(); st.Inserted != 2 || st.SetAside != 0 {
		t.Errorf("%+v", st)
	}
}

// TestTableDropped: whoever drops the table loses what was in it, not what comes
// after.
func TestTableDropped(t *testing.T) {
	for _, tt := range []struct {
		name, statement string
	}{{"sqlite", "DROP TABLE conversations"}, {"postgres", "DROP TABLE conversations, conversations_retired"}} {
		t.Run(tt.name, func(t *testing.T) {
			cfg := testConfig()
			if tt.name == "postgres" {
				cfg.Database = database(t)
			}
			dir := t.TempDir()
			l := open(t, cfg, dir)
			appendN(l, 5)
			flushAll(t, l)
			if tt.name == "postgres" {
				if _, err := connect(t, cfg.Database).Exec(t.Context(), tt.statement); err != nil {
					t.Fatal(err)
				}
			} else {
				db, err := sql.Open("sqlite", dir+"/conversations.db")
				if err != nil {
					t.Fatal(err)
				}
				if _, err = db.ExecContext(t.Context(), tt.statement); errors.Join(err, db.Close()) != nil {
					t.Fatal(err)
				}
			}
			appendN(l, 3)
			flushAll(t, l)
			if found := all(t, l.Log, Query{}); len(found) != 3 {
				t.Errorf("%d rows, want 3", len(found))
			}
			if st := l.Stats(); st.Inserted != 8 || st.SinkError != "" {
				t.Errorf("%+v", st)
			}
		})
	}
}

// TestTableMissing: where the schema is for others to make, the error says so.
func TestTableMissing(t *testing.T) {
	cfg := testConfig()
	cfg.Database, cfg.Migrate = database(t), false
	l := open(t, cfg, t.TempDir())
	appendN(l, 3)
	if _, remaining, err := l.Flush(t.Context()); remaining != 3 || err != nil {
		t.Errorf("%d remain, %v", remaining, err)
	}
	if st := l.Stats(); !strings.Contains(st.SinkError, "vega-proxy schema") {
		t.Errorf("the error is %q", st.SinkError)
	}
	if _, err := connect(t, cfg.Database).PgConn().Exec(t.Context(), l.sink.(*postgresSink).creation()).ReadAll(); err != nil {
		t.Fatal(err)
	}
	flushAll(t, l)
	balanced(t, l.Log)
}

// TestDatabaseFileMoved: what comes after goes into a file that can be found, in
// the place that was configured; what came before is in the one that was moved.
func TestDatabaseFileMoved(t *testing.T) {
	for name, parts := range map[string][]string{"alone": {""}, "with what belongs to it": {"", "-wal", "-shm"}} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			l := open(t, testConfig(), dir)
			appendN(l, 5)
			flushAll(t, l)
			if found := all(t, l.Log, Query{}); len(found) != 5 {
				t.Errorf("%d rows, want 5", len(found))
			}
			for _, part := range parts {
				if err := os.Rename(dir+"/conversations.db"+part, dir+"/old.db"+part); err != nil {
					t.Fatal(err)
				}
			}
			appendN(l, 3)
			flushAll(t, l)
			if found := all(t, l.Log, Query{}); len(found) != 3 {
				t.Errorf("%d rows in the new file, want 3", len(found))
			}
			db, err := sql.Open("sqlite", dir+"/old.db")
			if err != nil {
				t.Fatal(err)
			}
			var kept int
			err = db.QueryRowContext(t.Context(), "SELECT count(*) FROM conversations").Scan(&kept)
			if err = errors.Join(err, db.Close()); err != nil || kept != 5 {
				t.Errorf("%d rows in the file that was moved, %v, want 5", kept, err)
			}
		})
	}
}

// TestRestart: what was not stored is stored by the next process, and the
// balance goes on.
func TestRestart(t *testing.T) {
	dir := t.TempDir()
	cfg := testConfig()
	cfg.Database = "sqlite:" + dir + "/later/log.db" // cannot be made yet
	l := open(t, cfg, dir)
	appendN(l, 60)
	if err := l.stop(); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(dir+"/later", 0o700); err != nil {
		t.Fatal(err)
	}
	l = open(t, cfg, dir)
	flushAll(t, l)
	if st := l.Stats(); st.Queued != 60 || st.Inserted != 60 || st.QueueSize != 0 {
		t.Errorf("%+v", st)
	}
	balanced(t, l.Log)
	var text, object bytes.Buffer
	a := l.Audit(t.Context())
	if err := errors.Join(a.WriteText(&text), a.WriteJSON(&object)); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(text.String(), "60  inserted into sqlite\n") || !strings.Contains(text.String(), "nothing is missing") {
		t.Errorf("audit:\n%s", text.String())
	}
	if !strings.Contains(object.String(), `"balanced": true`) {
		t.Errorf("audit:\n%s", object.String())
	}
	if _, err := l.sink.(*sqliteSink).writer.ExecContext(t.Context(), "DELETE FROM conversations WHERE id = (SELECT max(id) FROM conversations)"); err != nil {
		t.Fatal(err)
	}
	if a := l.Audit(t.Context()); a.Balanced {
		t.Errorf("a row that is missing is not seen: %+v", a)
	}
}
