package cache

import "testing"

// A window whose only entry has no room in it gives that up, and is empty.
func TestOverflowOfTheOnlyEntry(t *testing.T) {
	w := newWindow(1000, 100)
	e := &Entry{size: 200}
	w.put(e.slot(), e)
	if over := w.overflow(); len(over) != 1 || over[0] != e {
		t.Errorf("given up: %v", over)
	}
	if w.bytes != 0 || len(w.all()) != 0 || w.overflow() != nil {
		t.Errorf("the window still has %d entries of %d bytes", len(w.all()), w.bytes)
	}
}
