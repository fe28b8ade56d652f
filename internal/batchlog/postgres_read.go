package batchlog

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// A replica deletes what is due whosesoever it is, since another may run no more,
// and writes down how many were another's, for its audit.
const (
	postgresRetire = `WITH gone AS (
	DELETE FROM conversations WHERE id IN (SELECT id FROM conversations %s ORDER BY id LIMIT $1) RETURNING instance
), told AS (
	INSERT INTO conversations_retired AS r (instance, retired)
	SELECT instance, count(*) FROM gone WHERE instance <> $2 GROUP BY instance ORDER BY instance
	ON CONFLICT (instance) DO UPDATE SET retired = r.retired + excluded.retired
)
SELECT count(*), count(*) FILTER (WHERE instance = $2) FROM gone`
	postgresTold = `WITH told AS (DELETE FROM conversations_retired WHERE instance = $1 RETURNING retired)
SELECT coalesce(sum(retired), 0)::bigint FROM told`
)

// retire deletes by age, then by size: an estimate of what the rows that are
// there take, since the files of a table do not shrink when rows go.
func (s *postgresSink) retire(ctx context.Context, keep RetentionConfig, now time.Time) (own int, more bool, err error) {
	err = s.with(ctx, &s.writer, func(conn *pgx.Conn) error {
		if err := s.prepare(ctx, conn); err != nil {
			return err
		}
		var deleted, ours int
		step := func(where string, args ...any) error {
			err := conn.QueryRow(ctx, fmt.Sprintf(postgresRetire, where), args...).Scan(&deleted, &ours)
			own += ours
			return err
		}
		if err := conn.QueryRow(ctx, postgresTold, s.instance).Scan(&own); err != nil {
			return err
		}
		if keep.MaxAge > 0 {
			// By the key, which begins with a time: looking for rows that are not there
			// must not read the table.
			if err := step("WHERE id < $3::uuid", retireStep, s.instance, firstID(now.Add(-keep.MaxAge))); err != nil {
				return err
			}
		}
		if deleted == 0 && keep.MaxBytes > 0 {
			rows, used, err := estimateSize(ctx, conn)
			if err != nil {
				return err
			}
			if used > keep.MaxBytes && rows > 0 {
				n := min(retireStep, max(rows*(used-keep.MaxBytes)/used, 1))
				if err := step("", n, s.instance); err != nil {
					return err
				}
			}
		}
		more = deleted > 0
		return nil
	})
	if err != nil {
		return own, false, fmt.Errorf("delete what is not kept: %w", err)
	}
	return own, more, nil
}

// estimateSize reads a part of the table, about 8 MiB of it, for the whole.
func estimateSize(ctx context.Context, conn *pgx.Conn) (rows, used int64, err error) {
	var size int64
	if err := conn.QueryRow(ctx, "SELECT pg_relation_size('conversations')").Scan(&size); err != nil {
		return 0, 0, err
	}
	percent := min(100, max(0.01, 100*float64(8<<20)/float64(max(size, 1))))
	var n, sum int64
	err = conn.QueryRow(ctx, fmt.Sprintf("SELECT count(*), coalesce(sum(pg_column_size(c.*)), 0)::bigint FROM conversations AS c TABLESAMPLE SYSTEM (%g)", percent)).Scan(&n, &sum)
	return int64(float64(n) * 100 / percent), int64(float64(sum) * 100 / percent), err
}

var (
	postgresQuery = dialectSQL{
		id: "$%d::uuid", arg: "$%d", like: "ILIKE", time: func(t time.Time) any { return t },
		end: "started_at + duration_ms * interval '1 ms' >= ?",
	}
	// postgresRead reads ids and JSON as text.
	postgresRead = func() string {
		var read []string
		for i, field := range new(Conversation).fields() {
			name := columns[i].name
			if _, ok := field.(*json.RawMessage); ok || columns[i].role == isID {
				name += "::text"
			}
			read = append(read, name)
		}
		return strings.Join(read, ", ")
	}()
)

func (s *postgresSink) conversations(ctx context.Context, q Query) (found []Conversation, err error) {
	text, args, err := q.sql(postgresQuery, postgresRead, "conversations")
	if err != nil {
		return nil, err
	}
	err = s.with(ctx, &s.reader, func(conn *pgx.Conn) error {
		rows, err := conn.Query(ctx, text, args...)
		if err != nil {
			return err
		}
		found, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (c Conversation, err error) {
			return c, row.Scan(c.targets()...)
		})
		return err
	})
	if e, ok := errors.AsType[*pgconn.PgError](err); ok && e.Code == "42P01" { // nothing was stored yet
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read conversations: %w", err)
	}
	return found, nil
}

func (s *postgresSink) count(ctx context.Context, instance string) (n, retired int64, err error) {
	err = s.with(ctx, &s.reader, func(conn *pgx.Conn) error {
		// In this order a row that goes meanwhile is in both, not in neither.
		return errors.Join(countIn(ctx, conn, &n, "SELECT count(*) FROM conversations WHERE instance = $1", instance),
			countIn(ctx, conn, &retired, "SELECT coalesce(sum(retired), 0)::bigint FROM conversations_retired WHERE instance = $1", instance))
	})
	return n, retired, err
}

// countIn counts nothing in a table that is not there.
func countIn(ctx context.Context, conn *pgx.Conn, n *int64, query, instance string) error {
	err := conn.QueryRow(ctx, query, instance).Scan(n)
	if e, ok := errors.AsType[*pgconn.PgError](err); ok && e.Code == "42P01" {
		return nil
	}
	return err
}
