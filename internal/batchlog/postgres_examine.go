package batchlog

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// examine does everything in one transaction, the table's creation included, and
// takes it back.
func (s *postgresSink) examine(ctx context.Context, x *Examination) {
	c := s.config
	x.Where = fmt.Sprintf("%s at %s:%d, database %s", c.User, c.Host, c.Port, c.Database)
	x.Remote = remote(c.Host)
	conn, err := pgx.ConnectConfig(ctx, c.Copy())
	if err != nil {
		x.Unreachable, x.Code = s.connectError(err), sqlState(err)
		return
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_ = conn.Close(ctx) // all that was asked has been answered
	}()
	_, x.Encrypted = conn.PgConn().Conn().(*tls.Conn)
	err = pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		if err := s.try(ctx, tx, x); err != nil {
			return err
		}
		return errTakenBack
	})
	if !errors.Is(err, errTakenBack) {
		x.Refused, x.Code = plainCause(err), sqlState(err)
	}
}

func (s *postgresSink) try(ctx context.Context, tx pgx.Tx, x *Examination) error {
	const look = `SELECT clock_timestamp(), coalesce(has_table_privilege(to_regclass('conversations'), 'DELETE'), true)
		AND coalesce(has_table_privilege(to_regclass('conversations_retired'), 'DELETE'), true),
		ARRAY(SELECT attname::text FROM pg_attribute WHERE attrelid = to_regclass('conversations') AND attnum > 0 AND NOT attisdropped)`
	var theirs time.Time
	var there []string
	asked := time.Now()
	if err := tx.QueryRow(ctx, look).Scan(&theirs, &x.MayDelete, &there); err != nil {
		return fmt.Errorf("look for the table conversations: %w", err)
	}
	x.Clock = theirs.Sub(asked.Add(time.Since(asked) / 2))
	x.compare(there)
	switch {
	case !x.Table && !s.migrate, len(x.Missing) > 0:
		return nil
	case !x.Table:
		if _, err := tx.Conn().PgConn().Exec(ctx, s.creation()).ReadAll(); err != nil {
			return fmt.Errorf("make the table conversations: %w", err)
		}
	}
	row, err := trialRow()
	if err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, postgresInsert, arraysOf([]*Conversation{row})...); err != nil {
		return fmt.Errorf("insert: %w", err)
	}
	return nil
}

// remote tells whether a server is on another machine. A path is a socket here.
func remote(host string) bool {
	if strings.HasPrefix(host, "/") || strings.EqualFold(host, "localhost") {
		return false
	}
	ip, err := netip.ParseAddr(host)
	return err != nil || !ip.Unmap().IsLoopback()
}

func sqlState(err error) string {
	if e, ok := errors.AsType[*pgconn.PgError](err); ok {
		return e.Code
	}
	return ""
}
