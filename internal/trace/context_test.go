package trace

import (
	"net/http"
	"testing"
	"time"

	"go.opentelemetry.io/otel/trace"
	"google.golang.org/protobuf/proto"
)

func TestSampler(t *testing.T) {
	for _, tt := range []struct {
		ratio       float64
		least, most int
	}{{0, 0, 0}, {0.25, 2200, 2800}, {1, 10_000, 10_000}} {
		s, taken := newSampler(tt.ratio), 0
		for range 10_000 {
			if s.takes(newTraceID()) {
				taken++
			}
		}
		if taken < tt.least || taken > tt.most {
			t.Errorf("the ratio %v takes %d of 10000", tt.ratio, taken)
		}
	}
	// Others who sample by the same ratio take the same ones.
	half := newSampler(0.5)
	for id, want := range map[string]bool{
		"ffffffffffffffff7fffffffffffffff": true, "00000000000000018000000000000000": false, "00000000000000010000000000000000": true,
	} {
		parsed, err := trace.TraceIDFromHex(id)
		if err != nil || half.takes(parsed) != want {
			t.Errorf("%s: %v, %v", id, half.takes(parsed), err)
		}
	}
}

// FuzzContext holds that whatever a client sends, the upstream gets a valid
// context of the same trace or of a new one, and spans can be written.
func FuzzContext(f *testing.F) {
	f.Add("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "vendor=1,other=2", "demo")
	f.Add("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00", "=,,", "")
	f.Add("cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-03-more", "", "\xff\xfe")
	f.Add("00-00000000000000000000000000000000-b7ad6b7169203331-01", "a=b", "x")
	f.Fuzz(func(t *testing.T, parent, state, text string) {
		tracer, _ := newTracer(t, 1, nil)
		h := http.Header{headerParent: {parent}, headerState: {state}}
		x := tracer.Begin(h, time.Now())
		out := x.Try("up", "http://h", "/"+text, h)
		if h.Get(headerParent) != parent {
			t.Errorf("the client's header changed")
		}
		got, was := parentIn(out), parentIn(h)
		if !got.IsValid() || was.IsValid() && (got.TraceID() != was.TraceID() || got.SpanID() == was.SpanID() || got.TraceFlags() != was.TraceFlags()) {
			t.Errorf("%q became %q", parent, out.Get(headerParent))
		}
		if !was.IsValid() && out.Get(headerState) != "" {
			t.Errorf("the state %q of no trace went on", state)
		}
		x.TryEnded(0, "broke", "")
		x.End(&Facts{End: time.Now(), Operation: "chat", Method: text, Path: text, Host: text, Model: text, AnswerModel: text, Finish: text, Message: text})
		if !x.span.IsSampled() {
			return
		}
		for _, s := range (<-tracer.queue).spans() {
			if _, err := proto.Marshal(s); err != nil {
				t.Error(err)
			}
		}
	})
}

func BenchmarkExchange(b *testing.B) {
	tracer, _ := newTracer(b, 1, nil)
	h := http.Header{"Content-Type": {"application/json"}, "User-Agent": {"x"}}
	f := &Facts{End: time.Now(), RequestID: "id", Operation: "chat", Method: "POST", Path: "/v1/chat/completions", Host: "h", Model: "demo", AnswerModel: "demo", Finish: "stop"}
	b.ReportAllocs()
	for b.Loop() {
		x := tracer.Begin(h, f.End)
		x.Try("up", "http://h", f.Path, h)
		x.TryEnded(200, "", "")
		x.End(f)
		<-tracer.queue
	}
}
