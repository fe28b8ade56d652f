package dialect

import (
	"bytes"
	"testing"
)

// reread meters events as if none had been seen before.
func reread(rt Route, f Framing, events [][]byte) (signals []Signal, sum Summary) {
	var m Meter
	m.Reset(rt, f)
	for _, ev := range events {
		m.mould = mould{}
		signals = append(signals, m.Event(ev))
	}
	return signals, m.Summary()
}

// TestMouldSaysWhatReadingSays holds the short cut against the long way, over all
// recordings and over changes of an event that must not be taken for it.
func TestMouldSaysWhatReadingSays(t *testing.T) {
	check := func(t *testing.T, rt Route, events [][]byte) (short int) {
		t.Helper()
		var m Meter
		m.Reset(rt, FramingSSE)
		want, wantSum := reread(rt, FramingSSE, events)
		for i, ev := range events {
			if m.mould.holds(ev) {
				short++
			}
			if got := m.Event(ev); got != want[i] {
				t.Errorf("event %d %q says %v, read anew %v", i, ev, got, want[i])
			}
		}
		if got := m.Summary(); got != wantSum {
			t.Errorf("all in all %+v, read anew %+v", got, wantSum)
		}
		return short
	}
	short := 0
	for _, f := range fixtures(t) {
		if f.framing == FramingSSE {
			short += check(t, f.route, split(FramingSSE, f.body))
		}
	}
	if short == 0 {
		t.Error("no recorded event went the short way")
	}

	chat := RouteOf("POST", "/v1/chat/completions")
	ev := func(s string) []byte { return []byte("data: " + s + "\n\n") }
	first := `{"model":"m","choices":[{"index":0,"delta":{"content":"one"},"finish_reason":null}]}`
	short = check(t, chat, [][]byte{
		ev(first),
		ev(`{"model":"m","choices":[{"index":0,"delta":{"content":"two"},"finish_reason":null}]}`),
		ev(`{"model":"m","choices":[{"index":0,"delta":{"content":""},"finish_reason":null}]}`),
		ev(`{"model":"m","choices":[{"index":0,"delta":{"content":"a\"},\"finish_reason\":null}]}`),
		ev(`{"model":"m","choices":[{"index":0,"delta":{"content":"x"},"finish_reason":"stop"},{"index":1,"delta":{"content":"x"},"finish_reason":null}]}`),
		ev(`{"model":"m","choices":[{"index":0,"delta":{"content":"` + "a\nb" + `"},"finish_reason":null}]}`),
		ev(`{"model":"m","choices":[{"index":1,"delta":{"content":"one"},"finish_reason":null}]}`),
		ev(`{"model":"m","choices":[{"index":0,"delta":{"content":"日本"},"finish_reason":null}]}`),
		ev(`{"model":"m","choices":[{"index":0,"delta":{"content":"","finish_reason":"stop","x":"y"},"finish_reason":null}]}`),
		ev(`{"model":"m","error":{"content":"one"}}`),
		ev(first),
		[]byte("data: [DONE]\n\n"),
	})
	if short != 2 { // the second, and the first one again
		t.Errorf("%d events went the short way, want 2", short)
	}
}

func FuzzMould(f *testing.F) {
	f.Add([]byte("data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"}}]}\n\ndata: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"b\"}}]}\n\n"))
	f.Add([]byte("data: {\"content\":\"a\",\"choices\":[{\"text\":\"b\"}]}\n\ndata: {\"content\":\"\",\"choices\":[{\"text\":\"b\"}]}\n\n"))
	rt := RouteOf("POST", "/v1/chat/completions")
	f.Fuzz(func(t *testing.T, body []byte) {
		events := split(FramingSSE, body)
		if len(events) > 0 { // an event and its like, with another text
			events = append(events, bytes.ReplaceAll(events[0], []byte(`"a"`), []byte(`"bc"`)))
		}
		want, wantSum := reread(rt, FramingSSE, events)
		var m Meter
		m.Reset(rt, FramingSSE)
		for i, ev := range events {
			if got := m.Event(ev); got != want[i] {
				t.Errorf("event %d %q says %v, read anew %v", i, ev, got, want[i])
			}
		}
		if got := m.Summary(); got != wantSum {
			t.Errorf("all in all %+v, read anew %+v", got, wantSum)
		}
	})
}
