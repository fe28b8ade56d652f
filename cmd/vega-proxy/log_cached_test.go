package main

import (
	"net/http"
	"testing"

	"github.com/vega-proxy/vega-proxy/internal/batchlog"
	"github.com/vega-proxy/vega-proxy/internal/simllm"
)

// TestLogOfCachedAnswers holds that an answer from the cache is logged as whole as
// the one that it repeats.
func TestLogOfCachedAnswers(t *testing.T) {
	t.Parallel()
	_, backend := simulate(t, simllm.Config{Tokens: 3})
	p := serve(t, upstreamAt(backend))
	c := newClient(t)
	for _, body := range []string{chat, chatLive} {
		for range 2 {
			do(t, c, http.MethodPost, p.proxy+chatPath, body).want(t, http.StatusOK, "")
		}
	}
	p.flush(c)
	all := exported(t, "--data-dir", p.dataDir)
	if len(all) != 4 {
		t.Fatalf("%d are logged", len(all))
	}
	for i := 0; i < 4; i += 2 {
		asked, cached := all[i], all[i+1]
		if cached.CacheStatus != "HIT" || cached.Outcome != string(batchlog.OK) || cached.Truncated || cached.Answer != asked.Answer ||
			cached.FinishReason != asked.FinishReason {
			t.Errorf("asked: %+v\ncached: %+v", asked, cached)
		}
	}
}
