package simllm

import (
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// sink is a ResponseWriter that notes when each event was flushed.
type sink struct {
	header  http.Header
	flushed []time.Time
	keep    bool
}

func (s *sink) Header() http.Header              { return s.header }
func (s *sink) WriteHeader(int)                  {}
func (s *sink) Write(b []byte) (int, error)      { return len(b), nil }
func (s *sink) SetWriteDeadline(time.Time) error { return nil }

func (s *sink) Flush() {
	if s.keep {
		s.flushed = append(s.flushed, time.Now())
	}
}

// TestEachWordInItsTime pins TTFT and delay to the clock: three words and the
// last line, which follows at once.
func TestEachWordInItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(Config{Tokens: 3, TTFT: 2 * time.Second, Delay: 50 * time.Millisecond})
		began := time.Now()
		out := &sink{header: http.Header{}, keep: true}
		s.ServeHTTP(out, httptest.NewRequest("POST", "/api/chat", strings.NewReader(chatBody)))
		want := []time.Duration{2000 * time.Millisecond, 2050 * time.Millisecond, 2100 * time.Millisecond, 2100 * time.Millisecond}
		if len(out.flushed) != len(want) {
			t.Fatalf("%d events, want %d", len(out.flushed), len(want))
		}
		for i, at := range out.flushed {
			if at.Sub(began) != want[i] {
				t.Errorf("event %d after %v, want %v", i, at.Sub(began), want[i])
			}
		}
		began = time.Now()
		s.ServeHTTP(&sink{header: http.Header{}}, httptest.NewRequest("POST", "/v1/chat/completions", strings.NewReader(chatBody)))
		if took := time.Since(began); took != 2100*time.Millisecond {
			t.Errorf("a whole answer took %v, want the sum of its words' times", took)
		}
	})
}

func TestTemplateFillsItsHoles(t *testing.T) {
	event, err := newTemplate(object{"a": holeWord, "b": []any{holeSeq, "x"}, "c": holeTime})
	if err != nil {
		t.Fatal(err)
	}
	got := string(event.fill(nil, quote(nil, "say \"<é>\"\n"), 7, time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)))
	const want = `{"a":"say \"\u003cé\u003e\"\n","b":[7,"x"],"c":"2026-01-02T03:04:05.000000006Z"}`
	if got != want || !json.Valid([]byte(got)) {
		t.Errorf("%s, want %s", got, want)
	}
}

// TestWordsCostNoAllocation keeps the simulator's garbage out of what a
// benchmark of a proxy measures.
func TestWordsCostNoAllocation(t *testing.T) {
	x := &exchange{s: New(Config{}), w: &sink{header: http.Header{}}, r: httptest.NewRequest("GET", "/", nil)}
	x.rc, x.k = http.NewResponseController(x.w), x.s.defaults
	st := &stream{x: x, sse: true}
	event, err := newTemplate(object{"word": holeWord})
	if err != nil {
		t.Fatal(err)
	}
	got := testing.AllocsPerRun(100, func() {
		if err := st.token("", event, " harbour"); err != nil {
			t.Error(err)
		}
	})
	if got != 0 {
		t.Errorf("%v allocations a word, want none", got)
	}
}

func BenchmarkStreamedAnswer(b *testing.B) {
	s := New(Config{Tokens: 100})
	out := &sink{header: http.Header{}}
	b.ReportAllocs()
	for b.Loop() {
		s.ServeHTTP(out, httptest.NewRequest("POST", "/v1/chat/completions", strings.NewReader(chatStreamBody)))
	}
}

// TestSlowHeadDrips reads the head byte by byte against the clock.
func TestSlowHeadDrips(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		defer theirs.Close()
		x := &exchange{r: httptest.NewRequest("GET", "/", nil), k: knobs{slow: 5 * time.Second}}
		d := &dripWriter{conn: ours, header: http.Header{"A": {"b"}}, x: x}
		began := time.Now()
		var wg sync.WaitGroup
		wg.Go(func() {
			defer ours.Close()
			if _, err := io.WriteString(d, "body"); err != nil {
				t.Error(err)
			}
		})
		const head = "HTTP/1.1 200 OK\r\nConnection: close\r\nA: b\r\n\r\n"
		one := make([]byte, len(head))
		for i := range head {
			if n, err := theirs.Read(one[i:]); n != 1 || err != nil {
				t.Fatalf("byte %d came with %d others: %v", i, n-1, err)
			}
		}
		if took := time.Since(began).Round(time.Millisecond); string(one) != head || took != 5*time.Second {
			t.Errorf("head %q in %v, want 5s", one, took)
		}
		if rest, err := io.ReadAll(theirs); string(rest) != "body" || err != nil {
			t.Errorf("body %q %v", rest, err)
		}
		wg.Wait()
	})
}
