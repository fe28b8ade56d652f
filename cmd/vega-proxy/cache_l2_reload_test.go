package main

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
)

// TestSharedCacheReload: another max_entry_bytes holds for the second tier too, from
// the reload on.
func TestSharedCacheReload(t *testing.T) {
	t.Parallel()
	store := newRedis(t)
	const size = 200 << 10 // over what a small limit and its allowance for a head let pass
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"id":"1","object":"chat.completion","model":"demo","choices":[{"index":0,"message":{"role":"assistant","content":"%s"},"finish_reason":"stop"}]}`,
			strings.Repeat("x", size))
	}))
	t.Cleanup(backend.Close)
	yaml := func(limit string) string {
		return upstreamAt(backend.URL) + "cache: {max_entry_bytes: " + limit + ", l2: {url: 'redis://" + store.address() + "', timeout: " + patient + "}}\n"
	}
	var replicas [2]*replica
	var files [2]string
	for i := range replicas {
		files[i] = filepath.Join(t.TempDir(), "vega-proxy.yaml")
		replace(t, files[i], yaml("10KiB"))
		replicas[i] = (&replica{serveFile(t, files[i]), newClient(t)}).ready()
	}
	a, b := replicas[0], replicas[1]
	limit := func(to string) {
		t.Helper()
		for i, r := range replicas {
			replace(t, files[i], yaml(to))
			if status, done := r.askReload(r.c); status != http.StatusOK || len(done.RestartNeeded) > 0 {
				t.Fatalf("%d %+v", status, done)
			}
		}
	}
	a.want("the sea", "MISS")
	a.want("the sea", "MISS")

	limit("1MiB")
	a.want("the sea", "MISS")
	a.want("the sea", "HIT")
	a.written(1)
	b.want("the sea", "HIT")

	limit("10KiB") // what lies there is now too long
	b.want("the sea", "MISS")
	if s := b.l2(); s.State != "closed" || s.Errors != 0 {
		t.Errorf("%+v", s)
	}
}
