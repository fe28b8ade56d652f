package main

import (
	"net/http"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/vega-proxy/vega-proxy/internal/simllm"
)

// TestChain sets one vega-proxy before another, as a sidecar before a gateway is.
func TestChain(t *testing.T) {
	_, backend := simulate(t, simllm.Config{Tokens: 3})
	gateway := serve(t, upstreamAt(backend)+"cache: {policy: 'off'}\n")
	sidecar := serve(t, upstreamAt(gateway.proxy))
	c := newClient(t)
	do(t, c, http.MethodGet, sidecar.proxy+"/v1/models", "").want(t, http.StatusOK, "")
	plain := do(t, c, http.MethodPost, sidecar.proxy+chatPath, chat)
	plain.want(t, http.StatusOK, "")
	if live := do(t, c, http.MethodPost, sidecar.proxy+chatPath, chatLive); live.status != http.StatusOK || !strings.HasSuffix(live.body, "data: [DONE]\n\n") {
		t.Errorf("streamed: %d %s", live.status, live.body)
	}

	// Each has a name of its own, which is a token.
	via := strings.Split(strings.Join(plain.header["Via"], ", "), ", ")
	name := regexp.MustCompile(`\A1\.1 vega-proxy-[0-9a-z]{8}\z`)
	if len(via) != 2 || !name.MatchString(via[0]) || !name.MatchString(via[1]) || via[0] == via[1] {
		t.Errorf("Via %q", via)
	}
	// What is said of the cache is the sidecar's.
	if hit, why := plain.header.Get("X-Vega-Cache"), plain.header.Get("X-Vega-Cache-Reason"); hit != "MISS" || why != "first" {
		t.Errorf("X-Vega-Cache %q, X-Vega-Cache-Reason %q", hit, why)
	}
	again := do(t, c, http.MethodPost, sidecar.proxy+chatPath, chat)
	if hit := again.header.Get("X-Vega-Cache"); hit != "HIT" || !slices.Equal(again.header["Via"], via[1:]) {
		t.Errorf("asked again: X-Vega-Cache %q, Via %q", hit, again.header["Via"])
	}
}

// TestLoop closes a circle of one, two and three vega-proxies by reloads, which give
// none of them another name.
func TestLoop(t *testing.T) {
	c := newClient(t)
	for n := 1; n <= 3; n++ {
		_, backend := simulate(t, simllm.Config{Tokens: 3})
		last := filepath.Join(t.TempDir(), "vega-proxy.yaml")
		replace(t, last, upstreamAt(backend))
		end := serveFile(t, last)
		first := end
		for range n - 1 {
			first = serve(t, upstreamAt(first.proxy))
		}
		do(t, c, http.MethodPost, first.proxy+chatPath, chat, "Cache-Control", "no-store").want(t, http.StatusOK, "")
		replace(t, last, upstreamAt(first.proxy))
		if status, _ := end.askReload(c); status != http.StatusOK {
			t.Fatalf("the reload: %d", status)
		}
		for _, body := range []string{chat, chatLive} {
			do(t, c, http.MethodPost, first.proxy+chatPath, body, "Cache-Control", "no-store").want(t, http.StatusLoopDetected, "loop_detected")
		}
	}
}
