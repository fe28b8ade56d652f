//go:build unix

package upstream

import (
	"errors"
	"strings"
	"syscall"
	"testing"

	"github.com/vega-proxy/vega-proxy/internal/resilience"
)

// A process without descriptors cannot connect, which says nothing of its upstream.
func TestOutOfDescriptors(t *testing.T) {
	s := newSet(t, "first", nil, server(t, 200))
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	none := limit
	none.Cur = 0
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &none); err != nil {
		t.Fatal(err)
	}
	for range 2 * breaker.FailThreshold {
		_, err := s.Do(t.Context(), ask("", RetryNever))
		if e, ok := errors.AsType[*Error](err); !ok || e.Code != Unreachable || !strings.Contains(e.Message, "descriptors") {
			t.Errorf("the answer is %v", err)
		}
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	status := s.All()[0].Breaker().Status()
	if status.State != resilience.Closed || status.Metrics.FailedRequests != 0 || status.Metrics.NeutralRequests != int64(2*breaker.FailThreshold) {
		t.Errorf("the breaker says %+v", status)
	}
	a, err := s.Do(t.Context(), ask("", RetryNever))
	if err != nil {
		t.Fatal(err)
	}
	a.End(resilience.Success, "")
}
