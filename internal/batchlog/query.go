package batchlog

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"
)

// Query says which conversations are wanted; what is zero does not matter.
type Query struct {
	ID, Session, Model, Upstream, Outcome string

	Text         string    // in the prompt or the answer, in any case of letters
	Since, Until time.Time // of the start
	EndedSince   time.Time

	// Cursor goes on behind the last answer's end.
	Cursor string
	// OldestFirst turns the order, for an export.
	OldestFirst bool
	Limit       int // 0 is 50, at most 1000
}

// ErrQuery says that a query can have no answer: the cursor or the id is none.
var ErrQuery = errors.New("the query is wrong")

func (q Query) limit() int {
	if q.Limit <= 0 {
		return 50
	}
	return min(q.Limit, 1000)
}

// dialectSQL is in what the sinks' SQL differs.
type dialectSQL struct {
	id   string              // a placeholder for an id, with %d
	arg  string              // for anything else
	like string              // the operator that ignores case
	time func(time.Time) any // as the column has it
	end  string              // whether the end is at or after a time
}

// sql writes the query. A UUIDv7 begins with its time, so that the key's order
// is that of time.
func (q Query) sql(d dialectSQL, columns, table string) (text string, args []any, err error) {
	var where []string
	add := func(condition, placeholder string, value any) {
		args = append(args, value)
		where = append(where, strings.ReplaceAll(condition, "?", fmt.Sprintf(placeholder, len(args))))
	}
	for _, id := range []struct{ what, value, condition string }{
		{"id", q.ID, "id = ?"},
		{"cursor", q.Cursor, map[bool]string{false: "id < ?", true: "id > ?"}[q.OldestFirst]},
	} {
		if id.value == "" {
			continue
		}
		parsed, err := uuid.Parse(id.value)
		if err != nil {
			return "", nil, fmt.Errorf("%w: the %s %q is no UUID", ErrQuery, id.what, id.value)
		}
		add(id.condition, d.id, parsed.String())
	}
	for _, fact := range []struct{ column, value string }{
		{"session_id", q.Session}, {"model", q.Model}, {"upstream", q.Upstream}, {"outcome", q.Outcome},
	} {
		if fact.value != "" {
			add(fact.column+" = ?", d.arg, fact.value)
		}
	}
	if q.Text != "" {
		pattern := "%" + strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`).Replace(q.Text) + "%"
		add(`(prompt `+d.like+` ? ESCAPE '\' OR answer `+d.like+` ? ESCAPE '\')`, d.arg, pattern)
	}
	if !q.Since.IsZero() {
		add("started_at >= ?", d.arg, d.time(q.Since))
	}
	if !q.Until.IsZero() {
		add("started_at < ?", d.arg, d.time(q.Until))
	}
	if !q.EndedSince.IsZero() {
		add(d.end, d.arg, d.time(q.EndedSince))
	}
	text = "SELECT " + columns + " FROM " + table
	if where != nil {
		text += " WHERE " + strings.Join(where, " AND ")
	}
	order := "DESC"
	if q.OldestFirst {
		order = "ASC"
	}
	return fmt.Sprintf("%s ORDER BY id %s LIMIT %d", text, order, q.limit()), args, nil
}
