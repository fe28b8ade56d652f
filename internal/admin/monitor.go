package admin

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"mime"
	"net/http"
	"os"
	"time"
)

// flightTimeout is how long a request waits for a flight record to be made.
const flightTimeout = 30 * time.Second

// Monitor is what watches the process itself. All its answers are values for
// encoding/json.
type Monitor interface {
	// Status returns the figures of the scheduler and of slow steps, Diagnose
	// says what they mean.
	Status() any
	Diagnose() any
	Sessions() any
	// Leaks returns the figures of the memory, DiagnoseMemory says what they mean.
	Leaks() any
	DiagnoseMemory() any
	// LeaksOf lists the leaked objects of a type; false if there is no such type.
	LeaksOf(objectType string) (any, bool)
	// GC collects garbage and returns what that freed.
	GC() any
	// FlightRecords lists the records on disk.
	FlightRecords() (any, error)
	// RecordFlight makes one now. The error's text says to a person why there is
	// none.
	RecordFlight(context.Context) (any, error)
	// OpenFlightRecord opens a record by its name; the error for any other name is
	// fs.ErrNotExist.
	OpenFlightRecord(name string) (*os.File, error)
}

func (s *Server) monitorRoutes() []route {
	m := s.parts.Monitor
	show := func(f func() any) http.Handler {
		return s.read(func(*http.Request) (any, *refusal) { return f(), nil })
	}
	return []route{
		{http.MethodGet, "/performance/event-loop/status", show(m.Status)},
		{http.MethodGet, "/performance/event-loop/diagnostics", show(m.Diagnose)},
		{http.MethodGet, "/performance/sessions", show(m.Sessions)},
		{http.MethodGet, "/performance/memory/leaks", show(m.Leaks)},
		{http.MethodGet, "/performance/memory/leaks/{object_type}", s.read(s.leaksOf)},
		{http.MethodPost, "/performance/memory/gc", s.change(func(*http.Request) (any, *refusal) { return m.GC(), nil })},
		{http.MethodGet, "/performance/memory/diagnostics", show(m.DiagnoseMemory)},
		{http.MethodGet, "/debug/flight-records", s.read(s.flightRecords)},
		{http.MethodPost, "/debug/flight-records", s.change(s.recordFlight)},
		{http.MethodGet, "/debug/flight-records/{name}", http.HandlerFunc(s.flightRecord)},
	}
}

func (s *Server) leaksOf(r *http.Request) (any, *refusal) {
	objectType := pathParam(r, "object_type")
	leaks, ok := s.parts.Monitor.LeaksOf(objectType)
	if !ok {
		return nil, &refusal{status: http.StatusNotFound, code: "unknown_object_type",
			message: fmt.Sprintf("there is no object type %q; by_type in GET /admin/performance/memory/leaks has all", objectType)}
	}
	return leaks, nil
}

func (s *Server) flightRecords(*http.Request) (any, *refusal) {
	records, err := s.parts.Monitor.FlightRecords()
	if err != nil {
		return nil, flightFailed(err)
	}
	return records, nil
}

func (s *Server) recordFlight(r *http.Request) (any, *refusal) {
	ctx, cancel := context.WithTimeout(r.Context(), flightTimeout)
	defer cancel()
	record, err := s.parts.Monitor.RecordFlight(ctx)
	switch {
	case err == nil:
		return record, nil
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		err = fmt.Errorf("recording takes longer than %v; ask again, it goes on", flightTimeout)
	}
	return nil, flightFailed(err)
}

// flightRecord hands a record out as it is.
func (s *Server) flightRecord(w http.ResponseWriter, r *http.Request) {
	name := pathParam(r, "name")
	file, err := s.parts.Monitor.OpenFlightRecord(name)
	if errors.Is(err, fs.ErrNotExist) {
		refuse(w, &refusal{status: http.StatusNotFound, code: "unknown_flight_record",
			message: fmt.Sprintf("there is no flight record %q; GET /admin/debug/flight-records lists them", name)})
		return
	}
	if err != nil {
		refuse(w, flightFailed(err))
		return
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		refuse(w, flightFailed(err))
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Content-Disposition", mime.FormatMediaType("attachment", map[string]string{"filename": name}))
	http.ServeContent(w, r, "", info.ModTime(), file)
}

func flightFailed(err error) *refusal {
	return &refusal{status: http.StatusServiceUnavailable, code: "flight_record_failed", message: err.Error()}
}
