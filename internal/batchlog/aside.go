package batchlog

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// SetAside is a record that the sink refused for what it is.
type SetAside struct {
	ID    string    `json:"id"`
	At    time.Time `json:"set_aside_at"`
	Bytes int64     `json:"bytes"`
	Error string    `json:"error"`
	Retry bool      `json:"retry"` // is tried again soon
}

const (
	maxAside      = 10_000
	maxAsideBytes = 256 << 20
)

const asideSchema = `
CREATE TABLE IF NOT EXISTS set_aside (
    seq     INTEGER PRIMARY KEY, -- the record's number in the spool
    id      TEXT NOT NULL,
    at      TEXT NOT NULL,
    error   TEXT NOT NULL,
    retry   INTEGER NOT NULL,
    payload BLOB NOT NULL
);
CREATE INDEX IF NOT EXISTS set_aside_retry ON set_aside (seq) WHERE retry;`

// aside is the file of records that were set aside. Several processes may use
// it. It is opened when it is first needed.
type aside struct {
	path     string
	maxBytes int64        // of payloads
	log      *slog.Logger // hears of a file that is damaged

	mu sync.Mutex // guards db
	db *sql.DB
}

func newAside(dataDir string) *aside {
	return &aside{path: filepath.Join(dataDir, "set-aside.db"), maxBytes: maxAsideBytes, log: slog.New(slog.DiscardHandler)}
}

// exists tells whether anything was ever set aside.
func (a *aside) exists() bool {
	_, err := os.Stat(a.path)
	return err == nil
}

func (a *aside) open(ctx context.Context) (*sql.DB, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.db != nil {
		return a.db, nil
	}
	db, err := a.tryOpen(ctx)
	if damaged(err) {
		if err := moveAside(a.path, err, a.log); err != nil {
			return nil, err
		}
		db, err = a.tryOpen(ctx)
	}
	if err != nil {
		return nil, err
	}
	a.db = db
	return db, nil
}

func (a *aside) tryOpen(ctx context.Context) (*sql.DB, error) {
	if err := touchPrivate(a.path); err != nil {
		return nil, err
	}
	return openSQLite(ctx, a.path, asideSchema)
}

// put keeps a record, and returns how many of the oldest it had to give up for
// that. Doing it twice is doing it once.
func (a *aside) put(ctx context.Context, seq uint64, id string, payload []byte, why error) (discarded int, err error) {
	db, err := a.open(ctx)
	if err != nil {
		return 0, err
	}
	_, err = db.ExecContext(ctx, "INSERT OR REPLACE INTO set_aside (seq, id, at, error, retry, payload) VALUES (?, ?, ?, ?, 0, ?)",
		int64(seq), id, time.Now().UTC().Format(sqliteTime), (&cleaner{}).text(why.Error()), payload)
	if err != nil {
		return 0, fmt.Errorf("set a record aside: %w", err)
	}
	for {
		count, bytes, err := a.size(ctx)
		if err != nil || count <= 1 || count <= maxAside && bytes <= a.maxBytes {
			return discarded, err
		}
		if _, err := db.ExecContext(ctx, "DELETE FROM set_aside WHERE seq = (SELECT min(seq) FROM set_aside)"); err != nil {
			return discarded, fmt.Errorf("give up the oldest record that was set aside: %w", err)
		}
		discarded++
	}
}

func (a *aside) size(ctx context.Context) (count, bytes int64, err error) {
	db, err := a.open(ctx)
	if err != nil {
		return 0, 0, err
	}
	err = db.QueryRowContext(ctx, "SELECT count(*), coalesce(sum(length(payload)), 0) FROM set_aside").Scan(&count, &bytes)
	return count, bytes, err
}

// asideRecord is a record that is to be tried again.
type asideRecord struct {
	seq     int64
	id      string
	payload []byte
}

func (a *aside) marked(ctx context.Context, limit int) (records []asideRecord, err error) {
	db, err := a.open(ctx)
	if err != nil {
		return nil, err
	}
	rows, err := db.QueryContext(ctx, "SELECT seq, id, payload FROM set_aside WHERE retry ORDER BY seq LIMIT ?", limit)
	if err != nil {
		return nil, fmt.Errorf("read what was set aside: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var r asideRecord
		if err := rows.Scan(&r.seq, &r.id, &r.payload); err != nil {
			return nil, fmt.Errorf("read what was set aside: %w", err)
		}
		records = append(records, r)
	}
	return records, rows.Err()
}

func (a *aside) remove(ctx context.Context, seq int64) error {
	db, err := a.open(ctx)
	if err != nil {
		return err
	}
	_, err = db.ExecContext(ctx, "DELETE FROM set_aside WHERE seq = ?", seq)
	return err
}

// refused notes that another attempt failed too.
func (a *aside) refused(ctx context.Context, seq int64, why error) error {
	db, err := a.open(ctx)
	if err != nil {
		return err
	}
	_, err = db.ExecContext(ctx, "UPDATE set_aside SET retry = 0, error = ? WHERE seq = ?", (&cleaner{}).text(why.Error()), seq)
	return err
}

func (a *aside) close() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.db == nil {
		return nil
	}
	err := a.db.Close()
	a.db = nil
	return err
}

// ListSetAside returns what was set aside in a data directory, newest first, at
// most limit. A proxy may run there.
func ListSetAside(ctx context.Context, dataDir string, limit int) (found []SetAside, err error) {
	a := newAside(dataDir)
	if !a.exists() {
		return nil, nil
	}
	defer func() { err = errors.Join(err, a.close()) }()
	db, err := a.open(ctx)
	if err != nil {
		return nil, err
	}
	rows, err := db.QueryContext(ctx, "SELECT id, at, length(payload), error, retry FROM set_aside ORDER BY seq DESC LIMIT ?", limit)
	if err != nil {
		return nil, fmt.Errorf("read what was set aside: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var s SetAside
		if err := rows.Scan(&s.ID, timeTarget{&s.At}, &s.Bytes, &s.Error, &s.Retry); err != nil {
			return nil, fmt.Errorf("read what was set aside: %w", err)
		}
		found = append(found, s)
	}
	return found, rows.Err()
}

// RetrySetAside marks records of a data directory to be tried again, all where
// no ids are given, and returns how many it marked. The proxy that runs there
// takes them up within flush_interval, or the next one that is started.
func RetrySetAside(ctx context.Context, dataDir string, ids ...string) (n int, err error) {
	a := newAside(dataDir)
	if !a.exists() {
		return 0, nil
	}
	defer func() { err = errors.Join(err, a.close()) }()
	db, err := a.open(ctx)
	if err != nil {
		return 0, err
	}
	mark := func(where string, args ...any) error {
		result, err := db.ExecContext(ctx, "UPDATE set_aside SET retry = 1"+where, args...)
		if err != nil {
			return fmt.Errorf("mark what was set aside: %w", err)
		}
		affected, err := result.RowsAffected()
		n += int(affected)
		return err
	}
	if len(ids) == 0 {
		return n, mark("")
	}
	for _, id := range ids {
		if err := mark(" WHERE id = ?", id); err != nil {
			return n, err
		}
	}
	return n, nil
}
