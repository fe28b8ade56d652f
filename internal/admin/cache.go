package admin

import (
	"fmt"
	"net/http"
)

// Cache is the response cache.
type Cache interface {
	// Stats returns the counts as a value for encoding/json.
	Stats() any
	// Clear removes a model's entries, or all of them if model is empty, and
	// returns how many there were.
	Clear(model string) (cleared int)
}

func (s *Server) cacheStats(*http.Request) (any, *refusal) {
	return s.parts.Cache.Stats(), nil
}

// clearCache refuses what it does not know: a misspelt ?model= would clear the
// entries of all models.
func (s *Server) clearCache(r *http.Request) (any, *refusal) {
	q, ref := query(r)
	if ref != nil {
		return nil, ref
	}
	for name, values := range q {
		if name != "model" || len(values) > 1 {
			return nil, badQuery(fmt.Sprintf("%q is not possible here; give one ?model=NAME, or nothing to clear the entries of all models", name))
		}
	}
	cleared := s.parts.Cache.Clear(q.Get("model"))
	return struct {
		Cleared int `json:"cleared"`
		Stats   any `json:"stats"`
	}{cleared, s.parts.Cache.Stats()}, nil
}
