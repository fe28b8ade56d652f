package monitor

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// fakeRecorder is a recorder without the process' one trace.
type fakeRecorder struct {
	starts, stops atomic.Int64
	fail          error
}

func (r *fakeRecorder) Start() error { r.starts.Add(1); return nil }
func (r *fakeRecorder) Stop()        { r.stops.Add(1) }
func (r *fakeRecorder) WriteTo(w io.Writer) (int64, error) {
	n, err := io.WriteString(w, "trace")
	return int64(n), errors.Join(err, r.fail)
}

func withFakeRecorder(t *testing.T) (*Monitor, *fakeRecorder) {
	m := newMonitor(t, func(c *Config) { c.FlightRecorder.Enabled = true })
	r := &fakeRecorder{}
	m.flight.make = func() recorder { return r }
	return m, r
}

func records(t *testing.T, m *Monitor) []FlightRecord {
	t.Helper()
	list, err := m.FlightRecords()
	if err != nil {
		t.Fatal(err)
	}
	return list.FlightRecords
}

func TestFlightRecordOnCritical(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, r := withFakeRecorder(t)
		defer run(t, m)()
		time.Sleep(time.Minute)
		if r.starts.Load() != 0 {
			t.Error("it records before anything has happened")
		}
		for i := range 3 {
			m.health.stall(m.now(), 2*time.Second, false)
			time.Sleep(5 * time.Second)
			if r.starts.Load() != 1 {
				t.Errorf("after stall %d: started %d times", i+1, r.starts.Load())
			}
		}
		list := records(t, m)
		if len(list) != 1 || list[0].Reason != "critical" || list[0].SizeBytes != 5 {
			t.Fatalf("records %+v", list)
		}
		f, err := m.OpenFlightRecord(list[0].Name)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		info, err := f.Stat()
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("mode %v, %v", info.Mode(), err)
		}
		time.Sleep(time.Minute + flightAfter - 10*time.Second)
		if r.stops.Load() != 0 {
			t.Error("it stopped within five minutes of health")
		}
		time.Sleep(20 * time.Second)
		if r.stops.Load() != 1 || m.flight.recording() {
			t.Errorf("it was stopped %d times after five minutes of health", r.stops.Load())
		}
		m.health.slow(m.now(), "parse")
		time.Sleep(2 * time.Second)
		if r.starts.Load() != 2 {
			t.Errorf("it was started %d times, want again at the next warning", r.starts.Load())
		}
	})
}

func TestFlightRecordOfASuddenStall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, _ := withFakeRecorder(t)
		defer run(t, m)()
		time.Sleep(time.Second)
		m.health.stall(m.now(), 20*time.Second, true)
		time.Sleep(5 * time.Second)
		if n := len(records(t, m)); n != 0 {
			t.Errorf("%d records though nothing was recorded yet", n)
		}
		time.Sleep(8 * time.Second)
		if n := len(records(t, m)); n != 1 {
			t.Errorf("%d records once a window was recorded", n)
		}
	})
}

func TestFlightRecordOnRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, r := withFakeRecorder(t)
		if _, err := m.RecordFlight(t.Context()); err == nil {
			t.Error("a record without a running monitor")
		}
		defer run(t, m)()
		synctest.Wait()
		start := time.Now()
		first, err := m.RecordFlight(t.Context())
		if err != nil || first.Reason != "requested" || time.Since(start) != 10*time.Second {
			t.Fatalf("%+v, %v after %v", first, err, time.Since(start))
		}
		if _, err := m.RecordFlight(t.Context()); !errors.Is(err, ErrFlightBusy) {
			t.Errorf("a second one at once: %v", err)
		}
		time.Sleep(time.Minute)
		r.fail = errors.New("disk full")
		if _, err := m.RecordFlight(t.Context()); err == nil || !strings.Contains(err.Error(), "disk full") {
			t.Errorf("on a full disk: %v", err)
		}
		r.fail = nil
		for range 4 {
			time.Sleep(time.Minute)
			if _, err := m.RecordFlight(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		list := records(t, m)
		if len(list) != 3 || list[0].Name <= list[1].Name {
			t.Errorf("%+v, want the three newest", list)
		}
		entries, err := os.ReadDir(m.flight.dir)
		if err != nil || len(entries) != 3 {
			t.Errorf("%v in the folder, %v", entries, err)
		}
		for _, name := range []string{first.Name, "../" + list[0].Name, "/etc/passwd", ""} {
			if _, err := m.OpenFlightRecord(name); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("open %q: %v", name, err)
			}
		}
		time.Sleep(10 * time.Minute) // not recording any more
		gone, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := m.RecordFlight(gone); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a client that went away: %v", err)
		}
	})
}

func TestFlightRecorderOff(t *testing.T) {
	m := newMonitor(t, nil)
	if _, err := m.RecordFlight(t.Context()); !errors.Is(err, ErrFlightOff) {
		t.Errorf("off: %v", err)
	}
	if list := records(t, m); list == nil || len(list) != 0 {
		t.Errorf("records %v", list)
	}
}

func TestHalfWrittenRecordsAreRemoved(t *testing.T) {
	m, _ := withFakeRecorder(t)
	left := filepath.Join(m.flight.dir, "flight-x.trace"+partialSuffix)
	if err := os.MkdirAll(m.flight.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(left, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	run(t, m)()
	if _, err := os.Stat(left); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("it is still there: %v", err)
	}
}

// TestRealFlightRecord makes a record by the runtime's recorder and reads it
// with the tool that is meant for it.
func TestRealFlightRecord(t *testing.T) {
	m := newMonitor(t, func(c *Config) {
		c.FlightRecorder = FlightRecorderConfig{Enabled: true, Window: 50 * time.Millisecond, MaxFiles: 2}
	})
	defer run(t, m)()
	eventually(t, "the monitor runs", func() bool { return m.Status().Running })
	record, err := m.RecordFlight(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "go", "tool", "trace", "-d=parsed", filepath.Join(m.flight.dir, record.Name))
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "StateTransition") {
		t.Errorf("go tool trace: %v\n%.2000s", err, out)
	}
}
