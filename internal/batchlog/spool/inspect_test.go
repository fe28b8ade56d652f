package spool

import (
	"context"
	"os"
	"path/filepath"
	"testing"
)

// TestInspect compares with what the process that has the spool counts.
func TestInspect(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "spool")
	same := func(what string, want Counters) {
		t.Helper()
		if got, _, err := Inspect(dir); err != nil || got != want {
			t.Errorf("%s: %+v, %v, want %+v", what, got, err, want)
		}
	}
	same("there is none", Counters{})
	cfg := Config{Dir: dir, MaxBytes: 1 << 20, SegmentBytes: 64 << 10}
	s, _, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	same("new", Counters{})
	mustAppend(t, s, 300, 1000)
	same("spooled", Counters{Accepted: 300, Spooled: 300})
	if err := s.Ack(mustRead(t, s, 200), Outcome{Amended: 3, SetAside: 2, Discarded: 1}); err != nil {
		t.Fatal(err)
	}
	dropped := Drops{Discarded: 1}
	same("acknowledged", Counters{Accepted: 300, Inserted: 194, Amended: 3, SetAside: 2, Spooled: 100, Dropped: dropped})
	if err := s.Settle(Settlement{Retried: 1, Retired: 7}); err != nil {
		t.Fatal(err)
	}
	want := Counters{Accepted: 300, Inserted: 195, Amended: 3, SetAside: 1, Spooled: 100, Dropped: dropped, Retired: 7}
	same("settled", want)
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	same("closed", want)
	if after, err := os.ReadDir(dir); err != nil || len(after) != len(files) {
		t.Errorf("the directory has %d files, had %d, %v", len(after), len(files), err)
	}
	again, _, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if got := again.Stats().Counters; got != want {
		t.Errorf("opened again: %+v, want %+v", got, want)
	}
	if err := again.Close(); err != nil {
		t.Error(err)
	}
}

// TestInspectMeanwhile: whatever the process does at the same time, the parts add
// up, and nothing is counted that did not happen.
func TestInspectMeanwhile(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "spool")
	s, _, err := Open(Config{Dir: dir, MaxBytes: 1 << 20, SegmentBytes: 16 << 10})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		for ctx.Err() == nil {
			mustAppend(t, s, 8, 900)
			if err := s.Ack(mustRead(t, s, 8), Outcome{}); err != nil {
				ended <- err
				return
			}
		}
		ended <- nil
	}()
	var last Counters
	for range 200 {
		c, _, err := Inspect(dir)
		if err != nil {
			t.Fatal(err)
		}
		if c.Accepted != c.Inserted+c.Spooled || c.Accepted < last.Accepted || c.Inserted < last.Inserted {
			t.Errorf("%+v after %+v", c, last)
		}
		last = c
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}
