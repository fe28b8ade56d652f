package main

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// talkative answers with a stream of at least so many bytes as the request's user
// field says.
func talkative(t *testing.T) (url string) {
	event := []byte(`data: {"id":"c","object":"chat.completion.chunk","model":"m","choices":[{"index":0,"delta":{"content":"word "}}]}` + "\n\n")
	last := `data: {"id":"c","object":"chat.completion.chunk","model":"m","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}` +
		"\n\ndata: [DONE]\n\n"
	many := bytes.Repeat(event, 100)
	size := regexp.MustCompile(`"user":"(\d+)"`)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return // the client left
		}
		w.Header().Set("Content-Type", "text/event-stream")
		n, _ := strconv.Atoi(string(size.FindSubmatch(body)[1])) // digits
		for ; n > 0; n -= len(many) {
			if _, err := w.Write(many[:min(len(many), (n/len(event)+1)*len(event))]); err != nil {
				return
			}
		}
		_, _ = io.WriteString(w, last)
	}))
	t.Cleanup(srv.Close)
	return srv.URL
}

// hear asks for a stream of at least so many bytes, and returns how many came.
func (p *process) hear(size int) int64 {
	p.t.Helper()
	body := fmt.Sprintf(`{"model":"m","stream":true,"user":"%d","messages":[{"role":"user","content":"go on"}]}`, size)
	res, err := http.Post(p.proxy+"/v1/chat/completions", "application/json", strings.NewReader(body))
	if err != nil {
		p.t.Error(err)
		return 0
	}
	defer res.Body.Close()
	n, err := io.Copy(io.Discard, res.Body)
	if err != nil {
		p.t.Error(err)
	}
	return n
}

// What the records of long answers cost is what is kept of them, and one record
// more on its way to the disk and one on its way to the sink; not several copies
// of each. The memory that the runtime has asked for is never given back, so that
// it shows the highest there was.
func TestLongAnswersMemory(t *testing.T) {
	p := serve(t, quick, "--upstream", talkative(t))
	const streams, size = 4, 20 << 20
	var wg sync.WaitGroup
	for range streams {
		wg.Go(func() {
			if n := p.hear(size); n < size {
				t.Errorf("%d bytes came, want %d", n, size)
			}
		})
	}
	wg.Wait()
	p.flush(http.DefaultClient)
	metrics := do(t, http.DefaultClient, http.MethodGet, p.admin+"/metrics", "").body
	taken := regexp.MustCompile(`(?m)^go_memstats_sys_bytes (\S+)$`).FindStringSubmatch(metrics)
	if taken == nil {
		t.Fatalf("no go_memstats_sys_bytes:\n%s", metrics)
	}
	const bound = 280 << 20 // twice what is live at most, as the collector has it
	if n, err := strconv.ParseFloat(taken[1], 64); err != nil || n > bound {
		t.Errorf("the runtime took %.0f MiB (%v) for %d records of 16 MiB, want at most %d", n/(1<<20), err, streams, bound>>20)
	}
}

// The answers in progress share max_held_bytes. Who finds it used up loses the
// rest of a record, and nobody loses anything else.
func TestHeldBytes(t *testing.T) {
	p := serve(t, "cache: {policy: 'off'}\nbatchlog: {flush_interval: 50ms, max_held_bytes: 16KiB}\n", "--upstream", talkative(t))
	const long, short = 100 << 10, 500
	if n := p.hear(long); n < long {
		t.Errorf("%d bytes came, want %d", n, long)
	}
	for range 20 { // more than 16 KiB together
		p.hear(short)
	}
	p.flush(http.DefaultClient)
	all := exported(t, "--data-dir", p.dataDir)
	if len(all) != 21 {
		t.Fatalf("%d records, want 21", len(all))
	}
	for i, c := range all {
		whole := c.FinishReason == "stop" && !c.Incomplete
		if c.Outcome != "ok" || whole == (i == 0) || !strings.HasPrefix(c.Answer, "word word ") {
			t.Errorf("record %d: outcome %s, incomplete %v, %q, %d bytes of text", i, c.Outcome, c.Incomplete, c.FinishReason, len(c.Answer))
		}
	}
}
