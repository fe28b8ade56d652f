package monitor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"runtime/trace"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	// flightBytes is what the runtime may hold of the trace in memory; a hint.
	flightBytes = 8 << 20
	// flightAfter is how long recording goes on once all is well.
	flightAfter = 5 * time.Minute
	// flightInterval is how often a record may be written.
	flightInterval = time.Minute

	flightSuffix  = ".trace"
	partialSuffix = ".partial"
)

// Why there is no flight record.
var (
	ErrFlightOff = errors.New("the flight recorder is off: set monitor.flight_recorder.enabled")
	// ErrFlightBusy is for another record within a minute of the last, or while
	// one is being made.
	ErrFlightBusy = errors.New("a flight record was written within the last minute or is being written; there is one a minute at most")
)

// FlightRecord is a file with the last seconds of execution trace before
// something happened, for `go tool trace`.
type FlightRecord struct {
	Name      string    `json:"name"`
	SizeBytes int64     `json:"size_bytes"`
	CreatedAt time.Time `json:"created_at"`
	Reason    string    `json:"reason"` // critical or requested
}

// recorder is trace.FlightRecorder, of which a process has one.
type recorder interface {
	Start() error
	Stop()
	WriteTo(io.Writer) (int64, error)
}

// flight owns the recorder and the folder of records.
type flight struct {
	cfg  FlightRecorderConfig
	dir  string
	log  *slog.Logger
	make func() recorder

	mu      sync.Mutex
	armed   bool     // between open and stop
	on      recorder // nil while only armed
	started time.Time
	well    time.Duration // since when health is good, while recording

	dumping sync.Mutex
	wrote   time.Time // guarded by dumping
}

func newFlight(cfg FlightRecorderConfig, dir string, log *slog.Logger) *flight {
	return &flight{cfg: cfg, dir: dir, log: log, make: func() recorder {
		return trace.NewFlightRecorder(trace.FlightRecorderConfig{MinAge: cfg.Window, MaxBytes: flightBytes})
	}}
}

// open makes the folder, and takes away what a crash left half written.
func (f *flight) open() error {
	if !f.cfg.Enabled {
		return nil
	}
	if err := os.MkdirAll(f.dir, 0o700); err != nil {
		return fmt.Errorf("folder of the flight records: %w", err)
	}
	stale, err := filepath.Glob(filepath.Join(f.dir, "*"+partialSuffix))
	if err != nil {
		return fmt.Errorf("look for half-written flight records: %w", err)
	}
	for _, name := range stale {
		if err := os.Remove(name); err != nil {
			f.log.Warn("remove a half-written flight record", "error", err)
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.armed = true
	return nil
}

// follow starts recording with the first warning and stops it after five
// minutes of health. It tells whether a record is due, since it became critical.
func (f *flight) follow(now time.Duration, status Health, changed bool) (due bool) {
	if !f.cfg.Enabled {
		return false
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if status != Healthy {
		f.well = 0
		if err := f.startLocked(); err != nil {
			if changed {
				f.log.Warn("the flight recorder does not start", "error", err)
			}
			return false
		}
		return changed && status == Critical
	}
	switch {
	case f.on == nil:
	case f.well == 0:
		f.well = now
	case now-f.well >= flightAfter:
		f.stopLocked()
	}
	return false
}

// startLocked records from now on. The caller holds mu.
func (f *flight) startLocked() error {
	switch {
	case !f.armed:
		return errors.New("the monitor is not running")
	case f.on != nil:
		return nil
	}
	r := f.make()
	if err := r.Start(); err != nil {
		return err
	}
	f.on, f.started, f.well = r, time.Now(), 0
	return nil
}

func (f *flight) stopLocked() {
	if f.on != nil {
		f.on.Stop()
		f.on = nil
	}
}

func (f *flight) stop() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.armed = false
	f.stopLocked()
}

func (f *flight) recording() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.on != nil
}

// dump writes a record. If there was no recording yet, it records for a window
// first, or until ctx ends.
func (f *flight) dump(ctx context.Context, reason string) (*FlightRecord, error) {
	if !f.cfg.Enabled {
		return nil, ErrFlightOff
	}
	if !f.dumping.TryLock() {
		return nil, ErrFlightBusy
	}
	defer f.dumping.Unlock()
	if !f.wrote.IsZero() && time.Since(f.wrote) < flightInterval {
		return nil, ErrFlightBusy
	}
	f.mu.Lock()
	err := f.startLocked()
	f.well = 0
	ready := f.started.Add(f.cfg.Window)
	f.mu.Unlock()
	if err != nil {
		return nil, fmt.Errorf("start the flight recorder: %w", err)
	}
	select {
	case <-time.After(time.Until(ready)):
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	return f.write(reason)
}

// write moves the trace into a file that appears when it is whole.
func (f *flight) write(reason string) (_ *FlightRecord, err error) {
	now := time.Now()
	name := "flight-" + now.UTC().Format("20060102T150405.000Z") + "-" + reason + flightSuffix
	root, err := os.OpenRoot(f.dir)
	if err != nil {
		return nil, fmt.Errorf("folder of the flight records: %w", err)
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	file, err := root.OpenFile(name+partialSuffix, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, fmt.Errorf("write a flight record: %w", err)
	}
	f.wrote = now // a full disk is not tried again and again
	size, err := f.writeTo(file)
	if err = errors.Join(err, file.Close()); err == nil {
		err = root.Rename(name+partialSuffix, name)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("write a flight record: %w", err), root.Remove(name+partialSuffix))
	}
	f.prune(root)
	return &FlightRecord{Name: name, SizeBytes: size, CreatedAt: now, Reason: reason}, nil
}

func (f *flight) writeTo(w io.Writer) (int64, error) {
	f.mu.Lock()
	on := f.on
	f.mu.Unlock()
	if on == nil {
		return 0, errors.New("recording has been stopped")
	}
	return on.WriteTo(w)
}

// prune deletes the oldest records beyond max_files.
func (f *flight) prune(root *os.Root) {
	records, err := f.list()
	if err != nil {
		f.log.Warn("list the flight records", "error", err)
		return
	}
	for _, r := range records[min(f.cfg.MaxFiles, len(records)):] {
		if err := root.Remove(r.Name); err != nil {
			f.log.Warn("delete an old flight record", "error", err)
		}
	}
}

// list returns the records, the newest first.
func (f *flight) list() ([]FlightRecord, error) {
	entries, err := os.ReadDir(f.dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("list the flight records: %w", err)
	}
	records := []FlightRecord{}
	for _, e := range entries {
		stem, ok := strings.CutSuffix(e.Name(), flightSuffix)
		if !ok || !e.Type().IsRegular() {
			continue
		}
		info, err := e.Info()
		if err != nil {
			continue // deleted meanwhile
		}
		_, reason, _ := cutLast(stem, "-")
		records = append(records, FlightRecord{Name: e.Name(), SizeBytes: info.Size(), CreatedAt: info.ModTime(), Reason: reason})
	}
	slices.SortFunc(records, func(a, b FlightRecord) int { return cmp.Compare(b.Name, a.Name) })
	return records, nil
}

// FlightRecordList is the records on disk, for encoding/json.
type FlightRecordList struct {
	FlightRecords []FlightRecord `json:"flight_records"` // the newest first, never null
}

// FlightRecords lists the records.
func (m *Monitor) FlightRecords() (FlightRecordList, error) {
	records, err := m.flight.list()
	return FlightRecordList{records}, err
}

// RecordFlight writes a record of the last seconds, and if nothing was recorded
// yet of the next ones: then it takes as long as the window, unless ctx ends. It
// fails with ErrFlightOff or ErrFlightBusy, or with what the disk says.
func (m *Monitor) RecordFlight(ctx context.Context) (*FlightRecord, error) {
	return m.flight.dump(ctx, "requested")
}

// OpenFlightRecord opens a record for reading, by its name in the list. For any
// other name the error is fs.ErrNotExist.
func (m *Monitor) OpenFlightRecord(name string) (*os.File, error) {
	records, err := m.flight.list()
	if err != nil {
		return nil, err
	}
	if !slices.ContainsFunc(records, func(r FlightRecord) bool { return r.Name == name }) {
		return nil, fmt.Errorf("flight record %q: %w", name, fs.ErrNotExist)
	}
	return os.Open(filepath.Join(m.flight.dir, name))
}
