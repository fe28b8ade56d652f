package main

import (
	"bufio"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// TestCancelledFollower has the admin API cancel one of those who share a stream,
// while the upstream is silent. It ends at once, and the others go on.
func TestCancelledFollower(t *testing.T) {
	t.Parallel()
	backend, _ := holding(t)
	p, c := serve(t, upstreamAt(backend)), newClient(t)
	open := func(id string) (*http.Response, *bufio.Reader) { return begun(t, c, p, id) }
	_, leader := open("leader")
	res, follower := open("follower")
	_, other := open("other")
	if s := res.Header.Get("X-Vega-Cache"); s != "COALESCED" {
		t.Fatalf("the follower is a %s", s)
	}
	asked := time.Now()
	do(t, c, http.MethodPost, p.admin+"/admin/performance/streams/follower/cancel", "", "X-API-Key", p.key()).want(t, http.StatusOK, "")
	rest, err := io.ReadAll(follower)
	if err == nil || !strings.Contains(string(rest), `"cancelled"`) {
		t.Errorf("the follower got %q, %v", rest, err)
	}
	if took := time.Since(asked); took > time.Second {
		t.Errorf("it ended after %v", took)
	}
	if line := p.wait(`"msg":"exchange"`, `"request_id":"follower"`); line["ended_by"] != "admin" || line["code"] != "cancelled" {
		t.Errorf("its line is %v", line)
	}
	// With the one that asked all end that share its answer.
	do(t, c, http.MethodPost, p.admin+"/admin/performance/streams/leader/cancel", "", "X-API-Key", p.key()).want(t, http.StatusOK, "")
	for name, r := range map[string]*bufio.Reader{"leader": leader, "other": other} {
		if rest, err := io.ReadAll(r); err == nil || !strings.Contains(string(rest), `"cancelled"`) {
			t.Errorf("the %s got %q, %v", name, rest, err)
		}
	}
}

// begun asks for a stream, which has its first line when begun returns.
func begun(t *testing.T, c *http.Client, p *process, id string) (*http.Response, *bufio.Reader) {
	t.Helper()
	res, err := send(t.Context(), c, http.MethodPost, p.proxy+chatPath, chatLive, "X-Request-Id", id)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { res.Body.Close() })
	r := bufio.NewReader(res.Body)
	if line, err := r.ReadString('\n'); err != nil {
		t.Fatalf("%s: %q, %v", id, line, err)
	}
	return res, r
}
