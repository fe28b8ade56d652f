package batchlog

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/vega-proxy/vega-proxy/internal/batchlog/spool"
)

// Audit is the balance of the log: what was accepted, and what became of it.
type Audit struct {
	Instance string            `json:"instance"`
	Sink     string            `json:"sink"`
	Accepted uint64            `json:"accepted"`
	Inserted uint64            `json:"inserted"`
	Amended  uint64            `json:"amended"`
	Spooled  uint64            `json:"spooled"`
	SetAside uint64            `json:"set_aside"`
	Dropped  uint64            `json:"dropped"`
	ByReason map[string]uint64 `json:"dropped_by_reason"`
	Retired  uint64            `json:"retired"`

	// InSink are this instance's rows that the sink has now; -1 if it could not be
	// asked. It should be Inserted less Retired, and may be more while a batch is
	// between the sink and the spool's note of it.
	InSink    int64  `json:"in_sink"`
	SinkError string `json:"sink_error"`

	// Balanced says that the parts add up to what was accepted, and that no row is
	// missing in the sink.
	Balanced bool `json:"balanced"`
}

// Audit counts. It asks the sink, but nothing fails if that does not answer.
func (l *Log) Audit(ctx context.Context) Audit {
	return audit(ctx, l.queue.Stats().Counters, l.sink, l.instance)
}

func audit(ctx context.Context, c spool.Counters, s sink, instance string) Audit {
	a := Audit{
		Instance: instance,
		Sink:     s.name(),
		Accepted: c.Accepted,
		Inserted: c.Inserted,
		Amended:  c.Amended,
		Spooled:  c.Spooled,
		SetAside: c.SetAside,
		Dropped:  c.Dropped.Total(),
		ByReason: byReason(c.Dropped),
		Retired:  c.Retired,
		InSink:   -1,
	}
	n, retired, err := s.count(ctx, instance)
	if err != nil {
		a.SinkError = err.Error()
	} else {
		a.InSink = n
		a.Retired += uint64(retired)
	}
	a.Balanced = a.Accepted == a.Inserted+a.Amended+a.Spooled+a.SetAside+a.Dropped &&
		(a.InSink < 0 || a.InSink+int64(a.Retired) >= int64(a.Inserted))
	return a
}

// WriteJSON writes the balance as one JSON object.
func (a Audit) WriteJSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(a)
}

// WriteText writes the balance as a table for people.
func (a Audit) WriteText(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	line := func(n any, what string) { fmt.Fprintf(t, "%v\t  %s\n", n, what) }
	line(a.Accepted, "accepted by "+a.Instance)
	line(a.Inserted, "inserted into "+a.Sink)
	line(a.Amended, "amendments of those")
	line(a.Spooled, "spooled, and on their way")
	line(a.SetAside, "set aside")
	line(a.Dropped, "dropped")
	for _, why := range slices.Sorted(maps.Keys(a.ByReason)) {
		if n := a.ByReason[why]; n > 0 {
			line(n, "  "+why)
		}
	}
	line(a.Retired, "of those inserted, deleted by retention")
	if a.InSink >= 0 {
		line(a.InSink, "in the sink now")
	} else {
		line("?", "in the sink now: "+strings.ReplaceAll(a.SinkError, "\n", "; "))
	}
	if a.Balanced {
		line("", "The sum is right: nothing is missing.")
	} else {
		line("", "The sum is NOT right: something is missing.")
	}
	return t.Flush()
}
