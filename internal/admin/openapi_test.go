package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// description is the part of an OpenAPI document that the tests look at.
type description struct {
	OpenAPI    string
	Paths      map[string]map[string]operation
	Components struct {
		Schemas   map[string]*schema
		Responses map[string]response
	}
}

type operation struct {
	OperationID string
	Summary     string
	Security    []map[string][]string // nil where it is not given
	Parameters  []struct{ Name, In string }
	Responses   map[string]response
}

type response struct {
	Ref     string `json:"$ref"`
	Content map[string]struct{ Schema *schema }
}

type schema struct {
	Ref                  string `json:"$ref"`
	Type                 any
	Enum                 []any
	Const                any
	Required             []string
	Properties           map[string]*schema
	AdditionalProperties *schema
	Items                *schema
}

func describedBy(t *testing.T, f *fixture) description {
	t.Helper()
	w := f.ask("GET", "/admin/openapi.json", "")
	if w.Code != 200 {
		t.Fatalf("got %d %s", w.Code, w.Body)
	}
	var d description
	read(t, w.Body.Bytes(), &d)
	return d
}

func (d description) operations() []string {
	var all []string
	for path, operations := range d.Paths {
		for method := range operations {
			all = append(all, strings.ToUpper(method)+" "+path)
		}
	}
	slices.Sort(all)
	return all
}

// check compares a decoded answer with s: no field too few, none too many.
func (d description) check(s *schema, value any, at string) error {
	if name, found := strings.CutPrefix(s.Ref, "#/components/schemas/"); found {
		s = d.Components.Schemas[name]
		if s == nil {
			return fmt.Errorf("%s: no schema %s", at, name)
		}
	}
	if s.Type == nil { // any value
		return nil
	}
	if types := fmt.Sprint(s.Type); !strings.Contains(types, typeOf(value)) && !(strings.Contains(types, "integer") && isWhole(value)) {
		return fmt.Errorf("%s: %v is no %s", at, value, types)
	}
	if s.Enum != nil && !slices.Contains(s.Enum, value) || s.Const != nil && s.Const != value {
		return fmt.Errorf("%s: %v is none of the values described", at, value)
	}
	var errs []error
	switch value := value.(type) {
	case []any:
		for i, item := range value {
			errs = append(errs, d.check(s.Items, item, fmt.Sprintf("%s[%d]", at, i)))
		}
	case map[string]any:
		for _, name := range s.Required {
			if _, ok := value[name]; !ok {
				errs = append(errs, fmt.Errorf("%s.%s is missing", at, name))
			}
		}
		for name, field := range value {
			switch property := s.Properties[name]; {
			case property != nil:
				errs = append(errs, d.check(property, field, at+"."+name))
			case s.AdditionalProperties != nil:
				errs = append(errs, d.check(s.AdditionalProperties, field, at+"."+name))
			case s.Properties != nil: // else any object
				errs = append(errs, fmt.Errorf("%s.%s is not described", at, name))
			}
		}
	}
	return errors.Join(errs...)
}

func typeOf(value any) string {
	switch value.(type) {
	case nil:
		return "null"
	case bool:
		return "boolean"
	case string:
		return "string"
	case float64:
		return "number"
	case []any:
		return "array"
	}
	return "object"
}

func isWhole(value any) bool {
	n, ok := value.(float64)
	return ok && n == float64(int64(n))
}

func TestDescriptionListsWhatIsServed(t *testing.T) {
	all := allParts()
	for name, f := range map[string]*fixture{
		"every part": newFixture(t, allOn(), all),
		"none":       newFixture(t, Config{}, Parts{Ready: all.Ready, Metrics: all.Metrics}),
	} {
		d := describedBy(t, f)
		if d.OpenAPI != "3.1.0" {
			t.Errorf("openapi %q", d.OpenAPI)
		}
		if got, want := d.operations(), served(t, f.Server); !slices.Equal(got, want) {
			t.Errorf("%s: described\n%s\nserved\n%s", name, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
}

// The file has nothing that no configuration serves.
func TestDescriptionHasNothingElse(t *testing.T) {
	var file description
	read(t, fullDescription, &file)
	if got, want := file.operations(), served(t, newFixture(t, allOn(), allParts()).Server); !slices.Equal(got, want) {
		t.Errorf("described\n%s\nserved\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	ids := map[string]bool{}
	for path, operations := range file.Paths {
		for method, op := range operations {
			if op.OperationID == "" || ids[op.OperationID] || op.Summary == "" {
				t.Errorf("%s %s: operation id %q is missing or taken, or there is no summary", method, path, op.OperationID)
			}
			ids[op.OperationID] = true
			for _, p := range op.Parameters {
				if p.In == "path" && !strings.Contains(path, "{"+p.Name+"}") {
					t.Errorf("%s has no %s", path, p.Name)
				}
			}
			if named := strings.Count(path, "{"); named > 0 && len(op.Parameters) != named {
				t.Errorf("%s: %d parameters, want %d", path, len(op.Parameters), named)
			}
		}
	}
}

func TestDescriptionSaysWhatIsOpen(t *testing.T) {
	for _, openMetrics := range []bool{true, false} {
		cfg := allOn()
		cfg.OpenMetrics = openMetrics
		f := newFixture(t, cfg, allParts())
		for path, operations := range describedBy(t, f).Paths {
			for method, op := range operations {
				described := op.Security != nil && len(op.Security) == 0
				f.failures = failures{}
				w := f.ask(strings.ToUpper(method), strings.NewReplacer("{", "", "}", "").Replace(path), "", noKey)
				if open := w.Code != 401; described != open {
					t.Errorf("open_metrics %v: %s %s: described as open: %v, is open: %v", openMetrics, method, path, described, open)
				}
			}
		}
	}
}

// Every operation is asked, and what it answers has the described fields.
func TestAnswersAreAsDescribed(t *testing.T) {
	// Where a path has a part to fill in, or a body is needed.
	targets := map[string]struct{ path, body string }{
		"GET /admin/performance/circuit-breaker/{name}/status": {"/admin/performance/circuit-breaker/default/status", ""},
		"POST /admin/performance/circuit-breaker/{name}/reset": {"/admin/performance/circuit-breaker/default/reset", ""},
		"POST /admin/performance/streams/{id}/cancel":          {"/admin/performance/streams/s%201/cancel", ""},
		"PUT /admin/log-level":                                 {"/admin/log-level", `{"level":"warn"}`},
		"GET /assets/{name}":                                   {"/assets/app.js", ""},
		"GET /admin/debug/pprof/{profile}":                     {"/admin/debug/pprof/heap", ""},
		"GET /admin/performance/memory/leaks/{object_type}":    {"/admin/performance/memory/leaks/stream", ""},
		"GET /admin/debug/flight-records/{name}":               {"/admin/debug/flight-records/" + flightName, ""},
	}
	gone, leave := context.WithCancel(t.Context())
	leave()
	f := newFixture(t, allOn(), allParts())
	d := describedBy(t, f)
	for _, name := range d.operations() {
		method, path, _ := strings.Cut(name, " ")
		target, ok := targets[name]
		if !ok {
			target.path = path
		}
		d.checkAnswer(t, f, method, path, target.path, target.body, http.StatusOK, func(r *http.Request) {
			if strings.HasPrefix(path, "/admin/debug/") || path == "/admin/live" { // which end when their client leaves
				*r = *r.WithContext(gone)
			}
		})
	}
}

func TestErrorsAreAsDescribed(t *testing.T) {
	parts := allParts()
	parts.Ready = func() error { return errors.New("draining") }
	log := &fakeLog{err: errors.New("down"), flush: func(context.Context) (int, int, error) { return 0, 1, errors.New("down") }}
	watch := &fakeMonitor{}
	parts.Log, parts.Monitor = log, watch
	f := newFixture(t, allOn(), parts)
	d := describedBy(t, f)
	const breaker, stream = "/admin/performance/circuit-breaker/{name}", "/admin/performance/streams/{id}/cancel"
	d.checkAnswer(t, f, "GET", "/readyz", "/readyz", "", 503)
	d.checkAnswer(t, f, "GET", breaker+"/status", "/admin/performance/circuit-breaker/x/status", "", 404)
	d.checkAnswer(t, f, "POST", breaker+"/reset", "/admin/performance/circuit-breaker/x/reset", "", 404)
	d.checkAnswer(t, f, "POST", stream, "/admin/performance/streams/x/cancel", "", 404)
	const clearing, flush = "/admin/performance/cache/clear", "/admin/performance/batch/conversation-logger/flush"
	d.checkAnswer(t, f, "POST", clearing, clearing+"?modle=m", "", 400)
	d.checkAnswer(t, f, "POST", flush, flush, "", 503)
	d.checkAnswer(t, f, "GET", "/admin/conversations", "/admin/conversations", "", 503)
	log.err = &BadQuery{"limit is no number"}
	d.checkAnswer(t, f, "GET", "/admin/conversations", "/admin/conversations?limit=x", "", 400)
	d.checkAnswer(t, f, "GET", "/admin/debug/pprof/{profile}", "/admin/debug/pprof/x", "", 404)
	const leaks, records = "/admin/performance/memory/leaks/{object_type}", "/admin/debug/flight-records"
	d.checkAnswer(t, f, "GET", leaks, "/admin/performance/memory/leaks/x", "", 404)
	d.checkAnswer(t, f, "GET", records+"/{name}", records+"/x", "", 404)
	watch.err = errors.New("full")
	d.checkAnswer(t, f, "GET", records, records, "", 503)
	d.checkAnswer(t, f, "POST", records, records, "", 503)
	d.checkAnswer(t, f, "GET", records+"/{name}", records+"/x", "", 503)
	d.checkAnswer(t, f, "GET", "/assets/{name}", "/assets/x", "", 404)
	for range maxViewers {
		_, leave, _ := f.feed.join()
		defer leave()
	}
	d.checkAnswer(t, f, "GET", "/admin/live", "/admin/live", "", 503)
	d.checkAnswer(t, f, "PUT", "/admin/log-level", "/admin/log-level", "{", 400)
	d.checkAnswer(t, f, "PUT", "/admin/log-level", "/admin/log-level", "{}", 422)
	d.checkAnswer(t, f, "PUT", "/admin/log-level", "/admin/log-level", strings.Repeat(" ", 2*maxBodyBytes), 413)
	d.checkAnswer(t, f, "GET", "/admin/config", "/admin/config", "", 403, header("Origin", "http://evil.example"))
	d.checkAnswer(t, f, "GET", "/admin/config", "/admin/config", "", 401, noKey)
	for range maxFailures {
		f.ask("GET", "/admin/config", "", noKey)
	}
	d.checkAnswer(t, f, "GET", "/admin/config", "/admin/config", "", 429, noKey)
}

// checkAnswer asks target and holds the answer against what path describes.
func (d description) checkAnswer(t *testing.T, f *fixture, method, path, target, body string, status int, edit ...func(*http.Request)) {
	t.Helper()
	w := f.ask(method, target, body, edit...)
	if w.Code != status {
		t.Errorf("%s %s: got %d %s, want %d", method, target, w.Code, w.Body, status)
		return
	}
	described, ok := d.Paths[path][strings.ToLower(method)].Responses[fmt.Sprint(status)]
	if name, found := strings.CutPrefix(described.Ref, "#/components/responses/"); found {
		described, ok = d.Components.Responses[name]
	}
	if !ok {
		t.Errorf("%s %s: status %d is not described", method, path, status)
		return
	}
	mediaType, _, _ := strings.Cut(w.Header().Get("Content-Type"), ";")
	content, ok := described.Content[mediaType]
	if !ok {
		t.Errorf("%s %s: %s is not described, only %v", method, path, mediaType, slices.Collect(maps.Keys(described.Content)))
		return
	}
	if mediaType != "application/json" {
		return
	}
	var answer any
	if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil {
		t.Fatal(err)
	}
	if err := d.check(content.Schema, answer, method+" "+path); err != nil {
		t.Error(err)
	}
}
