package doctor

import (
	"context"
	"fmt"

	"github.com/vega-proxy/vega-proxy/internal/batchlog"
)

// spool is what was seen of the log's spool and of what was set aside.
type spool struct {
	err     error
	spooled uint64
	bytes   int64
	// damaged are records that cannot be read, damagedBytes what is kept of such.
	damaged      uint64
	damagedBytes int64
	stateLost    bool
	dropped      uint64
	aside        int
	lastError    string // of the newest that was set aside
}

// manyAside is how many are counted.
const manyAside = 1000

func readSpool(ctx context.Context, dataDir string) *spool {
	s := &spool{}
	c, found, err := batchlog.InspectSpool(dataDir)
	if err != nil {
		return &spool{err: err}
	}
	s.spooled, s.bytes, s.dropped = c.Spooled, found.Bytes, c.Dropped.Total()
	s.damaged, s.damagedBytes, s.stateLost = found.Damaged, found.Aside, found.StateLost
	aside, err := batchlog.ListSetAside(ctx, dataDir, manyAside)
	if err != nil {
		return &spool{err: err}
	}
	if s.aside = len(aside); s.aside > 0 {
		s.lastError = aside[0].Error
	}
	return s
}

// ofSpool makes a check of the spool that needs it to be readable.
func ofSpool(judge func(f *facts, s *spool) Result) func(*facts) []Result {
	return func(f *facts) []Result {
		switch s := f.spool; {
		case !f.cfg.Batchlog.Enabled:
			return []Result{skipped(logOff)}
		case s == nil || s.err != nil:
			return []Result{skipped("the spool was not read")}
		default:
			return []Result{judge(f, s)}
		}
	}
}

func checkSpool(f *facts) []Result {
	s := f.spool
	const meaning = "the proxy may not start, or conversations are lost"
	switch {
	case !f.cfg.Batchlog.Enabled:
		return []Result{skipped(logOff)}
	case s == nil:
		return []Result{wrong("the spool could not be read in time", meaning, "see whether the disk is in trouble")}
	case s.err != nil:
		return []Result{wrong(fmt.Sprintf("the spool cannot be read: %s", firstLine(s.err)), meaning, "give data_dir and all in it to the user that runs the proxy, and run the doctor as that user")}
	case s.damaged > 0 || s.damagedBytes > 0 || s.stateLost:
		return []Result{warning(fmt.Sprintf("parts of the spool are damaged: %d records at its end, %s kept aside in spool/*.damaged", s.damaged, bytesText(s.damagedBytes)),
			"conversations were lost; vega-proxy audit counts them", "see whether the disk is in trouble; remove the *.damaged files when they are of no more use")}
	}
	return []Result{ok("the spool is whole")}
}

// high is the share of the spool's bound at which it is nearly full.
const high = 0.8

func checkBacklog(f *facts, s *spool) Result {
	found := fmt.Sprintf("%d conversations wait in the spool (%s)", s.spooled, bytesText(s.bytes))
	if bound := f.cfg.Batchlog.Spool.MaxBytes; s.spooled > 0 && float64(s.bytes) > high*float64(bound) {
		return wrong(fmt.Sprintf("%s of %s", found, bytesText(bound)), "the oldest are given up when it is full", "see that the database takes rows; raise batchlog.spool.max_bytes until it does")
	}
	return ok(found)
}

func checkLost(_ *facts, s *spool) Result {
	if s.dropped > 0 {
		return warning(fmt.Sprintf("%d conversations have been lost so far", s.dropped), "they were given up: the spool was full, or the disk refused or damaged them", "vega-proxy audit says why")
	}
	return ok("no conversation has been lost")
}

func checkSetAside(_ *facts, s *spool) Result {
	if s.aside > 0 {
		return warning(fmt.Sprintf("%d conversations are set aside, the last one for: %s", s.aside, s.lastError), "the database refused them for what they are",
			"see vega-proxy logs set-aside; when the reason is gone, vega-proxy logs retry")
	}
	return ok("no conversation is set aside")
}
