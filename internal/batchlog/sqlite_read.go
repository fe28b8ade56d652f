package batchlog

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"
)

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

func (s *sqliteSink) deleteStep(ctx context.Context, db *sql.Conn, statement string, args ...any) (deleted, own int, err error) {
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

var sqliteQuery = dialectSQL{
	id: "?%d", arg: "?%d", like: "LIKE", time: func(t time.Time) any { return t.UTC().Format(sqliteTime) },
	end: "julianday(started_at) + duration_ms / 86400000 >= julianday(?)",
}

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

func (s *sqliteSink) count(ctx context.Context, instance string) (n, _ int64, err error) {
	db, err := s.read()
	if db == nil || err != nil {
		return 0, 0, err
	}
	err = db.QueryRowContext(ctx, "SELECT count(*) FROM conversations WHERE instance = ?", instance).Scan(&n)
	return n, 0, err
}
