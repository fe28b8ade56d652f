package batchlog

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// sqliteSink is a file. What is committed has reached the disk.
type sqliteSink struct {
	path, instance string
	log            *slog.Logger // hears of a file that is put aside

	mu     sync.Mutex // guards what is open, not its use
	over   bool       // was closed
	writer *sql.DB
	reader *sql.DB

	// Owned by the goroutine that stores.
	insert *sql.Stmt
	args   [len(columns)]any
}

func newSQLite(path, instance string) *sqliteSink {
	return &sqliteSink{path: path, instance: instance, log: slog.New(slog.DiscardHandler)}
}

func (s *sqliteSink) name() string { return "sqlite" }

// openSQLite opens a file with the settings that all of ours have: readers do
// not wait for the writer, a commit is on the disk, and what is deleted can be
// given back.
func openSQLite(path string, extra ...string) (*sql.DB, error) {
	pragmas := append([]string{
		"_pragma=busy_timeout(5000)", "_pragma=page_size(8192)", "_pragma=auto_vacuum(INCREMENTAL)", "_pragma=journal_mode(WAL)",
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
		if err := moveAside(s.path, err, s.log); err != nil {
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
func moveAside(path string, damage error, log *slog.Logger) error {
	to := path + ".damaged-" + time.Now().UTC().Format("20060102T150405.000")
	for _, part := range []string{"-wal", "-shm", ""} {
		if err := os.Rename(path+part, to+part); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("put the damaged database aside: %w", err)
		}
	}
	log.Error("a database is damaged: it was put aside for sqlite3's .recover, and a new one is begun", "file", to, "error", damage)
	return nil
}

func (s *sqliteSink) store(ctx context.Context, rows []*Conversation) error {
	err := s.tryStore(ctx, rows)
	if damaged(err) {
		// Opening it alone might not show the damage. The next attempt begins a new one.
		err = errors.Join(err, s.letGo(), moveAside(s.path, err, s.log))
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
	// A context that can end costs a goroutine with each row; the transaction has it.
	each := context.WithoutCancel(ctx)
	for _, row := range rows {
		if _, err := insert.ExecContext(each, s.row(row)...); err != nil {
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
