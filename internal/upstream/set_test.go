package upstream

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/vega-proxy/vega-proxy/internal/resilience"
)

var breaker = resilience.BreakerConfig{
	Enabled: true, FailThreshold: 2, BaseTimeout: time.Hour, MaxTimeout: time.Hour, HalfOpenTestCount: 1, ProbeTimeout: time.Hour,
	FailureStatuses: []int{500, 502, 503, 504},
}

// newSet builds a set over URLs, called 0, 1 and so on.
func newSet(t *testing.T, balance string, change func(i int, c *Config), urls ...string) *Set {
	t.Helper()
	var cfgs []Config
	for i, u := range urls {
		c := Config{Name: strconv.Itoa(i), URL: u, ConnectTimeout: time.Minute, Queue: 1, QueueTimeout: time.Minute, Breaker: breaker}
		if change != nil {
			change(i, &c)
		}
		cfgs = append(cfgs, c)
	}
	s, err := NewSet(cfgs, resilience.RetryConfig{MaxAttempts: 2, BudgetPercent: 20}, balance, NewMetrics(prometheus.NewRegistry()), func(resilience.Transition) {}, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// server answers every request with its status and its own header.
func server(t *testing.T, status int) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(status)
		io.WriteString(w, "the answer")
	}))
	t.Cleanup(s.Close)
	return s.URL
}

func judge(_ *Upstream, status int, _ []byte) resilience.Outcome {
	if status >= 500 {
		return resilience.Failure
	}
	return resilience.Success
}

func ask(model string, retry Retry) *Call {
	return &Call{Method: http.MethodGet, Target: "/", Header: http.Header{}, Model: model, Retry: retry, Judge: judge}
}

func TestModels(t *testing.T) {
	for _, tt := range []struct {
		glob, model string
		want        bool
	}{
		{"llama3", "llama3", true}, {"llama3", "llama3:8b", false}, {"llama*", "llama3:8b", true}, {"*", "org/name:tag", true},
		{"org/*", "org/a/b", true}, {"org/*", "other/a", false}, {"*-mini", "gpt-4o-mini", true}, {"gpt-?", "gpt-4", true}, {"gpt-?", "gpt-/", true},
		{"[ab]*", "beta", true}, {"[ab]*", "c", false}, {"a", "A", false}, {`\*`, "*", true}, {`\*`, "x", false},
	} {
		if got := MatchModel(tt.glob, tt.model); got != tt.want {
			t.Errorf("%q matches %q: %v, want %v", tt.glob, tt.model, got, tt.want)
		}
	}
}

func TestFirstThatServesTheModel(t *testing.T) {
	models := [][]string{{"a", "b*"}, {"b2", "c"}, nil}
	url := server(t, 200)
	s := newSet(t, "first", func(i int, c *Config) { c.Models = models[i] }, url, url, url)
	for model, want := range map[string]string{"a": "0", "b2": "0", "c": "1", "d": "2", "": "0"} {
		a, err := s.Do(t.Context(), ask(model, RetryNever))
		if err != nil {
			t.Fatal(err)
		}
		if got := a.Upstream.Name(); got != want {
			t.Errorf("%q goes to %s, want %s", model, got, want)
		}
		a.End(resilience.Success, "")
	}
	s = newSet(t, "first", func(i int, c *Config) { c.Models = models[i] }, url, url)
	_, err := s.Do(t.Context(), ask("d", RetryNever))
	if e, ok := errors.AsType[*Error](err); !ok || e.Code != NoUpstream {
		t.Errorf("an unknown model: %v", err)
	}
}

func TestLeastBusy(t *testing.T) {
	url := server(t, 200)
	s := newSet(t, "least_busy", nil, url, url, url)
	var answers []*Answer
	for _, want := range []string{"0", "1", "2", "0"} {
		a, err := s.Do(t.Context(), ask("", RetryNever))
		if err != nil {
			t.Fatal(err)
		}
		if got := a.Upstream.Name(); got != want {
			t.Errorf("request %d goes to %s, want %s", len(answers), got, want)
		}
		answers = append(answers, a)
	}
	answers[1].End(resilience.Success, "")
	if a, err := s.Do(t.Context(), ask("", RetryNever)); err != nil || a.Upstream.Name() != "1" {
		t.Errorf("after one ended: %v, %v", a.Upstream.Name(), err)
	} else {
		a.End(resilience.Success, "")
	}
	for _, a := range answers {
		a.End(resilience.Success, "") // the second time does not count
	}
	for _, u := range s.All() {
		if n := u.limiter.InFlight(); n != 0 {
			t.Errorf("%s has %d in flight in the end", u.Name(), n)
		}
	}
}

// Every way out gives back the place and the breaker's permit.
func TestPlacesAreGivenBack(t *testing.T) {
	bad, good := server(t, 502), server(t, 200)
	s := newSet(t, "first", func(_ int, c *Config) { c.MaxInFlight = 1; c.Breaker.FailThreshold = 100 }, bad, good)
	for range 5 {
		a, err := s.Do(t.Context(), ask("", RetryElsewhere))
		if err != nil || a.Attempts != 2 || a.Upstream.Name() != "1" {
			t.Fatalf("%+v, %v", a, err)
		}
		a.End(resilience.Success, "")
		a, err = s.Do(t.Context(), ask("", RetryNever))
		if err != nil || a.Attempts != 1 || a.Status != 502 {
			t.Fatalf("%+v, %v", a, err)
		}
		if body, err := io.ReadAll(a.Body); string(body) != "the answer" || err != nil {
			t.Errorf("body %q, %v", body, err)
		}
		a.End(resilience.Neutral, "")
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	gone := errors.New("gone")
	cancel(gone)
	if _, err := s.Do(ctx, ask("", RetryElsewhere)); !errors.Is(err, gone) {
		t.Errorf("a request that was given up: %v", err)
	}
	for _, u := range s.All() {
		if n := u.limiter.InFlight(); n != 0 {
			t.Errorf("%s has %d in flight in the end", u.Name(), n)
		}
	}
	if m := s.All()[0].Breaker().Status().Metrics; m.FailedRequests != 5 {
		t.Errorf("the first one's breaker counted %d failures, want the five that led elsewhere", m.FailedRequests)
	}
}

// An answer whose beginning was read to judge it reaches its reader whole.
func TestPeekedAnswerIsWhole(t *testing.T) {
	busy := server(t, 503)
	s := newSet(t, "first", func(_ int, c *Config) { c.Breaker.FailThreshold = 100 }, busy, busy)
	read := ""
	c := ask("", RetryElsewhere)
	c.Judge = func(_ *Upstream, _ int, body []byte) resilience.Outcome {
		read = string(body)
		return resilience.Neutral
	}
	a, err := s.Do(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	defer a.End(resilience.Neutral, "")
	if err := a.Body.Wait(); err != nil {
		t.Error(err)
	}
	if body, err := io.ReadAll(a.Body); string(body) != "the answer" || err != nil || read != "the answer" || a.Attempts != 2 {
		t.Errorf("judged by %q, read %q, %v after %d tries", read, body, err, a.Attempts)
	}
}

// All breakers open: the soonest says when to come back.
func TestBreakersOpen(t *testing.T) {
	bad := server(t, 500)
	s := newSet(t, "first", func(i int, c *Config) { c.Breaker.BaseTimeout = time.Duration(2-i) * 10 * time.Minute }, bad, bad)
	for _, u := range s.All() {
		if s.Refuses("") || s.Refuse("", nil) != nil {
			t.Errorf("refused while %s may be asked", u.Name())
		}
		for range 2 {
			p, err := u.Breaker().Allow()
			if err != nil {
				t.Fatal(err)
			}
			p.Report(resilience.Failure, "test")
		}
	}
	_, err := s.Do(t.Context(), ask("", RetryElsewhere))
	e, ok := errors.AsType[*Error](err)
	if !ok || e.Code != BreakerOpen || e.RetryAfter < 7*time.Minute || e.RetryAfter > 12*time.Minute {
		t.Errorf("%+v", err)
	}
	again := s.Refuse("", nil)
	if !s.Refuses("") || again == nil || again.Code != BreakerOpen || again.Message != e.Message {
		t.Errorf("at once: %+v", again)
	}
	for _, u := range s.All() {
		if n := u.Breaker().Status().Metrics.RejectedRequests; n != 2 {
			t.Errorf("%s counts %d rejected, want 2", u.Name(), n)
		}
	}
}

func TestOrigin(t *testing.T) {
	s := newSet(t, "first", func(i int, c *Config) {
		c.Headers = map[string]string{"api-key": "ours"}
		c.ForwardCredentials = i == 3
	}, "http://Host", "http://host:80/v1", "https://host", "https://host", "http://host:8080")
	h := http.Header{"Authorization": {"a"}, "Api-Key": {"theirs"}, "X-Other": {"o"}}
	home := s.All()[0].origin
	for i, kept := range []bool{true, true, false, true, false} {
		got := s.All()[i].header(&Call{Header: h}, home)
		if (got.Get("Authorization") != "") != kept || got.Get("Api-Key") != "ours" || got.Get("X-Other") != "o" {
			t.Errorf("%s, from %s: %q", s.All()[i].origin, home, got)
		}
	}
	if h.Get("Api-Key") != "theirs" || len(h) != 3 {
		t.Errorf("the caller's header was changed: %q", h)
	}
}

func TestBadConfig(t *testing.T) {
	for name, c := range map[string]Config{
		"url":     {URL: "http://[::1"},
		"no CA":   {URL: "https://a", TLS: TLSConfig{CAFile: "/nowhere"}},
		"bad CA":  {URL: "https://a", TLS: TLSConfig{CAFile: "set_test.go"}},
		"no pair": {URL: "https://a", TLS: TLSConfig{CertFile: "/nowhere", KeyFile: "/nowhere"}},
	} {
		c.Name, c.Breaker = "x", breaker
		if _, err := NewSet([]Config{c}, resilience.RetryConfig{}, "first", NewMetrics(prometheus.NewRegistry()), nil, nil); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
