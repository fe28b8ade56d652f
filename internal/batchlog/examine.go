package batchlog

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"slices"
	"time"

	"github.com/google/uuid"
)

// Examination is what a look at a sink found: whether the log could write there.
// It holds no password.
type Examination struct {
	Sink  string // sqlite or postgres
	Where string // the file; or user, host, port and database

	// Unreachable is why the sink could not be opened. Nothing else is known then.
	Unreachable error
	// Table says that the table is there. Missing are the columns it lacks,
	// Extra those that the log does not know.
	Table          bool
	Missing, Extra []string
	// Refused is why a row could not be stored. It was stored and taken back; where
	// the table is missing and the log may make it, so was the table.
	Refused error
	// MayDelete says that the user may delete rows, which retention needs.
	MayDelete bool
	// Code is the SQLSTATE of Unreachable or Refused, "" where there is none.
	Code string

	// Clock is the server's less ours; Remote and Encrypted tell what lies
	// between. They are zero for a file.
	Clock             time.Duration
	Remote, Encrypted bool

	// Took is how long connecting, looking and the trial took together.
	Took time.Duration
}

// Examine looks at the sink that the settings name and tries to store a row
// there. It changes nothing that stays, and a proxy may be running. It ends when
// ctx does.
func Examine(ctx context.Context, cfg Config, dataDir string) Examination {
	start := time.Now()
	if _, err := os.Stat(dataDir); cfg.Database == "" && errors.Is(err, fs.ErrNotExist) {
		return Examination{Sink: "sqlite", Where: dataDir, MayDelete: true} // both are made at the start
	}
	s, err := openSink(cfg, dataDir, "")
	if err != nil {
		return Examination{Sink: "postgres", Unreachable: err}
	}
	x := Examination{Sink: s.name()}
	s.examine(ctx, &x)
	x.Took = time.Since(start)
	return x
}

// compare notes in what a table differs from ours.
func (x *Examination) compare(there []string) {
	x.Table = len(there) > 0
	if !x.Table {
		return
	}
	for _, c := range columns {
		if !slices.Contains(there, c.name) {
			x.Missing = append(x.Missing, c.name)
		}
	}
	for _, name := range there {
		if !slices.ContainsFunc(columns[:], func(c column) bool { return c.name == name }) {
			x.Extra = append(x.Extra, name)
		}
	}
}

// trialRow is a row that is never kept.
func trialRow() (*Conversation, error) {
	id, err := uuid.NewV7()
	if err != nil {
		return nil, err
	}
	return &Conversation{ID: id.String(), StartedAt: time.Now(), Outcome: string(OK), Endpoint: "/vega-proxy/doctor"}, nil
}

// errTakenBack ends a trial that went well.
var errTakenBack = errors.New("taken back")
