package batchlog

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// sqliteSink is a file. What is committed has reached the disk.
type sqliteSink struct {
	path, instance string

	mu     sync.Mutex // guards what is open, not its use
	over   bool       // was closed
	writer *sql.DB
	reader *sql.DB

	// Owned by the goroutine that stores.
	insert *sql.Stmt
	args   [len(columns)]any
}

func newSQLite(path, instance string) *sqliteSink {
	return &sqliteSink{path: path, instance: instance}
}

func (s *sqliteSink) name() string { return "sqlite" }

// openSQLite opens a file with the settings that all of ours have: readers do
// not wait for the writer, a commit is on the disk, and what is deleted can be
// given back.
func openSQLite(path string, extra ...string) (*sql.DB, error) {
	pragmas := append([]string{
		"_pragma=busy_timeout(5000)", "_pragma=page_size(16384)", "_pragma=auto_vacuum(INCREMENTAL)", "_pragma=journal_mode(WAL)",
		"_pragma=synchronous(FULL)", "_pragma=journal_size_limit(67108864)", "_txlock=immediate",
	}, extra...)
	name := "file:" + (&url.URL{Path: path}).EscapedPath() + "?" + strings.Join(pragmas, "&")
	db, err := sql.Open("sqlite", name)
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1)
	return db, nil
}

var sqliteInsert = "INSERT INTO conversations (" + columnNames() + ") VALUES (?" + strings.Repeat(", ?", len(columns)-1) +
	") ON CONFLICT (id) DO UPDATE SET " + amended(func(newer, older string) string { return "max(" + newer + ", " + older + ")" }) +
	" WHERE excluded.revision > conversations.revision"

// open opens the file to write, makes it where there is none, and puts one that
// is damaged aside.
func (s *sqliteSink) open(ctx context.Context) (*sql.DB, error) {
	s.mu.Lock()
	db := s.writer
	s.mu.Unlock()
	if db != nil {
		return db, nil
	}
	db, insert, err := s.tryOpen(ctx)
	if damaged(err) {
		if err := moveAside(s.path); err != nil {
			return nil, err
		}
		db, insert, err = s.tryOpen(ctx)
	}
	if err != nil {
		return nil, err
	}
	s.insert = insert
	s.mu.Lock()
	s.writer = db
	s.mu.Unlock()
	return db, nil
}

func (s *sqliteSink) tryOpen(ctx context.Context) (*sql.DB, *sql.Stmt, error) {
	if err := touchPrivate(s.path); err != nil {
		return nil, nil, err
	}
	db, err := openSQLite(s.path)
	if err != nil {
		return nil, nil, err
	}
	_, err = db.ExecContext(ctx, sqliteSchema)
	if err == nil {
		var insert *sql.Stmt
		if insert, err = db.PrepareContext(ctx, sqliteInsert); err == nil {
			return db, insert, nil
		}
	}
	return nil, nil, errors.Join(fmt.Errorf("open %s: %w", s.path, err), db.Close())
}

// touchPrivate makes a file that only its owner can read, where there is none.
func touchPrivate(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	return f.Close()
}

// damaged tells whether a file is no database any more.
func damaged(err error) bool {
	e, ok := errors.AsType[*sqlite.Error](err)
	return ok && (e.Code()&0xff == sqlite3.SQLITE_CORRUPT || e.Code()&0xff == sqlite3.SQLITE_NOTADB)
}

// moveAside renames a damaged database, so that what is left can be recovered.
func moveAside(path string) error {
	to := path + ".damaged-" + time.Now().UTC().Format("20060102T150405.000")
	for _, part := range []string{"-wal", "-shm", ""} {
		if err := os.Rename(path+part, to+part); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("put the damaged database aside: %w", err)
		}
	}
	return nil
}

func (s *sqliteSink) store(ctx context.Context, rows []*Conversation) error {
	err := s.tryStore(ctx, rows)
	if damaged(err) {
		// Opening it alone might not show the damage. The next attempt begins a new one.
		err = errors.Join(err, s.letGo(), moveAside(s.path))
	}
	return err
}

func (s *sqliteSink) tryStore(ctx context.Context, rows []*Conversation) error {
	db, err := s.open(ctx)
	if err != nil {
		return err
	}
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("begin: %w", err)
	}
	insert := tx.StmtContext(ctx, s.insert)
	for _, row := range rows {
		if _, err := insert.ExecContext(ctx, s.row(row)...); err != nil {
			return errors.Join(fmt.Errorf("insert: %w", err), tx.Rollback())
		}
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	return nil
}

// row is a conversation as the statement takes it.
func (s *sqliteSink) row(c *Conversation) []any {
	for i, field := range c.fields() {
		var value any
		if !absent(field) {
			switch f := field.(type) {
			case *string:
				value = *f
			case *json.RawMessage:
				value = string(*f)
			case *time.Time:
				value = f.UTC().Format(sqliteTime)
			case *int64:
				value = *f
			case **int64:
				value = **f
			case *float64:
				value = *f
			case **float64:
				value = **f
			case *bool:
				value = *f
			}
		}
		s.args[i] = value
	}
	return s.args[:]
}

func (s *sqliteSink) judge(err error) verdict {
	if e, ok := errors.AsType[*sqlite.Error](err); ok {
		switch e.Code() & 0xff {
		case sqlite3.SQLITE_TOOBIG, sqlite3.SQLITE_CONSTRAINT, sqlite3.SQLITE_MISMATCH:
			return poison
		case sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH, sqlite3.SQLITE_ERROR:
			return wrong
		}
	}
	if errors.Is(err, os.ErrPermission) || errors.Is(err, os.ErrNotExist) {
		return wrong
	}
	return again
}

// retire deletes by age, then by size: the file less its free pages. Freed pages
// go back to the file system in the same bounded steps.
func (s *sqliteSink) retire(ctx context.Context, keep RetentionConfig, now time.Time) (own int, more bool, err error) {
	db, err := s.open(ctx)
	if err != nil {
		return 0, false, err
	}
	const step = "DELETE FROM conversations WHERE rowid IN (SELECT rowid FROM conversations %s ORDER BY %s LIMIT ?) RETURNING instance"
	deleted := 0
	if keep.MaxAge > 0 {
		deleted, own, err = s.deleteStep(ctx, db, fmt.Sprintf(step, "WHERE started_at < ?", "started_at"),
			now.Add(-keep.MaxAge).UTC().Format(sqliteTime), retireStep)
	}
	if err == nil && deleted == 0 && keep.MaxBytes > 0 {
		var used int64
		err = db.QueryRowContext(ctx, "SELECT (page_count - freelist_count) * page_size FROM pragma_page_count, pragma_freelist_count, pragma_page_size").Scan(&used)
		if err == nil && used > keep.MaxBytes {
			// As a row's share of what is too much, and a tenth of a step at least.
			var rows int64
			err = db.QueryRowContext(ctx, "SELECT count(*) FROM conversations").Scan(&rows)
			n := min(retireStep, max(rows*(used-keep.MaxBytes)/used, 1))
			if err == nil && rows > 0 {
				deleted, own, err = s.deleteStep(ctx, db, fmt.Sprintf(step, "", "id"), n)
			}
		}
	}
	if err != nil {
		return own, false, fmt.Errorf("delete what is not kept: %w", err)
	}
	if deleted > 0 {
		if _, err := db.ExecContext(ctx, "PRAGMA incremental_vacuum(2000)"); err != nil {
			return own, false, fmt.Errorf("give back space: %w", err)
		}
	}
	return own, deleted > 0, nil
}

func (s *sqliteSink) deleteStep(ctx context.Context, db *sql.DB, statement string, args ...any) (deleted, own int, err error) {
	rows, err := db.QueryContext(ctx, statement, args...)
	if err != nil {
		return 0, 0, err
	}
	defer rows.Close()
	for rows.Next() {
		var instance sql.NullString
		if err := rows.Scan(&instance); err != nil {
			return 0, 0, err
		}
		deleted++
		if instance.String == s.instance {
			own++
		}
	}
	return deleted, own, rows.Err()
}

// read opens the file to read. Nil means that there is none yet.
func (s *sqliteSink) read() (*sql.DB, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over {
		return nil, errSinkClosed
	}
	if s.reader != nil {
		return s.reader, nil
	}
	if _, err := os.Stat(s.path); errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	db, err := sql.Open("sqlite", "file:"+(&url.URL{Path: s.path}).EscapedPath()+"?mode=ro&_pragma=busy_timeout(5000)&_pragma=query_only(1)")
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(2)
	s.reader = db
	return db, nil
}

var sqliteQuery = dialectSQL{id: "?%d", arg: "?%d", like: "LIKE", time: func(t time.Time) any { return t.UTC().Format(sqliteTime) }}

func (s *sqliteSink) conversations(ctx context.Context, q Query) (found []Conversation, err error) {
	text, args, err := q.sql(sqliteQuery, columnNames(), "conversations")
	if err != nil {
		return nil, err
	}
	db, err := s.read()
	if db == nil || err != nil {
		return nil, err
	}
	rows, err := db.QueryContext(ctx, text, args...)
	if err != nil {
		if strings.Contains(err.Error(), "no such table") { // made, and not written to yet
			return nil, nil
		}
		return nil, fmt.Errorf("read %s: %w", filepath.Base(s.path), err)
	}
	defer rows.Close()
	for rows.Next() {
		var c Conversation
		if err := rows.Scan(c.targets()...); err != nil {
			return nil, fmt.Errorf("read %s: %w", filepath.Base(s.path), err)
		}
		found = append(found, c)
	}
	return found, rows.Err()
}

func (s *sqliteSink) count(ctx context.Context, instance string) (n int64, err error) {
	db, err := s.read()
	if db == nil || err != nil {
		return 0, err
	}
	err = db.QueryRowContext(ctx, "SELECT count(*) FROM conversations WHERE instance = ?", instance).Scan(&n)
	return n, err
}

// letGo closes what is open.
func (s *sqliteSink) letGo() (err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, db := range []*sql.DB{s.writer, s.reader} {
		if db != nil {
			err = errors.Join(err, db.Close())
		}
	}
	s.writer, s.reader, s.insert = nil, nil, nil
	return err
}

func (s *sqliteSink) close() error {
	s.mu.Lock()
	s.over = true
	s.mu.Unlock()
	return s.letGo()
}
