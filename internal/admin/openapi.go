package admin

import (
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/go-chi/chi/v5"
)

// openapi.json describes every route that there can be.
//
//go:embed openapi.json
var fullDescription []byte

func (s *Server) openAPI(*http.Request) (any, *refusal) {
	text, err := s.surface.Load().description()
	if err != nil {
		return nil, internal(err.Error())
	}
	return json.RawMessage(text), nil
}

// describe cuts the description down to what mux serves, and fails for a route
// that it does not have. HEAD is not listed: it goes with GET.
func describe(mux *chi.Mux, openMetrics bool) ([]byte, error) {
	var doc map[string]any
	if err := json.Unmarshal(fullDescription, &doc); err != nil {
		return nil, fmt.Errorf("admin: openapi.json: %w", err)
	}
	all, ok := doc["paths"].(map[string]any)
	if !ok {
		return nil, errors.New("admin: openapi.json has no paths")
	}
	served := map[string]map[string]any{}
	err := chi.Walk(mux, func(method, path string, _ http.Handler, _ ...func(http.Handler) http.Handler) error {
		if method == http.MethodHead {
			return nil
		}
		operations, _ := all[path].(map[string]any)
		operation, ok := operations[strings.ToLower(method)].(map[string]any)
		if !ok {
			return fmt.Errorf("admin: openapi.json does not describe %s %s", method, path)
		}
		if !openMetrics && isProbe(path) {
			delete(operation, "security") // which says that they are open
		}
		if served[path] == nil {
			served[path] = map[string]any{}
		}
		served[path][strings.ToLower(method)] = operation
		return nil
	})
	if err != nil {
		return nil, err
	}
	doc["paths"] = served
	return json.Marshal(doc)
}

func isProbe(path string) bool { return path == "/livez" || path == "/readyz" || path == "/metrics" }
