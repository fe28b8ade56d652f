package l2

import (
	"bytes"
	"testing"
)

func sealed(e envelope, payload string) []byte {
	return e.seal(nil, func(to []byte) []byte { return append(to, payload...) })
}

func TestEnvelope(t *testing.T) {
	want := envelope{at: place{1, 2}, model: "m", name: "vega:1:e:n"}
	text := sealed(want, "payload")
	got, err := open(text)
	if err != nil || got.at != want.at || got.model != want.model || got.name != want.name || string(got.payload) != "payload" {
		t.Errorf("%+v, %v", got, err)
	}
	for i := range text {
		if _, err := open(text[:i]); err == nil {
			t.Errorf("cut at %d it is read", i)
		}
		for bit := range 8 {
			other := bytes.Clone(text)
			other[i] ^= 1 << bit
			if _, err := open(other); err == nil {
				t.Errorf("with bit %d of byte %d changed it is read", bit, i)
			}
		}
	}
	if _, err := open(append(bytes.Clone(text), 0)); err == nil {
		t.Error("with a byte more it is read")
	}
}

func FuzzOpen(f *testing.F) {
	f.Add(sealed(envelope{at: place{1, 2}, model: "m", name: "n"}, "payload"))
	f.Add(sealed(envelope{}, ""))
	f.Add([]byte(magic))
	f.Fuzz(func(t *testing.T, text []byte) {
		e, err := open(text)
		if err != nil {
			return
		}
		if again := sealed(envelope{e.at, e.model, e.name, nil}, string(e.payload)); len(again) > len(text) {
			t.Errorf("%q is read, and longer when written again: %q", text, again)
		}
	})
}
