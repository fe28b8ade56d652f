package batchlog

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"
	"unsafe"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// sqliteSink is a file. What is committed has reached the disk.
type sqliteSink struct {
	path, instance string
	log            *slog.Logger // hears of a file that is put aside

	mu     sync.Mutex // guards what is open, not its use
	over   bool       // was closed
	file   *sql.DB
	opened os.FileInfo // what path was then
	writer *sql.Conn   // the only one of file
	reader *sql.DB

	// Owned by the goroutine that stores.
	insert driver.Stmt // of the writer
	tx     driver.Tx   // of the writer, since the last commit; nil is none
	lost   error       // why there is no transaction any more of what was stored
	args   [len(columns)]driver.NamedValue
}

// errLetGo says that rows were stored in a file that was given up before a commit.
var errLetGo = errors.New("the database was let go of before the rows were committed")

func newSQLite(path, instance string) *sqliteSink {
	return &sqliteSink{path: path, instance: instance, log: slog.New(slog.DiscardHandler)}
}

func (s *sqliteSink) name() string { return "sqlite" }

// sqliteFile is how our files are made: with pages in which rows of some KiB leave
// little room unused, so that what is deleted can be given back, and so that
// readers do not wait for the writer. The size of a page comes first, since the
// others write one. A file that is there keeps its own. The size of the cache comes
// last: SQLite counts it in pages, of the size that they have when it is set.
const sqliteFile = "PRAGMA page_size = 16384; PRAGMA auto_vacuum = INCREMENTAL; PRAGMA journal_mode = WAL; PRAGMA cache_size = -2000;"

// openSQLite opens a file with the settings that all of ours have: a commit is on
// the disk. The schema makes it where there is none.
func openSQLite(ctx context.Context, path, schema string) (*sql.DB, error) {
	name := "file:" + (&url.URL{Path: path}).EscapedPath() + "?" + strings.Join([]string{
		"_pragma=busy_timeout(5000)", "_pragma=synchronous(FULL)", "_pragma=journal_size_limit(67108864)", "_txlock=immediate",
	}, "&")
	db, err := sql.Open("sqlite", name)
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1)
	if _, err = db.ExecContext(ctx, sqliteFile+schema); err != nil {
		return nil, errors.Join(fmt.Errorf("open %s: %w", path, err), db.Close())
	}
	return db, nil
}

var sqliteInsert = "INSERT INTO conversations (" + columnNames() + ") VALUES (?" + strings.Repeat(", ?", len(columns)-1) +
	") ON CONFLICT (id) DO UPDATE SET " + amended(func(newer, older string) string { return "max(" + newer + ", " + older + ")" }) +
	" WHERE excluded.revision > conversations.revision"

// open opens the file to write, makes it where there is none, and puts one that
// is damaged aside. A file that was moved or deleted since is let go: what goes
// into it is nowhere to be found.
func (s *sqliteSink) open(ctx context.Context) (*sql.Conn, error) {
	s.mu.Lock()
	writer, opened := s.writer, s.opened
	s.mu.Unlock()
	if s.tx != nil {
		return writer, nil
	}
	if writer != nil {
		now, err := os.Stat(s.path)
		if err == nil && os.SameFile(now, opened) {
			return writer, nil
		}
		// Closing it would leave what was committed last beside it, where the new one
		// is: of a file that was moved SQLite then knows nothing any more.
		_, err = writer.ExecContext(ctx, "PRAGMA wal_checkpoint(TRUNCATE)")
		if err = errors.Join(err, s.letGo()); err != nil {
			return nil, fmt.Errorf("let go of %s, which is another file now: %w", s.path, err)
		}
		s.log.Warn("the database was moved or deleted while it was in use; a new one is begun", "file", s.path)
	}
	err := s.tryOpen(ctx)
	if damaged(err) {
		if err := moveAside(s.path, err, s.log); err != nil {
			return nil, err
		}
		err = s.tryOpen(ctx)
	}
	return s.writer, err
}

func (s *sqliteSink) tryOpen(ctx context.Context) error {
	if err := touchPrivate(s.path); err != nil {
		return err
	}
	file, err := openSQLite(ctx, s.path, sqliteSchema)
	if err != nil {
		return err
	}
	writer, err := file.Conn(ctx)
	if err == nil {
		err = writer.Raw(s.prepare)
	}
	var opened os.FileInfo
	if err == nil {
		opened, err = os.Stat(s.path)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("open %s: %w", s.path, err), file.Close())
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.file, s.writer, s.opened = file, writer, opened
	return nil
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
	if tableGone(err) {
		err = errors.Join(err, s.letGo()) // the next attempt makes it
	}
	return err
}

// tableGone tells whether a file has no table for conversations any more.
func tableGone(err error) bool {
	e, ok := errors.AsType[*sqlite.Error](err)
	return ok && e.Code() == sqlite3.SQLITE_ERROR && strings.Contains(e.Error(), "no such table")
}

func (s *sqliteSink) tryStore(ctx context.Context, rows []*Conversation) error {
	if s.lost != nil {
		return s.lost
	}
	writer, err := s.open(ctx)
	if err != nil {
		return err
	}
	return writer.Raw(func(conn any) error { return s.put(ctx, conn.(driver.ConnBeginTx), rows) })
}

// prepare keeps the statement that inserts, until letGo.
func (s *sqliteSink) prepare(conn any) (err error) {
	s.insert, err = conn.(driver.Conn).Prepare(sqliteInsert)
	return err
}

// put stores rows by the driver's own interface: with 38 values in a row, what
// database/sql does to each of them is felt.
func (s *sqliteSink) put(ctx context.Context, conn driver.ConnBeginTx, rows []*Conversation) error {
	// A context that can end costs a goroutine with each row, and the transaction outlives
	// this one.
	each := context.WithoutCancel(ctx)
	if s.tx == nil {
		tx, err := conn.BeginTx(each, driver.TxOptions{})
		if err != nil {
			return fmt.Errorf("begin: %w", err)
		}
		s.tx = tx
	}
	insert := s.insert.(driver.StmtExecContext)
	for _, row := range rows {
		err := ctx.Err()
		if err == nil {
			_, err = insert.ExecContext(each, s.row(row))
		}
		if err != nil {
			return fmt.Errorf("insert: %w", err)
		}
	}
	return nil
}

// commit ends the transaction. After an error that undid it, it fails: SQLite then
// has none.
func (s *sqliteSink) commit(context.Context) error {
	if err := s.lost; err != nil {
		s.lost = nil
		return err
	}
	if s.tx == nil {
		return nil
	}
	tx := s.tx
	s.tx = nil
	return s.writer.Raw(func(any) error {
		if err := tx.Commit(); err != nil {
			_ = tx.Rollback() // which fails where that has happened already
			return fmt.Errorf("commit: %w", err)
		}
		return nil
	})
}

// row is a conversation as the statement takes it. The driver copies the texts.
func (s *sqliteSink) row(c *Conversation) []driver.NamedValue {
	for i, field := range c.fields() {
		s.args[i] = driver.NamedValue{Ordinal: i + 1, Value: sqliteValue(field)}
	}
	return s.args[:]
}

func sqliteValue(field any) driver.Value {
	if absent(field) {
		return nil
	}
	switch f := field.(type) {
	case *string:
		return *f
	case *json.RawMessage:
		return unsafe.String(unsafe.SliceData(*f), len(*f))
	case *time.Time:
		return f.UTC().Format(sqliteTime)
	case *int64:
		return *f
	case **int64:
		return **f
	case *float64:
		return *f
	case **float64:
		return **f
	case *bool:
		return *f
	}
	return nil
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
	if s.tx != nil {
		s.tx, s.lost = nil, errLetGo // closing undoes it
	}
	if s.writer != nil {
		// A statement that is open would keep the file open.
		err = errors.Join(s.insert.Close(), s.writer.Close())
	}
	for _, db := range []*sql.DB{s.file, s.reader} {
		if db != nil {
			err = errors.Join(err, db.Close())
		}
	}
	s.file, s.writer, s.reader, s.insert = nil, nil, nil, nil
	return err
}

func (s *sqliteSink) close() error {
	s.mu.Lock()
	s.over = true
	s.mu.Unlock()
	return s.letGo()
}
