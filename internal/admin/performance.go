package admin

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// Breakers is the upstreams' circuit breakers by name. A status is a value for
// encoding/json.
type Breakers interface {
	// Names returns all names in the configured order.
	Names() []string
	// Status returns a breaker's status; false if there is none of that name.
	Status(name string) (any, bool)
	// Reset closes a breaker and returns its new status; false likewise.
	Reset(name string) (any, bool)
	// Transitions returns the last changes of state of all of them, the oldest
	// first: a list for encoding/json, which is never null there.
	Transitions() any
}

// Streams is the answers that are streaming now, and those that ended of late.
type Streams interface {
	// List returns two lists for encoding/json, which are never null there.
	List() (live, recent any)
	// Digest is List for who asks often: at most limit of each, those in trouble
	// first among the live ones, and how many are live in all.
	Digest(limit int) (live, recent any, total int)
	// Cancel ends a live stream; false if there is none with that id.
	Cancel(id string) bool
}

// Status is how well a component is.
type Status string

// From best to worst.
const (
	Healthy  Status = "healthy"
	Warning  Status = "warning"
	Critical Status = "critical"
)

// badness orders the statuses; a word that is none of them is as bad as can be,
// so that a mistake is seen.
func (s Status) badness() int {
	switch s {
	case Healthy:
		return 0
	case Warning:
		return 1
	}
	return 2
}

// Component is the health of one part of the proxy.
type Component struct {
	Name    string   `json:"name"`
	Status  Status   `json:"status"`
	Reasons []string `json:"reasons"` // why it is not healthy
	Detail  string   `json:"detail"`  // path of the endpoint that shows more
}

func (s *Server) allBreakers(*http.Request) (any, *refusal) { return s.breakers(), nil }

func (s *Server) breakers() any {
	all := map[string]any{}
	for _, name := range s.parts.Breakers.Names() {
		// A reload may take one away between the two calls.
		if status, ok := s.parts.Breakers.Status(name); ok {
			all[name] = status
		}
	}
	return map[string]any{"circuit_breakers": all}
}

func (s *Server) allTransitions(*http.Request) (any, *refusal) { return s.transitions(), nil }

func (s *Server) transitions() any {
	return map[string]any{"transitions": s.parts.Breakers.Transitions()}
}

func (s *Server) breakerStatus(r *http.Request) (any, *refusal) {
	return s.breaker(r, s.parts.Breakers.Status)
}

func (s *Server) resetBreaker(r *http.Request) (any, *refusal) {
	return s.breaker(r, s.parts.Breakers.Reset)
}

func (s *Server) breaker(r *http.Request, do func(name string) (any, bool)) (any, *refusal) {
	name := pathParam(r, "name")
	status, ok := do(name)
	if !ok {
		return nil, &refusal{status: http.StatusNotFound, code: "unknown_breaker",
			message: fmt.Sprintf("there is no circuit breaker %q; there are: %s", name, strings.Join(s.parts.Breakers.Names(), ", "))}
	}
	return status, nil
}

func (s *Server) listStreams(*http.Request) (any, *refusal) {
	live, recent := s.parts.Streams.List()
	return map[string]any{"streams": live, "recent": recent}, nil
}

func (s *Server) cancelStream(r *http.Request) (any, *refusal) {
	id := pathParam(r, "id")
	if !s.parts.Streams.Cancel(id) {
		return nil, &refusal{status: http.StatusNotFound, code: "unknown_stream",
			message: fmt.Sprintf("there is no live stream %q; it may have ended", id)}
	}
	return map[string]bool{"cancelled": true}, nil
}

func (s *Server) health(*http.Request) (any, *refusal) { return s.report(), nil }

// report asks all parts how they are.
func (s *Server) report() any {
	all := make([]Component, 0, len(s.parts.Health))
	for _, report := range s.parts.Health {
		c := report()
		if c.Reasons == nil {
			c.Reasons = []string{}
		}
		all = append(all, c)
	}
	slices.SortStableFunc(all, func(a, b Component) int { return cmp.Compare(b.Status.badness(), a.Status.badness()) })
	overall := Healthy
	if len(all) > 0 {
		overall = [...]Status{Healthy, Warning, Critical}[all[0].Status.badness()]
	}
	return struct {
		Status     Status      `json:"status"`
		Components []Component `json:"components"`
	}{overall, all}
}
