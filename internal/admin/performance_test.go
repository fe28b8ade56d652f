package admin

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestBreakers(t *testing.T) {
	f := newFixture(t, allOn(), allParts())
	var all struct {
		Breakers map[string]struct{ Name, State string } `json:"circuit_breakers"`
	}
	read(t, f.ask("GET", "/admin/performance/circuit-breakers/all", "").Body.Bytes(), &all)
	if len(all.Breakers) != 2 || all.Breakers["default"].State != "open" || all.Breakers["a/b %"].Name != "a/b %" {
		t.Errorf("all: %v", all)
	}

	var one struct{ Name, State string }
	read(t, f.ask("GET", "/admin/performance/circuit-breaker/default/status", "").Body.Bytes(), &one)
	if one.Name != "default" || one.State != "open" {
		t.Errorf("status: %v", one)
	}
	read(t, f.ask("GET", "/admin/performance/circuit-breaker/a%2Fb%20%25/status", "").Body.Bytes(), &one)
	if one.Name != "a/b %" {
		t.Errorf("status of an escaped name: %v", one)
	}
	read(t, f.ask("POST", "/admin/performance/circuit-breaker/default/reset", "").Body.Bytes(), &one)
	if one.State != "closed" {
		t.Errorf("reset answers %v, want the new status", one)
	}

	for _, target := range []string{"GET /admin/performance/circuit-breaker/nobody/status", "POST /admin/performance/circuit-breaker/nobody/reset"} {
		method, path, _ := strings.Cut(target, " ")
		message := wantRefusal(t, f.ask(method, path, ""), 404, "unknown_breaker")
		if want := `there is no circuit breaker "nobody"; there are: default, a/b %`; message != want {
			t.Errorf("message %q, want %q", message, want)
		}
	}
}

func TestStreams(t *testing.T) {
	f := newFixture(t, allOn(), allParts())
	var list struct {
		Streams, Recent []struct {
			ID      string
			EndedBy string `json:"ended_by"`
		}
	}
	read(t, f.ask("GET", "/admin/performance/streams", "").Body.Bytes(), &list)
	if len(list.Streams) != 1 || list.Streams[0].ID != "s 1" || len(list.Recent) != 1 || list.Recent[0].EndedBy != "client" {
		t.Errorf("list: %+v", list)
	}
	wantRefusal(t, f.ask("POST", "/admin/performance/streams/other/cancel", ""), 404, "unknown_stream")
	wantBody(t, f.ask("POST", "/admin/performance/streams/s%201/cancel", ""), 200, `{"cancelled":true}`)
	wantRefusal(t, f.ask("POST", "/admin/performance/streams/s%201/cancel", ""), 404, "unknown_stream")
}

func TestHealth(t *testing.T) {
	report := func(name string, status Status, reasons ...string) func() Component {
		return func() Component { return Component{name, status, reasons, "/admin/" + name} }
	}
	tests := []struct {
		name   string
		health []func() Component
		want   string
	}{
		{"nothing reports", nil, `{"status":"healthy","components":[]}`},
		{"all well", []func() Component{report("a", Healthy), report("b", Healthy)},
			`{"status":"healthy","components":[{"name":"a","status":"healthy","reasons":[],"detail":"/admin/a"},{"name":"b","status":"healthy","reasons":[],"detail":"/admin/b"}]}`},
		{"the worst first, else in order", []func() Component{report("a", Healthy), report("b", Warning, "slow"), report("c", Critical, "down", "full"), report("d", Warning, "late")},
			`{"status":"critical","components":[{"name":"c","status":"critical","reasons":["down","full"],"detail":"/admin/c"},{"name":"b","status":"warning","reasons":["slow"],"detail":"/admin/b"},` +
				`{"name":"d","status":"warning","reasons":["late"],"detail":"/admin/d"},{"name":"a","status":"healthy","reasons":[],"detail":"/admin/a"}]}`},
		{"a warning", []func() Component{report("a", Healthy), report("b", Warning, "slow")},
			`{"status":"warning","components":[{"name":"b","status":"warning","reasons":["slow"],"detail":"/admin/b"},{"name":"a","status":"healthy","reasons":[],"detail":"/admin/a"}]}`},
		{"an unknown word is the worst", []func() Component{report("a", Warning, "slow"), report("b", "odd")},
			`{"status":"critical","components":[{"name":"b","status":"odd","reasons":[],"detail":"/admin/b"},{"name":"a","status":"warning","reasons":["slow"],"detail":"/admin/a"}]}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			parts := allParts()
			parts.Health = tt.health
			wantBody(t, newFixture(t, allOn(), parts).ask("GET", "/admin/performance/health/comprehensive", ""), 200, tt.want)
		})
	}
}

func read(t *testing.T, body []byte, into any) {
	t.Helper()
	if err := json.Unmarshal(body, into); err != nil {
		t.Fatalf("%v: %s", err, body)
	}
}
