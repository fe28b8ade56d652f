package main

import (
	"context"
	"net/http"
	"strings"
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
			cached.FinishReason != asked.FinishReason || cached.BytesOut != asked.BytesOut {
			t.Errorf("asked: %+v\ncached: %+v", asked, cached)
		}
	}
}

// TestLogOfALeaderThatLeft: of two who wait for a plain answer the one that asked
// first leaves before it comes. It did not get it, and the log says so.
func TestLogOfALeaderThatLeft(t *testing.T) {
	t.Parallel()
	_, backend := simulate(t, simllm.Config{Tokens: 3})
	p, c := serve(t, upstreamAt(backend)), newClient(t)
	body := strings.Replace(chat, "demo", "demo?ttft=1s", 1)
	ctx, leave := context.WithCancel(t.Context())
	left, followed := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(left)
		if _, err := try(ctx, c, http.MethodPost, p.proxy+chatPath, body); err == nil {
			t.Error("the leader has its answer")
		}
	}()
	until(t, "the leader waits", func() bool { return p.gauge("vega_requests_in_flight") == 1 })
	go func() {
		defer close(followed)
		do(t, c, http.MethodPost, p.proxy+chatPath, body).want(t, http.StatusOK, "")
	}()
	until(t, "the other one waits", func() bool { return p.gauge("vega_requests_in_flight") == 2 })
	leave()
	<-left
	<-followed
	var all []batchlog.Conversation
	until(t, "both are logged", func() bool {
		p.flush(c)
		all = exported(t, "--data-dir", p.dataDir)
		return len(all) == 2 && all[0].Revision == 1
	})
	if leader := all[0]; leader.CacheStatus != "MISS" || leader.Outcome != string(batchlog.ClientGone) || leader.EndedBy != "client" {
		t.Errorf("the leader: %+v", leader)
	}
	if follower := all[1]; follower.CacheStatus != "COALESCED" || follower.Outcome != string(batchlog.OK) {
		t.Errorf("the follower: %+v", follower)
	}
}
