package main

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
)

// TestModelNamesAreBounded: whatever names clients make up, 100 of them have
// series, and the rest is "other".
func TestModelNamesAreBounded(t *testing.T) {
	t.Parallel()
	backend, _ := holding(t)
	p := serve(t, upstreamAt(backend)+"breaker: {enabled: false}\n") // its answers are not whole
	c := newClient(t)
	setLevel(t, p, c, "error")
	metrics := func() string { return do(t, c, http.MethodGet, p.admin+"/metrics", "").body }
	ask := func(count int) {
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for range count / 4 {
					body := fmt.Sprintf(`{"model":"m\"}\n%x","messages":[]}`, rand.Uint64())
					if r, err := try(t.Context(), c, http.MethodPost, p.proxy+chatPath, body); err != nil || r.status != http.StatusOK {
						t.Errorf("%d, %v: %s", r.status, err, r.body)
					}
				}
			})
		}
		wg.Wait()
		until(t, "all are counted", func() bool { return strings.Contains(metrics(), "vega_requests_in_flight 0") })
	}
	ask(200)
	before := metrics()
	ask(1000)
	after := metrics()
	if b, a := strings.Count(before, "\n"), strings.Count(after, "\n"); a > b {
		t.Errorf("1,000 more models made %d series of %d", a, b)
	}
	var labels []string
	for _, m := range regexp.MustCompile(`gen_ai_request_model="((?:[^"\\]|\\.)*)"`).FindAllStringSubmatch(after, -1) {
		labels = append(labels, m[1])
	}
	slices.Sort(labels)
	if labels = slices.Compact(labels); len(labels) != 101 || !slices.Contains(labels, "other") {
		t.Errorf("%d models have series: %q", len(labels), labels)
	}
}
