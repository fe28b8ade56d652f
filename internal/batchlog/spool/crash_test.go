package spool

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// each runs a story once for each of its operations.
func each(t *testing.T, cfg Config, run func(t *testing.T, y *story, step int)) {
	y := newStory(cfg)
	y.run(y.tale()...)
	if y.disk.step < 40 {
		t.Fatalf("the tale has only %d operations: %q", y.disk.step, y.disk.trace)
	}
	y.check(t, y.disk.killed(), lossNone, false)
	for step := 1; step <= y.disk.step; step++ {
		again := newStory(cfg)
		run(t, again, step)
		if t.Failed() {
			t.Fatalf("operation %d, %s", step, again.disk.trace[min(step, len(again.disk.trace))-1])
		}
	}
}

var modes = []struct {
	name  string
	fsync time.Duration
}{{"always", 0}, {"interval", time.Second}}

// TestCrash lets the machine die in each operation: before it, after it, and
// where it is a write in the middle.
func TestCrash(t *testing.T) {
	for _, mode := range modes {
		for _, tear := range []int{0, 1, 20, 60, 130, -1} {
			t.Run(fmt.Sprintf("%s, torn at %d", mode.name, tear), func(t *testing.T) {
				each(t, tinyConfig(mode.fsync), func(t *testing.T, y *story, step int) {
					y.disk.crashAt, y.disk.tear = step, tear
					y.run(y.tale()...)
					if !y.disk.crashed {
						t.Fatal("did not crash")
					}
					if tear > 0 && !strings.HasPrefix(y.disk.trace[step-1], "write") {
						return // nothing else has a middle
					}
					c := y.check(t, y.disk.killed(), lossNone, false)
					if c.Dropped.Total() != 0 {
						t.Errorf("kill -9 counts as dropped: %v", c.Dropped)
					}
					if n := uint64(len(y.appended)); c.Accepted != n && c.Accepted != n+1 {
						t.Errorf("accepted %d, appended %d", c.Accepted, n)
					}
					for _, cut := range cuts(4, step) {
						allowed := lossNone
						if mode.fsync > 0 {
							allowed = lossUnsynced
						}
						y.check(t, y.disk.cutPower(cut), allowed, true)
						if t.Failed() {
							t.Fatal(cut.name)
						}
					}
				})
			})
		}
	}
}

// TestFailure lets each operation fail, once without having happened and once
// although it has, and the process die at the end.
func TestFailure(t *testing.T) {
	for _, mode := range modes {
		for _, happens := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, happened %t", mode.name, happens), func(t *testing.T) {
				each(t, tinyConfig(mode.fsync), func(t *testing.T, y *story, step int) {
					y.disk.failing = func(at int, op string) (bool, bool) { return at == step, happens }
					y.run(y.tale()...)
					if len(y.refused) > 0 {
						t.Errorf("one failure of the disk refused a record: %v", y.refused)
					}
					if !strings.HasPrefix(y.disk.trace[step-1], "remove") {
						y.checkNames(t)
					}
					y.check(t, y.disk.killed(), lossNone, true)
					if mode.fsync == 0 {
						for _, cut := range cuts(4, step) {
							y.check(t, y.disk.cutPower(cut), lossNone, true)
							if t.Failed() {
								t.Fatal(cut.name)
							}
						}
					}
				})
			})
		}
	}
}

// TestCrashWhenFull lets the machine die in each operation of a spool that
// gives up its oldest segments: what survives has no hole, and what is missing
// is counted as given up.
func TestCrashWhenFull(t *testing.T) {
	for _, mode := range modes {
		t.Run(mode.name, func(t *testing.T) {
			crashWhenFull(t, Config{MaxBytes: 3000, SegmentBytes: 600, Fsync: mode.fsync, Late: time.Second})
		})
	}
}

func crashWhenFull(t *testing.T, cfg Config) {
	tale := func(y *story) []func() error {
		return []func() error{y.open, y.append(12), y.read(3), y.append(12), y.ack(Outcome{}), y.append(6), y.sync, y.read(2), y.rewind, y.append(7), y.sync, y.append(9)}
	}
	whole := newStory(cfg)
	whole.run(tale(whole)...)
	if len(whole.disk.removed) < 5 {
		t.Fatalf("only %q were removed", whole.disk.removed)
	}
	for step := 1; step <= whole.disk.step; step++ {
		for _, tear := range []int{0, 100, -1} {
			y := newStory(cfg)
			y.disk.crashAt, y.disk.tear = step, tear
			y.run(tale(y)...)
			y.checkFull(t, y.disk.killed(), "killed")
			for _, cut := range cuts(4, step) {
				y.checkFull(t, y.disk.cutPower(cut), cut.name)
			}
			if t.Failed() {
				t.Fatalf("operation %d, %s, torn at %d", step, y.disk.trace[step-1], tear)
			}
		}
	}
}

func (y *story) checkFull(t *testing.T, d *disk, how string) {
	t.Helper()
	s, _, err := open(y.cfg, d)
	if err != nil {
		t.Fatalf("%s: open: %v", how, err)
	}
	found := readAll(t, s, y.payloads)
	balance(t, s, how)
	// What was not synced may have a hole, but for kill -9.
	first, certain := y.highest+1, y.synced
	if how == "killed" {
		certain = y.highest
	}
	for _, seq := range found {
		first = min(first, seq)
	}
	for seq, id := range y.appended {
		if _, ok := found[id]; !ok && seq > y.ackCalled && seq > first && seq <= certain {
			t.Errorf("%s: record %d is missing, and %d is there", how, seq, first)
		}
	}
	// A record in the making may have left a trace.
	c := s.Counters()
	if c.Accepted < certain || c.Dropped[Damaged] > c.Accepted-min(certain, c.Accepted) {
		t.Errorf("%s: appended %d, %+v", how, y.highest, c)
	}
	if s.bytes > y.cfg.MaxBytes+y.cfg.SegmentBytes {
		t.Errorf("%s: %d bytes", how, s.bytes)
	}
}
