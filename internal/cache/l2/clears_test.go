package l2

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

const me = "me"

func begins(at uint64) streamed { return streamed{at: place{ms: at}} }

func cleared(at uint64, model, by string) streamed {
	return streamed{at: place{ms: at}, clear: true, model: model, by: by}
}

// now is a place in the stream of this moment, as Redis gives it.
func now() uint64 { return uint64(time.Now().UnixMilli()) }

func TestClears(t *testing.T) {
	base := now()
	at := func(n uint64) uint64 { return base + n }
	type found struct {
		epoch  string
		stream []streamed
	}
	first := found{"e", []streamed{begins(at(0)), cleared(at(1), "a", "other")}}
	tests := []struct {
		name    string
		then    found
		todo    []string
		pending []string
	}{
		{"nothing new", first, nil, nil},
		{"missed one", found{"e", append(first.stream, cleared(at(2), "b", "other"))}, []string{"b"}, nil},
		{"my own", found{"e", append(first.stream, cleared(at(2), "b", me))}, nil, nil},
		{"missed more than is kept", found{"e", []streamed{cleared(at(5), "b", "other")}}, []string{everything, "b"}, nil},
		{"lost", found{"f", []streamed{begins(at(9))}}, nil, []string{"a"}},
		{"lost, and cleared since", found{"f", []streamed{begins(at(9)), cleared(at(10), "b", "other")}}, []string{"b"}, []string{"a"}},
		{"an older state of it", found{"e", []streamed{begins(at(0))}}, nil, []string{"a"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var c clears
			if todo := c.load(first.epoch, first.stream, me); !slices.Equal(todo, []string{"a"}) {
				t.Errorf("at first: to do %q", todo)
			}
			if todo := c.load(tt.then.epoch, tt.then.stream, me); !slices.Equal(todo, tt.todo) {
				t.Errorf("to do %q, want %q", todo, tt.todo)
			}
			if !slices.Equal(c.pending, tt.pending) {
				t.Errorf("pending %q, want %q", c.pending, tt.pending)
			}
			if !c.void(&envelope{at: place{ms: at(0)}, model: "a"}) && len(tt.pending)+len(tt.todo) == 0 {
				t.Error("what was cleared is given")
			}
		})
	}
}

func TestVoid(t *testing.T) {
	base := now()
	var c clears
	c.load("e", []streamed{begins(base), cleared(base+10, "a", "other")}, me)
	void := func(at uint64, model string) bool { return c.void(&envelope{at: place{ms: at}, model: model}) }
	for _, tt := range []struct {
		at    uint64
		model string
		void  bool
	}{
		{base - 1, "b", true}, {base, "b", false}, {base + 9, "a", true}, {base + 10, "a", false},
	} {
		if got := void(tt.at, tt.model); got != tt.void {
			t.Errorf("%+v: void is %v", tt, got)
		}
	}
	c.wait("b")
	if !void(base+20, "b") || void(base+20, "a") {
		t.Error("what is cleared here is given before the others know, or another model's is not")
	}
	c.told("b", place{ms: base + 30})
	if !void(base+29, "b") || void(base+30, "b") || len(c.pending) != 0 {
		t.Error("what was told has no effect")
	}
	c.take(cleared(base+40, everything, "other"), me, nil)
	if !void(base+39, "c") || void(base+40, "c") {
		t.Error("a clear of everything is none")
	}
}

// TestClearsAreBounded: whatever many models there are, what is forgotten counts
// as cleared.
func TestClearsAreBounded(t *testing.T) {
	base := now()
	var c clears
	c.load("e", []streamed{begins(base)}, me)
	for i := range uint64(3 * mostModels) {
		c.note(fmt.Sprint(i), place{ms: base + 1 + i})
		if i%7 == 0 && !c.void(&envelope{at: place{ms: base + i}, model: fmt.Sprint(i)}) {
			t.Fatalf("the clear of %d is forgotten", i)
		}
	}
	if !c.void(&envelope{at: place{ms: base}, model: "0"}) {
		t.Error("the first clear is forgotten")
	}
	if len(c.models) > mostModels {
		t.Errorf("%d models are remembered", len(c.models))
	}
	for i := range 2 * mostPending {
		c.wait(fmt.Sprint(i))
	}
	if !slices.Equal(c.pending, []string{everything}) {
		t.Errorf("%d clears are pending", len(c.pending))
	}
}
