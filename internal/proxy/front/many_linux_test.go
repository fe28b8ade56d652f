package front_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
)

// TestMany sends 10,000 requests of all sorts over 100 connections at once, each
// with an answer of its own.
func TestMany(t *testing.T) {
	r := start(t, func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		w.Header()["X-Path"] = []string{r.URL.Path}
		switch len(body) % 3 {
		case 0:
			w.Header()["Content-Length"] = []string{fmt.Sprint(len(body))}
			w.Write(body)
		case 1:
			w.Write(body)
		case 2:
			for piece := range bytes.SplitAfterSeq(body, []byte("7")) {
				w.Write(piece)
				http.NewResponseController(w).Flush()
			}
		}
	})
	var wg sync.WaitGroup
	for i := range 100 {
		nc := dial(t, r.addr)
		wg.Go(func() {
			br := bufio.NewReader(nc)
			for j := range 100 {
				path := fmt.Sprintf("/%d/%d", i, j)
				body := strings.Repeat(path, (i*j)%200)
				fmt.Fprintf(nc, "POST %s HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%s", path, len(body), body)
				resp, err := http.ReadResponse(br, nil)
				if err != nil {
					t.Error(err)
					return
				}
				got, err := io.ReadAll(resp.Body)
				if string(got) != body || err != nil || resp.Header.Get("X-Path") != path {
					t.Errorf("%s: %d bytes of %d for %s, %v", path, len(got), len(body), resp.Header.Get("X-Path"), err)
					return
				}
			}
		})
	}
	wg.Wait()
	if n := r.handedOver(); n > 0 {
		t.Errorf("%d connections were handed over", n)
	}
}
