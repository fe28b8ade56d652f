package admin

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/vega-proxy/vega-proxy/internal/monitor"
)

const flightName = "flight-20251102T100000.000Z-critical.trace"

// fakeMonitor answers with the real values, so that the description is held
// against them. It has one flight record, which holds its own name.
type fakeMonitor struct {
	err    error // of all that has to do with the disk
	record func(context.Context) error
}

var (
	fakeLoop = monitor.Status{Running: true, RecentSlowCallbacks: []monitor.SlowCallback{
		{Name: "account", DurationMS: 120, RequestID: "r", Stack: []string{"main.main main.go:1"}},
	}}
	fakeLeak   = monitor.LeakedObject{ID: 1, AgeSeconds: 400, SizeBytes: 10, CreatedAtPlace: "main.main main.go:1", RequestID: "r"}
	fakeMemory = monitor.Leaks{
		PotentialLeaks: 1,
		ByType:         map[string]monitor.TypeSize{"stream": {Count: 1, Leaks: 1}},
		GoroutineLeaks: monitor.GoroutineLeaks{Places: []monitor.GoroutineLeak{{Count: 1, Stack: []string{"main.main"}}}},
		FileDescriptors: monitor.Descriptors{ByKind: map[string]int{"socket": 3}, Suspects: []monitor.DescriptorLeak{
			{What: "socket", Count: 3},
		}},
	}
	fakeRecord = monitor.FlightRecord{Name: flightName, SizeBytes: int64(len(flightName)), CreatedAt: time.Unix(0, 0).UTC(), Reason: "critical"}
)

func (*fakeMonitor) Status() any { return fakeLoop }

func (*fakeMonitor) Diagnose() any {
	return monitor.Diagnostics{HealthStatus: monitor.Warning, Reasons: []string{"slow"}, Metrics: fakeLoop,
		Tasks: monitor.Tasks{Total: 3, ByName: map[string]int{"proxy": 3}}}
}

func (*fakeMonitor) Sessions() any {
	return monitor.SessionList{Sessions: []monitor.Session{{ID: "s", Exchanges: 2, Bytes: 30, Tokens: 4}}}
}

func (*fakeMonitor) Leaks() any { return fakeMemory }

func (*fakeMonitor) LeaksOf(objectType string) (any, bool) {
	return monitor.LeakList{ObjectType: objectType, Objects: []monitor.LeakedObject{fakeLeak}}, objectType == "stream"
}

func (*fakeMonitor) GC() any {
	return monitor.Collection{FreedObjects: 5, FreedMB: 1.5, DurationMS: 2}
}

func (*fakeMonitor) DiagnoseMemory() any {
	return monitor.MemoryDiagnostics{Metrics: fakeMemory, LeaksByType: map[string][]monitor.LeakedObject{"stream": {fakeLeak}},
		Recommendations: []string{"look at the streams"}}
}

func (m *fakeMonitor) FlightRecords() (any, error) {
	return monitor.FlightRecordList{FlightRecords: []monitor.FlightRecord{fakeRecord}}, m.err
}

func (m *fakeMonitor) RecordFlight(ctx context.Context) (any, error) {
	if m.record != nil {
		return nil, m.record(ctx)
	}
	return &fakeRecord, m.err
}

func (m *fakeMonitor) OpenFlightRecord(name string) (*os.File, error) {
	if m.err != nil {
		return nil, m.err
	}
	if name != flightName {
		return nil, fmt.Errorf("flight record %q: %w", name, fs.ErrNotExist)
	}
	dir, err := os.MkdirTemp("", "flight-records")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir) // the open file stays
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(name), 0o600); err != nil {
		return nil, err
	}
	return os.Open(path)
}

func TestMonitorAnswers(t *testing.T) {
	f := newFixture(t, allOn(), allParts())
	wantBody(t, f.ask("POST", "/admin/performance/memory/gc", ""), 200, `{"freed_objects":5,"freed_mb":1.5,"duration_ms":2}`)
	if got := len(f.logged.with(t, "admin change")); got != 1 {
		t.Errorf("%d audit lines, want 1", got)
	}
	wantBody(t, f.ask("GET", "/admin/performance/sessions", ""), 200,
		`{"sessions":[{"id":"s","first_seen":"0001-01-01T00:00:00Z","last_seen":"0001-01-01T00:00:00Z","exchanges":2,"bytes":30,"tokens":4}]}`)
	wantBody(t, f.ask("GET", "/admin/performance/memory/leaks/stream", ""), 200,
		`{"object_type":"stream","objects":[{"id":1,"age_seconds":400,"size_bytes":10,"created_at_place":"main.main main.go:1","request_id":"r","let_go_seconds":0}]}`)
	wantRefusal(t, f.ask("GET", "/admin/performance/memory/leaks/streams", ""), 404, "unknown_object_type")
	const record = `{"name":"` + flightName + `","size_bytes":42,"created_at":"1970-01-01T00:00:00Z","reason":"critical"}`
	wantBody(t, f.ask("GET", "/admin/debug/flight-records", ""), 200, `{"flight_records":[`+record+`]}`)
	wantBody(t, f.ask("POST", "/admin/debug/flight-records", ""), 200, record)
	if got := len(f.logged.with(t, "admin change")); got != 2 {
		t.Errorf("%d audit lines, want 2", got)
	}
}

func TestFlightRecordIsHandedOut(t *testing.T) {
	f := newFixture(t, allOn(), allParts())
	w := f.ask("GET", "/admin/debug/flight-records/"+flightName, "")
	wantBody(t, w, 200, flightName)
	for name, want := range map[string]string{
		"Content-Type":        "application/octet-stream",
		"Content-Length":      "42",
		"Content-Disposition": "attachment; filename=" + flightName,
	} {
		if got := w.Header().Get(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	for _, name := range []string{"x", "..%2Fadmin-key", "%2e%2e%2fadmin-key"} {
		wantRefusal(t, f.ask("GET", "/admin/debug/flight-records/"+name, ""), 404, "unknown_flight_record")
	}
}

func TestFlightRecordFails(t *testing.T) {
	parts := allParts()
	parts.Monitor = &fakeMonitor{err: errors.New("the disk is away")}
	f := newFixture(t, allOn(), parts)
	for _, target := range []string{"GET /admin/debug/flight-records", "POST /admin/debug/flight-records", "GET /admin/debug/flight-records/" + flightName} {
		method, path, _ := strings.Cut(target, " ")
		if got := wantRefusal(t, f.ask(method, path, ""), 503, "flight_record_failed"); got != "the disk is away" {
			t.Errorf("%s: the message is %q", target, got)
		}
	}
}

// A window longer than a request may take ends with a sentence, not with a cut.
func TestFlightRecordTakesTooLong(t *testing.T) {
	parts := allParts()
	parts.Monitor = &fakeMonitor{record: func(ctx context.Context) error {
		<-ctx.Done()
		return context.Cause(ctx)
	}}
	f := newFixture(t, allOn(), parts)
	ctx, cancel := context.WithDeadline(t.Context(), time.Now().Add(-time.Second))
	defer cancel()
	w := f.ask("POST", "/admin/debug/flight-records", "", func(r *http.Request) { *r = *r.WithContext(ctx) })
	if got := wantRefusal(t, w, 503, "flight_record_failed"); !strings.Contains(got, "longer than 30s") {
		t.Errorf("the message is %q", got)
	}
}
