package simllm

import (
	"encoding/json"
	"sync"
	"testing"
)

func TestFaultOverHTTP(t *testing.T) {
	_, ts := start(t, Config{})
	steps := []struct {
		method, path, body string
		status             int
	}{
		{"POST", "/__sim/fault?fail=503&path=/v1/&times=2", "", 200},
		{"POST", "/api/chat", chatBody, 200}, // another path, not counted
		{"POST", "/v1/chat/completions", chatBody, 503},
		{"GET", "/v1/models", "", 503},
		{"POST", "/v1/chat/completions", chatBody, 200},
		{"POST", "/__sim/fault?fail=500", "", 200},
		{"GET", "/", "", 500},
		{"GET", "/__sim/stats", "", 200},
		{"DELETE", "/__sim/fault", "", 200},
		{"GET", "/", "", 200},
		{"POST", "/__sim/fault?fail=nonsense", "", 400},
		{"POST", "/__sim/fault?fail=500&times=0", "", 400},
		{"GET", "/", "", 200},
		{"POST", "/__sim/fault?fail=500", "", 200},
		{"POST", "/__sim/fault", "", 200},
		{"GET", "/", "", 200},
	}
	for i, c := range steps {
		if got := send(t, ts, c.method, c.path, c.body); got.status != c.status {
			t.Fatalf("step %d, %s %s: %d %s, want %d", i, c.method, c.path, got.status, got.body, c.status)
		}
	}
	send(t, ts, "POST", "/__sim/fault?fail=418", "")
	if got := send(t, ts, "GET", "/__sim/fault", ""); got.body != `{"fault":"fail=418"}` {
		t.Errorf("GET shows %s", got.body)
	}
}

func TestStats(t *testing.T) {
	s, ts := start(t, Config{Tokens: 5})
	body := send(t, ts, "POST", "/api/chat", chatBody).body
	send(t, ts, "GET", "/v1/models/demo", "")
	send(t, ts, "GET", "/some/where", "")
	send(t, ts, "GET", "/v1/models", "", "X-Sim-Fail: 500")
	var seen Stats
	if err := json.Unmarshal([]byte(send(t, ts, "GET", "/__sim/stats", "").body), &seen); err != nil || seen.InFlight < 1 || seen.Requests["/api/chat"] != 1 {
		t.Errorf("over HTTP: %+v %v", seen, err)
	}
	ts.Close() // waits for the handlers
	got := s.Stats()
	for path, want := range map[string]int64{"/api/chat": 1, "/v1/models/": 1, "/v1/models": 1, "other": 1} {
		if got.Requests[path] != want {
			t.Errorf("%s: %d requests, want %d", path, got.Requests[path], want)
		}
	}
	if got.Tokens != 5 || got.Faults != 1 || got.Cancelled != 0 || got.InFlight != 0 || got.Bytes < int64(len(body)) {
		t.Errorf("%+v", got)
	}
}

// TestFaultsMayChangeUnderLoad is for the race detector.
func TestFaultsMayChangeUnderLoad(t *testing.T) {
	s, ts := start(t, Config{Tokens: 2})
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for j := range 10 {
				if (i+j)%2 == 0 {
					if err := s.SetFault("fail=500&fail_rate=0.5&times=3"); err != nil {
						t.Error(err)
					}
				}
				if got := send(t, ts, "POST", "/api/chat", chatBody); got.status != 200 && got.status != 500 {
					t.Errorf("%d %v", got.status, got.err)
				}
			}
		})
	}
	wg.Wait()
}
