package spool

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
)

// killed is the disk as the next process finds it.
func (d *disk) killed() *disk {
	d.mu.Lock()
	defer d.mu.Unlock()
	after := newDisk()
	for name, node := range d.names {
		after.put(name, &inode{data: node.data, durable: node.durable, pending: slices.Clone(node.pending)})
	}
	// Which names are durable does not matter to a process that is killed later:
	// a power cut after a restart is a test of its own.
	after.durable = maps.Clone(after.names)
	return after
}

func (d *disk) put(name string, node *inode) { d.names[name] = node }

// cut says what a power cut leaves of what was not synced.
type cut struct {
	name  string
	names func() bool // a change of names survives
	data  func(c change) (keep int, grow bool)
}

func lost() bool { return false }
func kept() bool { return true }

func cuts(rounds int, seed int) []cut {
	nothing := func(change) (int, bool) { return 0, false }
	all := func(c change) (int, bool) { return len(c.data), true }
	grown := func(c change) (int, bool) { return 0, true }
	cs := []cut{
		{"nothing survives", lost, nothing},
		{"all survives", kept, all},
		{"names without data", kept, nothing},
		{"data without names", lost, all},
		{"names and sizes without data", kept, grown},
	}
	for round := range rounds {
		r := rand.New(rand.NewPCG(uint64(round), uint64(seed)))
		cs = append(cs, cut{
			fmt.Sprintf("some of it, %d", round),
			func() bool { return r.IntN(2) == 0 },
			func(c change) (int, bool) {
				switch r.IntN(4) {
				case 0:
					return 0, r.IntN(2) == 0
				case 1:
					return r.IntN(len(c.data) + 1), r.IntN(2) == 0
				default:
					return len(c.data), true
				}
			},
		})
	}
	return cs
}

// cutPower is the disk as it is found when the power is back.
func (d *disk) cutPower(c cut) *disk {
	d.mu.Lock()
	defer d.mu.Unlock()
	names := maps.Clone(d.durable)
	for _, change := range d.unsaid {
		if !c.names() {
			continue
		}
		if change.file == nil {
			delete(names, change.name)
		} else {
			names[change.name] = change.file
		}
	}
	after := newDisk()
	for _, name := range slices.Sorted(maps.Keys(names)) {
		node := names[name]
		data := node.durable
		for _, w := range node.pending {
			n, grow := c.data(w)
			if w.data == nil {
				if grow {
					data = w.apply(data)
				}
				continue
			}
			if n > 0 {
				data = change{off: w.off, data: w.data[:n]}.apply(data)
			}
			if end := w.off + int64(len(w.data)); grow && end > int64(len(data)) {
				data = change{off: end}.apply(data)
			}
		}
		after.put(name, &inode{data: data, durable: data})
	}
	after.durable = maps.Clone(after.names)
	return after
}

func TestDiskForgets(t *testing.T) {
	d := newDisk()
	f, err := d.create("a")
	if err != nil {
		t.Fatal(err)
	}
	write := func(s string, off int64) {
		t.Helper()
		if _, err := f.WriteAt([]byte(s), off); err != nil {
			t.Fatal(err)
		}
	}
	write("abc", 0)
	if got := d.cutPower(cuts(0, 0)[0]); len(got.names) != 0 {
		t.Errorf("a name that was not synced survived: %v", got.names)
	}
	if err := errors.Join(f.Sync(), d.sync()); err != nil {
		t.Fatal(err)
	}
	write("de", 3)
	for i, want := range []string{"abc", "abcde", "abc", "abcde", "abc\x00\x00"} {
		c := cuts(0, 0)[i]
		if got := string(d.cutPower(c).names["a"].data); got != want {
			t.Errorf("%s: %q, want %q", c.name, got, want)
		}
	}
	if got := string(d.killed().names["a"].data); got != "abcde" {
		t.Errorf("killed: %q", got)
	}
}
