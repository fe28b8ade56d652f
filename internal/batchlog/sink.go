package batchlog

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"
)

// sink is where conversations end up. One goroutine stores and retires; others
// may read meanwhile. It connects when it is first used, and again whenever it
// must: making one needs no server.
type sink interface {
	// store takes rows with different ids. Of a row that is there already the higher
	// revision wins, so that it does no harm to store one again. After an error some
	// of them may have been taken.
	store(ctx context.Context, rows []*Conversation) error
	// commit makes durable what store has taken since the last commit. After an error
	// none of it may be there.
	commit(ctx context.Context) error
	// retire deletes one bounded step of what retention does not keep, oldest
	// first. It returns how many of the rows were of this instance, with those that
	// others deleted, and whether there may be more.
	retire(ctx context.Context, keep RetentionConfig, now time.Time) (own int, more bool, err error)
	conversations(ctx context.Context, q Query) ([]Conversation, error)
	// count returns the rows of an instance, and how many of them others deleted
	// that retire has not returned yet.
	count(ctx context.Context, instance string) (rows, retired int64, err error)
	judge(err error) verdict
	// examine fills in what Examine finds.
	examine(ctx context.Context, x *Examination)
	name() string
	close() error
}

// verdict is what an error of a sink means for the records.
type verdict uint8

const (
	again  verdict = iota // may pass: keep the records and try again
	wrong                 // the set-up must be changed: likewise, and say so
	poison                // a record can never be stored
)

var errSinkClosed = errors.New("the log is closed")

// retireStep is how many rows one step of retention deletes at most.
const retireStep = 500

// openSink makes the sink that `database` names.
func openSink(cfg Config, dataDir, instance string) (sink, error) {
	db := cfg.Database
	switch {
	case db == "":
		return newSQLite(dataDir+"/conversations.db", instance), nil
	case strings.HasPrefix(db, "sqlite:"):
		return newSQLite(strings.TrimPrefix(db, "sqlite:"), instance), nil
	default:
		return newPostgres(db, instance, cfg.Migrate)
	}
}

// firstID is the least UUIDv7 that can be made at a time.
func firstID(t time.Time) string {
	var id uuid.UUID
	binary.BigEndian.PutUint64(id[:8], uint64(max(t.UnixMilli(), 0))<<16)
	return id.String()
}

// amended writes what an upsert sets, from the new row and the one that is there.
func amended(either func(newer, older string) string) string {
	var b strings.Builder
	for _, c := range columns {
		if c.role == isID {
			continue
		}
		if b.Len() > 0 {
			b.WriteString(", ")
		}
		newer, older := "excluded."+c.name, "conversations."+c.name
		switch c.role {
		case isContent:
			newer = "coalesce(" + newer + ", " + older + ")"
		case isMark:
			newer = either(newer, older)
		}
		b.WriteString(c.name + " = " + newer)
	}
	return b.String()
}

// columnNames lists all columns.
func columnNames() string {
	names := make([]string, len(columns))
	for i, c := range columns {
		names[i] = c.name
	}
	return strings.Join(names, ", ")
}

// targets are what a row is scanned into.
func (c *Conversation) targets() []any {
	fields := c.fields()
	for i, f := range fields {
		switch f := f.(type) {
		case *string:
			fields[i] = textTarget{f}
		case *json.RawMessage:
			fields[i] = jsonTarget{f}
		case *time.Time:
			fields[i] = timeTarget{f}
		}
	}
	return fields[:]
}

type textTarget struct{ to *string }

func (t textTarget) Scan(value any) error {
	switch v := value.(type) {
	case nil:
		*t.to = ""
	case string:
		*t.to = v
	case []byte:
		*t.to = string(v)
	default:
		return fmt.Errorf("a %T where a text should be", value)
	}
	return nil
}

type jsonTarget struct{ to *json.RawMessage }

func (t jsonTarget) Scan(value any) error {
	var text string
	if err := (textTarget{&text}).Scan(value); err != nil || text == "" {
		return err
	}
	*t.to = json.RawMessage(text)
	return nil
}

// sqliteTime is how SQLite's file has times: in UTC, of one length, so that
// they sort as texts.
const sqliteTime = "2006-01-02T15:04:05.000000Z"

type timeTarget struct{ to *time.Time }

func (t timeTarget) Scan(value any) (err error) {
	switch v := value.(type) {
	case time.Time:
		*t.to = v.UTC()
	case string:
		*t.to, err = time.Parse(sqliteTime, v)
	default:
		err = fmt.Errorf("a %T where a time should be", value)
	}
	return err
}
