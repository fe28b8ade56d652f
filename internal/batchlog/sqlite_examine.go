package batchlog

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"syscall"
)

// examine does everything in one transaction and takes it back. A file that is
// not there is not made: it is enough that it could be.
func (s *sqliteSink) examine(ctx context.Context, x *Examination) {
	x.Where, x.MayDelete = s.path, true
	switch _, err := os.Stat(s.path); {
	case errors.Is(err, fs.ErrNotExist):
		x.Refused = mayCreate(filepath.Dir(s.path))
		return
	case err != nil:
		x.Unreachable = err
		return
	}
	// Readers and the proxy go on meanwhile, since nothing is committed.
	name := "file:" + (&url.URL{Path: s.path}).EscapedPath() + "?mode=rw&_pragma=busy_timeout(1000)&_txlock=immediate"
	db, err := sql.Open("sqlite", name)
	if err != nil {
		x.Unreachable = err
		return
	}
	defer func() { _ = db.Close() }() // nothing was to be kept
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		x.Unreachable = fmt.Errorf("open %s: %w", s.path, err)
		return
	}
	x.Refused = errors.Join(s.try(ctx, tx, x), tx.Rollback())
}

func (s *sqliteSink) try(ctx context.Context, tx *sql.Tx, x *Examination) error {
	rows, err := tx.QueryContext(ctx, "SELECT name FROM pragma_table_info('conversations')")
	if err != nil {
		return fmt.Errorf("look for the table conversations: %w", err)
	}
	defer rows.Close()
	var there []string
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			return err
		}
		there = append(there, name)
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		return fmt.Errorf("look for the table conversations: %w", err)
	}
	x.compare(there)
	if len(x.Missing) > 0 {
		return nil
	}
	if !x.Table {
		if _, err := tx.ExecContext(ctx, sqliteSchema); err != nil {
			return fmt.Errorf("make the table conversations: %w", err)
		}
	}
	row, err := trialRow()
	if err != nil {
		return err
	}
	var values []any
	for _, field := range row.fields() {
		values = append(values, sqliteValue(field))
	}
	if _, err := tx.ExecContext(ctx, sqliteInsert, values...); err != nil {
		return fmt.Errorf("insert: %w", err)
	}
	return nil
}

// mayCreate tells whether a file can be made in a directory.
func mayCreate(dir string) error {
	const writeAndSearch = 0x2 | 0x1
	if err := syscall.Access(dir, writeAndSearch); err != nil {
		return fmt.Errorf("no file can be made in %s: %w", dir, err)
	}
	return nil
}
