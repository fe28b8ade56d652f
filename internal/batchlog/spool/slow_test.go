package spool

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// start runs the spool in the bubble, until the test ends.
func start(t *testing.T, s *Spool) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := s.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	synctest.Wait()
	return func() {
		cancel()
		wg.Wait()
	}
}

// gated is a disk whose writes, or syncs, wait for the gate to open.
func gated(op string) (d *disk, shut, open func()) {
	d = newDisk()
	var mu sync.Mutex
	gate := make(chan struct{})
	close(gate)
	d.gate = func(what string) {
		if strings.HasPrefix(what, op) && strings.HasSuffix(what, segmentSuffix) {
			mu.Lock()
			g := gate
			mu.Unlock()
			<-g
		}
	}
	shut = func() {
		mu.Lock()
		defer mu.Unlock()
		gate = make(chan struct{})
	}
	open = func() { close(gate) }
	return d, shut, open
}

// TestLate hangs the disk: Append lets go after 20 ms, those behind it at once
// or no later, and all of it is written when the disk is back, in order.
func TestLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, shut, open := gated("write")
		s := mustOpen(t, Config{MaxBytes: 1 << 20, SegmentBytes: 64 << 10, Fsync: time.Second, Late: 20 * time.Millisecond}, d)
		stop := start(t, s)
		mustAppend(t, s, 1, 10)
		if st := s.Stats(); st.Late != 0 {
			t.Errorf("late on a disk that answers: %d", st.Late)
		}
		shut()
		var wg sync.WaitGroup
		took := make([]time.Duration, 4)
		for n := range took {
			wg.Go(func() {
				time.Sleep(time.Duration(n) * 8 * time.Millisecond) // the last comes when it is slow already
				began := time.Now()
				if _, err := s.Append([16]byte{byte(n + 1)}, nil, []byte("while the disk hangs")); err != nil {
					t.Error(err)
				}
				took[n] = time.Since(began)
			})
		}
		wg.Wait()
		want := []time.Duration{20 * time.Millisecond, 12 * time.Millisecond, 4 * time.Millisecond, 0}
		for n := range took {
			if took[n] != want[n] {
				t.Errorf("caller %d waited %s, want %s", n, took[n], want[n])
			}
		}
		if st := s.Stats(); st.Late != 4 || st.Spooled != 5 || st.Queued == 0 {
			t.Errorf("%+v", st)
		}
		if entries, err := s.Read(10, 1<<20); err != nil || len(entries) != 1 {
			t.Errorf("%d entries, error %v", len(entries), err)
		}
		open()
		synctest.Wait()
		entries, err := s.Read(10, 1<<20)
		if err != nil || len(entries) != 4 {
			t.Fatalf("%d entries, error %v", len(entries), err)
		}
		for n, e := range entries {
			if e.ID != ([16]byte{byte(n + 1)}) {
				t.Errorf("record %d is %x", n, e.ID)
			}
		}
		mustAppend(t, s, 1, 10)
		if st := s.Stats(); st.Late != 4 || st.Queued != 0 {
			t.Errorf("after it is back: %+v", st)
		}
		stop()
	})
}

// TestMeanwhile hangs the disk under one who writes by itself: what it has for
// that case is done after 20 ms, once, while it is held; nobody else is, and all
// is written when the disk is back, in order.
func TestMeanwhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, shut, open := gated("write")
		s := mustOpen(t, Config{MaxBytes: 1 << 20, SegmentBytes: 64 << 10, Fsync: time.Second, Late: 20 * time.Millisecond}, d)
		stop := start(t, s)
		var began time.Time
		var called []time.Duration
		release := make(chan struct{})
		meanwhile := func() {
			called = append(called, time.Since(began))
			<-release
		}
		for n := range byte(3) { // the timer is set, and is not moved for each
			began = time.Now()
			if _, err := s.Append([16]byte{n}, meanwhile, []byte("in time")); err != nil {
				t.Fatal(err)
			}
			time.Sleep(7 * time.Millisecond)
		}
		if st := s.Stats(); len(called) > 0 || st.Late != 0 {
			t.Errorf("called %d times on a disk that answers: %+v", len(called), st)
		}
		shut()
		var wg sync.WaitGroup
		var held time.Duration
		wg.Go(func() {
			began = time.Now()
			if _, err := s.Append([16]byte{3}, meanwhile, []byte("held")); err != nil {
				t.Error(err)
			}
			held = time.Since(began)
		})
		synctest.Wait()
		for n, want := range []time.Duration{20 * time.Millisecond, 0} {
			at := time.Now()
			if _, err := s.Append([16]byte{4 + byte(n)}, meanwhile, []byte("behind it")); err != nil {
				t.Error(err)
			}
			if took := time.Since(at); took != want {
				t.Errorf("the one behind it waited %s, want %s", took, want)
			}
		}
		synctest.Wait()
		if len(called) != 1 || called[0] != 20*time.Millisecond {
			t.Errorf("called after %v", called)
		}
		time.Sleep(time.Hour)
		open()
		synctest.Wait()
		if held != 0 {
			t.Error("it returned before what was to be done meanwhile")
		}
		close(release)
		wg.Wait()
		if held < time.Hour || len(called) != 1 {
			t.Errorf("held for %s, called after %v", held, called)
		}
		if st := s.Stats(); st.Late != 3 || st.Queued != 0 || st.Spooled != 6 {
			t.Errorf("%+v", st)
		}
		entries, err := s.Read(10, 1<<20)
		if err != nil || len(entries) != 6 {
			t.Fatalf("%d entries, error %v", len(entries), err)
		}
		for n, e := range entries {
			if e.ID != ([16]byte{byte(n)}) {
				t.Errorf("record %d is %x", n, e.ID)
			}
		}
		stop()
		balance(t, s, "after it is back")
	})
}

// TestFastOnesShare: who comes right behind another does not write by itself.
func TestFastOnesShare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, shut, open := gated("write")
		s := mustOpen(t, Config{MaxBytes: 1 << 20, SegmentBytes: 64 << 10, Fsync: time.Second, Late: 20 * time.Millisecond}, d)
		stop := start(t, s)
		mustAppend(t, s, 1, 10)
		time.Sleep(lull - time.Nanosecond)
		shut()
		began := time.Now()
		if _, err := s.Append([16]byte{1}, func() { t.Error("it was held") }, []byte("fast")); err != nil {
			t.Error(err)
		}
		if took := time.Since(began); took != 20*time.Millisecond {
			t.Errorf("it waited %s", took)
		}
		open()
		stop()
		mustRead(t, s, 2)
	})
}

// TestStopWhileHeld ends the spool while one who writes by itself is held.
func TestStopWhileHeld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, shut, open := gated("write")
		s := mustOpen(t, Config{MaxBytes: 1 << 20, SegmentBytes: 64 << 10, Fsync: time.Second, Late: 20 * time.Millisecond}, d)
		stop := start(t, s)
		mustAppend(t, s, 1, 10)
		time.Sleep(lull)
		shut()
		var wg sync.WaitGroup
		called := 0
		wg.Go(func() {
			if _, err := s.Append([16]byte{1}, func() { called++ }, []byte("held")); err != nil {
				t.Error(err)
			}
		})
		synctest.Wait()
		wg.Go(stop)
		time.Sleep(time.Second)
		synctest.Wait()
		if called != 1 {
			t.Errorf("called %d times", called)
		}
		open()
		wg.Wait()
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		mustRead(t, mustOpen(t, s.cfg, d.killed()), 2)
	})
}

// TestQueueFull hangs the disk for good: memory is bounded, the rest is counted.
func TestQueueFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, shut, open := gated("write")
		s := mustOpen(t, Config{MaxBytes: 1 << 20, SegmentBytes: 64 << 10, Fsync: time.Second, Late: 20 * time.Millisecond}, d)
		stop := start(t, s)
		shut()
		payload := bytes.Repeat([]byte{'x'}, 1000)
		refused := 0
		for range 1000 {
			if _, err := s.Append([16]byte{1}, nil, payload); errors.Is(err, ErrQueueFull) {
				refused++
			} else if err != nil {
				t.Fatal(err)
			}
		}
		st := s.Stats()
		if st.Queued > s.maxQueued || st.Queued < s.maxQueued-len(payload)-frameSize {
			t.Errorf("%d bytes queued, bound %d", st.Queued, s.maxQueued)
		}
		if refused == 0 || st.Dropped != (Drops{QueueFull: uint64(refused)}) || st.Accepted != 1000 {
			t.Errorf("%d refused: %+v", refused, st.Counters)
		}
		balance(t, s, "queue full")
		open()
		synctest.Wait()
		mustRead(t, s, 1000-refused)
		stop()
		balance(t, s, "after it is back")
		if _, err := s.Append([16]byte{1}, nil, make([]byte, s.maxPayload+1)); !errors.Is(err, ErrTooLarge) {
			t.Errorf("too large: error %v", err)
		}
		// The drops that have no place in a segment survive too.
		if err := s.sync(); err != nil {
			t.Fatal(err)
		}
		want := Drops{QueueFull: uint64(refused), TooLarge: 1}
		if c := mustOpen(t, s.cfg, d.killed()).Counters(); c.Dropped != want || c.Accepted != 1001 {
			t.Errorf("after a restart %+v", c)
		}
	})
}

// TestBackpressure: many large records at once on a disk that is merely busy
// wait for one another; none is dropped.
func TestBackpressure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDisk()
		d.gate = func(string) { time.Sleep(time.Millisecond) }
		s := mustOpen(t, Config{MaxBytes: 4 << 20, SegmentBytes: 64 << 10, Fsync: time.Second, Late: 20 * time.Millisecond}, d)
		stop := start(t, s)
		var wg sync.WaitGroup
		for n := range 8 {
			wg.Go(func() {
				if _, err := s.Append([16]byte{byte(n)}, nil, make([]byte, 300<<10)); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		stop()
		mustRead(t, s, 8)
	})
}

// TestDiskFull refuses every write: records are dropped at once and counted,
// and the next goes in when there is room again.
func TestDiskFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDisk()
		s := mustOpen(t, Config{MaxBytes: 1 << 20, SegmentBytes: 64 << 10, Fsync: time.Second, Late: 20 * time.Millisecond}, d)
		stop := start(t, s)
		mustAppend(t, s, 3, 100)
		d.change(func() { d.full = true })
		for range 5 {
			if _, err := s.Append([16]byte{9}, nil, []byte("no room")); !errors.Is(err, errFailed) {
				t.Fatalf("error %v", err)
			}
		}
		if steps := d.step; steps > 25 {
			t.Errorf("a full disk was asked %d times", steps)
		}
		want := Counters{Accepted: 8, Spooled: 3, Dropped: Drops{WriteFailed: 5}}
		if got := s.Counters(); got != want {
			t.Errorf("%+v, want %+v", got, want)
		}
		d.change(func() { d.full = false })
		time.Sleep(2 * time.Second) // the pause, and a sync that keeps the counters
		synctest.Wait()
		if got := mustOpen(t, s.cfg, d.killed()).Counters(); got != want {
			t.Errorf("a restart meanwhile: %+v, want %+v", got, want)
		}
		mustAppend(t, s, 2, 100)
		want.Accepted, want.Spooled = 10, 5
		stop()
		for name, s := range map[string]*Spool{"as it was": s, "after a restart": mustOpen(t, s.cfg, d.killed())} {
			last := mustRead(t, s, 5)
			if got := s.Counters(); got != want || last != 10 {
				t.Errorf("%s: %+v, want %+v, last %d", name, got, want, last)
			}
			// What the disk took of a record before it refused the rest is gone.
			if st := s.Stats(); st.DamagedRegions+uint64(st.TornBytes) > 0 {
				t.Errorf("%s: %d damaged regions, torn %d bytes", name, st.DamagedRegions, st.TornBytes)
			}
			if err := s.Ack(last, Outcome{}); err != nil {
				t.Fatal(err)
			}
			if got := s.Counters(); got.Inserted != 5 || got.Dropped != want.Dropped {
				t.Errorf("%s: %+v", name, got)
			}
		}
	})
}

// TestSyncFails: the disk takes writes and refuses to sync. Nothing is dropped,
// and no segment is begun for each refusal.
func TestSyncFails(t *testing.T) {
	for _, mode := range modes {
		t.Run(mode.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := newDisk()
				cfg := Config{MaxBytes: 1 << 20, SegmentBytes: 64 << 10, Fsync: mode.fsync, Late: time.Second}
				s := mustOpen(t, cfg, d)
				ctx, cancel := context.WithCancel(t.Context())
				ended := make(chan error, 1)
				go func() { ended <- s.Run(ctx) }()
				synctest.Wait()
				d.change(func() {
					d.failing = func(_ int, op string) (bool, bool) { return strings.HasPrefix(op, "sync"), false }
				})
				for n := range 30 {
					_, err := s.Append([16]byte{byte(n)}, nil, []byte("kept"))
					if got := errors.Is(err, ErrNotSynced); got != (mode.fsync == 0) {
						t.Fatalf("record %d: error %v", n, err)
					}
					time.Sleep(time.Second)
				}
				if st := s.Stats(); st.Spooled != 30 || st.SyncErrors == 0 || st.LastError == nil || st.Segments > 3 {
					t.Errorf("%+v", st)
				}
				d.change(func() { d.failing = nil })
				mustRead(t, s, 30)
				balance(t, s, "not synced")
				cancel()
				if err := <-ended; err != nil {
					t.Errorf("after the disk is well again: %v", err)
				}
			})
		})
	}
}

// TestIntervalSync: what is appended is synced by the interval, and nothing is
// synced when nothing was.
func TestIntervalSync(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDisk()
		s := mustOpen(t, Config{MaxBytes: 1 << 20, SegmentBytes: 64 << 10, Fsync: time.Second, Late: time.Second}, d)
		stop := start(t, s)
		mustAppend(t, s, 10, 100)
		if st := s.Stats(); st.Fsyncs != 0 {
			t.Errorf("%d syncs before the interval", st.Fsyncs)
		}
		time.Sleep(time.Second + time.Millisecond)
		synctest.Wait()
		y := mustOpen(t, s.cfg, d.cutPower(cuts(0, 0)[0]))
		mustRead(t, y, 10)
		steps := d.step
		time.Sleep(time.Minute)
		synctest.Wait()
		if st := s.Stats(); st.Fsyncs != 1 || d.step != steps {
			t.Errorf("%d syncs; idle, the disk was asked %d times", st.Fsyncs, d.step-steps)
		}
		if age := s.Stats().OldestAge; age < time.Minute || age > 62*time.Second {
			t.Errorf("oldest age %s", age)
		}
		stop()
	})
}

// TestGroupCommit: those that come while a sync is under way share the next.
func TestGroupCommit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, shut, open := gated("sync")
		s := mustOpen(t, Config{MaxBytes: 1 << 20, SegmentBytes: 64 << 10, Late: 10 * time.Second}, d)
		stop := start(t, s)
		shut()
		var wg sync.WaitGroup
		for n := range 64 {
			wg.Go(func() {
				if _, err := s.Append([16]byte{byte(n)}, nil, []byte("always")); err != nil {
					t.Error(err)
				}
			})
			if n == 0 {
				synctest.Wait()
			}
		}
		synctest.Wait()
		if st := s.Stats(); st.Late != 0 {
			t.Errorf("%d late before the sync", st.Late)
		}
		open()
		wg.Wait()
		if st := s.Stats(); st.Fsyncs != 2 {
			t.Errorf("64 records took %d syncs, want 2", st.Fsyncs)
		}
		mustRead(t, mustOpen(t, s.cfg, d.cutPower(cuts(0, 0)[0])), 64)
		stop()
	})
}

// TestWait wakes the consumer when there is enough, not before.
func TestWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := mustOpen(t, tinyConfig(time.Second), newDisk())
		stop := start(t, s)
		woken := make(chan error, 1)
		go func() { woken <- s.Wait(t.Context(), 3) }()
		mustAppend(t, s, 2, 10)
		synctest.Wait()
		select {
		case err := <-woken:
			t.Errorf("woken by 2 records: %v", err)
		default:
		}
		mustAppend(t, s, 1, 10)
		if err := <-woken; err != nil {
			t.Error(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		if err := s.Wait(ctx, 4); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v", err)
		}
		stop()
	})
}

// TestOldestAge follows the first record that has not left.
func TestOldestAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := mustOpen(t, tinyConfig(time.Second), newDisk())
		age := func(want time.Duration) {
			t.Helper()
			if got := s.Stats().OldestAge; got != want {
				t.Errorf("oldest %s, want %s", got, want)
			}
		}
		age(0)
		for range 4 {
			mustAppend(t, s, 1, 10)
			time.Sleep(time.Second)
		}
		age(4 * time.Second)
		ack := func(seq uint64) {
			t.Helper()
			if err := s.Ack(seq, Outcome{}); err != nil {
				t.Fatal(err)
			}
		}
		mustRead(t, s, 1)
		ack(1)
		age(3 * time.Second)
		mustRead(t, s, 2)
		mustRead(t, s, 1)
		ack(3)
		age(1 * time.Second)
		ack(4)
		age(0)
		time.Sleep(time.Hour)
		mustAppend(t, s, 1, 10)
		age(0)
	})
}
