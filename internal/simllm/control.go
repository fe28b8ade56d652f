package simllm

import "net/http"

// Stats counts what the server has done since it began.
type Stats struct {
	// Requests counts by route, "other" what has none.
	Requests map[string]int64 `json:"requests"`
	// InFlight is the requests being answered now, this one included.
	InFlight int64 `json:"in_flight"`
	// Cancelled counts the answers that the client did not wait for.
	Cancelled int64 `json:"cancelled"`
	// Bytes counts the answers' bodies, as written.
	Bytes int64 `json:"bytes"`
	// Tokens counts words of answers.
	Tokens int64 `json:"tokens"`
	// Faults counts the requests that were to fail.
	Faults int64 `json:"faults"`
	// Uploaded counts the bytes of blobs.
	Uploaded int64 `json:"uploaded"`
}

// Stats is safe for concurrent use. Its counters are read one by one.
func (s *Server) Stats() Stats {
	out := Stats{
		Requests:  map[string]int64{},
		InFlight:  s.inFlight.Load(),
		Cancelled: s.cancelled.Load(),
		Bytes:     s.bytes.Load(),
		Tokens:    s.tokens.Load(),
		Faults:    s.faults.Load(),
		Uploaded:  s.uploaded.Load(),
	}
	for path, t := range s.routes {
		if n := t.requests.Load(); n > 0 {
			out.Requests[path] = n
		}
	}
	if n := s.other.Load(); n > 0 {
		out.Requests["other"] = n
	}
	return out
}

func (x *exchange) stats() error { return x.json(x.s.Stats(), 0) }

// faultControl is SetFault over HTTP: POST sets the query's knobs, DELETE ends
// them, all answer with what is set.
func (x *exchange) faultControl() error {
	switch x.r.Method {
	case http.MethodPost:
		if err := x.s.SetFault(x.r.URL.RawQuery); err != nil {
			return x.fail(http.StatusBadRequest, err.Error())
		}
	case http.MethodDelete:
		x.s.fault.Store(nil)
	}
	given := ""
	if f := x.s.fault.Load(); f != nil {
		given = f.given
	}
	return x.json(struct {
		Fault string `json:"fault"`
	}{given}, 0)
}
