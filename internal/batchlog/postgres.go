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

const (
	pgConnectTimeout = 5 * time.Second
	// pgLock is the advisory lock under which the schema is made, so that
	// replicas that start together do not do it at the same time.
	pgLock int64 = 0x76656761_6c6f67
)

// postgresSink is a server. It has two connections at most, one that writes and
// one that reads, and sets nothing in a session, so that it works through a
// pooler that hands a connection on after each transaction.
type postgresSink struct {
	config   *pgx.ConnConfig
	instance string
	migrate  bool
	writer   pgLine
	reader   pgLine

	// Of the writer: the table is not one that COPY may write to; the last COPY broke
	// the connection.
	uncopied, copyBroke bool
}

// pgLine is a connection that one at a time may use.
type pgLine struct {
	free chan struct{} // holds one token, which guards what follows
	conn *pgx.Conn     // nil if there is none
	made bool          // the schema was seen to be there
	over bool          // was closed
}

func newPgLine() pgLine {
	free := make(chan struct{}, 1)
	free <- struct{}{}
	return pgLine{free: free}
}

// newPostgres reads the URL. It does not need the server.
func newPostgres(database, instance string, migrate bool) (*postgresSink, error) {
	config, err := pgx.ParseConfig(database)
	if err != nil {
		// The library's error quotes the URL; it hides the password if it can find it.
		return nil, errors.New("batchlog.database is not a URL that Postgres takes; write postgres://USER:PASSWORD@HOST:5432/NAME?sslmode=verify-full")
	}
	if config.ConnectTimeout == 0 {
		config.ConnectTimeout = pgConnectTimeout
	}
	if config.RuntimeParams["application_name"] == "" {
		config.RuntimeParams["application_name"] = "vega-proxy"
	}
	return &postgresSink{config: config, instance: instance, migrate: migrate, writer: newPgLine(), reader: newPgLine()}, nil
}

func (s *postgresSink) name() string { return "postgres" }

// with lends a connection. One that broke is replaced with the next use.
func (s *postgresSink) with(ctx context.Context, line *pgLine, do func(*pgx.Conn) error) error {
	select {
	case <-line.free:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	defer func() { line.free <- struct{}{} }()
	if line.over {
		return errSinkClosed
	}
	if line.conn != nil && line.conn.IsClosed() {
		line.conn = nil
	}
	if line.conn == nil {
		conn, err := pgx.ConnectConfig(ctx, s.config.Copy())
		if err != nil {
			return s.connectError(err)
		}
		line.conn = conn
	}
	return do(line.conn)
}

// connectError says which server, and leaves out what the URL may hold.
func (s *postgresSink) connectError(err error) error {
	return fmt.Errorf("connect to Postgres at %s:%d, database %q, as %q: %w",
		s.config.Host, s.config.Port, s.config.Database, s.config.User, plainCause(err))
}

// plainCause is the server's or the network's own error.
func plainCause(err error) error {
	if e, ok := errors.AsType[*pgconn.PgError](err); ok {
		return e
	}
	if e, ok := errors.AsType[*pgconn.ConnectError](err); ok {
		if cause := e.Unwrap(); cause != nil {
			return cause
		}
	}
	return err
}

// prepare makes the schema where it is missing.
func (s *postgresSink) prepare(ctx context.Context, conn *pgx.Conn) error {
	if s.writer.made || !s.migrate {
		return nil
	}
	var there bool
	const look = "SELECT to_regclass('conversations') IS NOT NULL AND to_regclass('conversations_retired') IS NOT NULL"
	if err := conn.QueryRow(ctx, look).Scan(&there); err != nil {
		return fmt.Errorf("look for the table conversations: %w", err)
	}
	if !there {
		// In one message, and so in one transaction of a pooler.
		if _, err := conn.PgConn().Exec(ctx, "BEGIN;\n"+s.creation()+"COMMIT;").ReadAll(); err != nil {
			// The connection may be left in the failed transaction.
			return errors.Join(fmt.Errorf("make the table conversations: %w; or run what `vega-proxy schema` prints, and set batchlog.migrate: false", err), conn.Close(ctx))
		}
	}
	s.writer.made = true
	return nil
}

// creation is what makes the table, for a transaction.
func (s *postgresSink) creation() string {
	script := fmt.Sprintf("SELECT pg_advisory_xact_lock(%d);\n", pgLock)
	if schema := firstSchema(s.config.RuntimeParams["search_path"]); schema != "" {
		script += "CREATE SCHEMA IF NOT EXISTS " + schema + ";\n"
	}
	return script + postgresSchema
}

// firstSchema is the schema that a search path names first, quoted; "" if it
// names none, or the user's own.
func firstSchema(path string) string {
	first, _, _ := strings.Cut(path, ",")
	first = strings.Trim(strings.TrimSpace(first), `"`)
	if first == "" || first == "$user" {
		return ""
	}
	return pgx.Identifier{first}.Sanitize()
}

var postgresInsert = writePostgresInsert()

// writePostgresInsert writes one statement for any number of rows: an array a
// column. Ids and JSON go as text, since not every mode of execution knows
// their types.
func writePostgresInsert() string {
	var arrays, selected []string
	for i, field := range new(Conversation).fields() {
		kind, cast := "text", ""
		switch field.(type) {
		case *json.RawMessage:
			cast = "::json"
		case *time.Time:
			kind = "timestamptz"
		case *int64, **int64:
			kind = "bigint"
		case *float64, **float64:
			kind = "double precision"
		case *bool:
			kind = "boolean"
		}
		if columns[i].role == isID {
			cast = "::uuid"
		}
		arrays = append(arrays, fmt.Sprintf("$%d::%s[]", i+1, kind))
		selected = append(selected, columns[i].name+cast)
	}
	return "INSERT INTO conversations (" + columnNames() + ") SELECT " + strings.Join(selected, ", ") +
		" FROM unnest(" + strings.Join(arrays, ", ") + ") AS batch (" + columnNames() + ")" +
		" ON CONFLICT (id) DO UPDATE SET " + amended(func(newer, older string) string { return newer + " OR " + older }) +
		" WHERE conversations.revision < excluded.revision"
}

func (s *postgresSink) store(ctx context.Context, rows []*Conversation) error {
	return s.with(ctx, &s.writer, func(conn *pgx.Conn) error {
		if err := s.prepare(ctx, conn); err != nil {
			return err
		}
		copied := !s.uncopied && !s.copyBroke && !amends(rows)
		// It may have been a pooler that does not know COPY: once without.
		s.copyBroke = false
		if copied {
			err := copyRows(ctx, conn, rows)
			e, refused := errors.AsType[*pgconn.PgError](err)
			if !refused || conn.IsClosed() {
				s.copyBroke = err != nil
				return err
			}
			// Row-level security, or a view: not to be tried each time.
			s.uncopied = e.Code == "0A000" || e.Code == "42809"
			// Else one of them is there already, or the server holds something against
			// a row: the statement tells.
		}
		if _, err := conn.Exec(ctx, postgresInsert, arraysOf(rows)...); err != nil {
			return s.insertError(err)
		}
		return nil
	})
}

// commit has nothing to do: each statement is a transaction.
func (s *postgresSink) commit(context.Context) error { return nil }

// insertError says what to do where the table is gone. The next attempt makes it,
// unless that is for others to do.
func (s *postgresSink) insertError(err error) error {
	if e, ok := errors.AsType[*pgconn.PgError](err); ok && e.Code == "42P01" { // undefined_table
		if s.writer.made = false; !s.migrate {
			return fmt.Errorf("insert: %w; run what `vega-proxy schema` prints, or set batchlog.migrate: true", err)
		}
	}
	return fmt.Errorf("insert: %w", err)
}

// arraysOf turns rows into an array for each column.
func arraysOf(rows []*Conversation) []any {
	var texts [len(columns)][]*string
	var numbers [len(columns)][]*int64
	var reals [len(columns)][]*float64
	var bools [len(columns)][]bool
	var times [len(columns)][]time.Time
	args := make([]any, len(columns))
	for _, row := range rows {
		for i, field := range row.fields() {
			switch f := field.(type) {
			case *string:
				texts[i] = append(texts[i], textOrNull(*f))
				args[i] = texts[i]
			case *json.RawMessage:
				texts[i] = append(texts[i], textOrNull(string(*f)))
				args[i] = texts[i]
			case *int64:
				numbers[i] = append(numbers[i], f)
				args[i] = numbers[i]
			case **int64:
				numbers[i] = append(numbers[i], *f)
				args[i] = numbers[i]
			case *float64:
				reals[i] = append(reals[i], f)
				args[i] = reals[i]
			case **float64:
				reals[i] = append(reals[i], *f)
				args[i] = reals[i]
			case *bool:
				bools[i] = append(bools[i], *f)
				args[i] = bools[i]
			case *time.Time:
				times[i] = append(times[i], *f)
				args[i] = times[i]
			}
		}
	}
	return args
}

func textOrNull(text string) *string {
	if text == "" {
		return nil
	}
	return &text
}

// judge goes by the classes of SQLSTATE. What is no answer of the server, such
// as a connection that broke, may pass; so may a commit whose answer was lost,
// and the rows go in again without harm.
func (s *postgresSink) judge(err error) verdict {
	e, ok := errors.AsType[*pgconn.PgError](err)
	if !ok || len(e.Code) < 2 {
		return again
	}
	switch e.Code[:2] {
	case "22", "23", "54": // data, constraints, limits of a row
		return poison
	case "28", "3D", "3F", "42": // password, database, schema, tables and rights
		return wrong
	}
	return again
}

// close ends both connections, after whoever uses them.
func (s *postgresSink) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	var errs []error
	for _, line := range []*pgLine{&s.writer, &s.reader} {
		<-line.free
		if line.conn != nil {
			errs = append(errs, line.conn.Close(ctx))
			line.conn = nil
		}
		line.over = true
		line.free <- struct{}{}
	}
	return errors.Join(errs...)
}
