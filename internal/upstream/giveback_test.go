package upstream

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/vega-proxy/vega-proxy/internal/resilience"
)

// A func of the call's that panics leaves no place taken, and decides nothing.
func TestPanicGivesBack(t *testing.T) {
	for name, plant := range map[string]func(*Call){
		"prepare": func(c *Call) { c.Prepare = func(*Call) { panic("oh") } },
		"chosen":  func(c *Call) { c.Chosen = func(*Call, *Upstream) { panic("oh") } },
		"judge":   func(c *Call) { c.Judge = func(*Upstream, int, []byte) resilience.Outcome { panic("oh") } },
	} {
		t.Run(name, func(t *testing.T) {
			s := newSet(t, "first", func(_ int, c *Config) { c.MaxInFlight = 1 }, server(t, http.StatusBadGateway), server(t, http.StatusOK))
			func() {
				defer func() {
					if p := recover(); p != "oh" {
						t.Errorf("recovered %v", p)
					}
				}()
				c := ask("", RetryAnywhere)
				plant(c)
				_, _ = s.Do(t.Context(), c)
			}()
			if n := s.All()[0].limiter.InFlight(); n != 0 {
				t.Errorf("%d places are taken", n)
			}
			if m := s.All()[0].Breaker().Status().Metrics; m.NeutralRequests != 1 || m.TotalRequests != 1 {
				t.Errorf("the breaker has %+v", m)
			}
		})
	}
}

// A client that leaves just when the next place was taken leaves none taken.
func TestGivenUpBetweenTries(t *testing.T) {
	s := newSet(t, "first", func(_ int, c *Config) { c.MaxInFlight = 1 }, dead(t), server(t, http.StatusOK), server(t, http.StatusOK))
	for range breaker.FailThreshold {
		p, err := s.All()[1].Breaker().Allow()
		if err != nil {
			t.Fatal(err)
		}
		p.Report(resilience.Failure, "")
	}
	ctx, cancel := context.WithCancel(t.Context())
	c := ask("", RetryUnsent)
	c.Refused = func(*Upstream) { cancel() }
	if a, err := s.Do(ctx, c); a != nil || !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, %v", a, err)
	}
	for _, u := range s.All() {
		if n := u.limiter.InFlight(); n != 0 {
			t.Errorf("%d places are taken at %s", n, u.Name())
		}
	}
}

// dead is a URL at which nobody listens.
func dead(t *testing.T) string {
	t.Helper()
	s := httptest.NewServer(http.NotFoundHandler())
	s.Close()
	return s.URL
}
