// Package loop runs poll loops for tests.
package loop

import (
	"errors"
	"sync"
	"testing"

	"github.com/vega-proxy/vega-proxy/internal/poll"
)

// Run returns a loop of n goroutines that runs for the length of the test; nil where
// the system has none.
func Run(t testing.TB, n int) *poll.Loop {
	t.Helper()
	l, err := poll.New(n)
	if errors.Is(err, errors.ErrUnsupported) {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(l.Run)
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
		wg.Wait()
	})
	return l
}
