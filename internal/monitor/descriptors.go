package monitor

import (
	"cmp"
	"slices"
	"strings"
	"time"
)

const (
	// samePath is from how many descriptors on one file on, all of them old, they
	// are taken for forgotten ones.
	samePath = 8
	// rising is at how many checks in a row the old descriptors of a kind must
	// have become more, and risen by how many in all.
	rising, risen = 5, 16
	// nearLimit is the part of the limit from which on it is a danger.
	nearLimit = 0.8
)

// Descriptors is the process' open files, sockets and pipes.
type Descriptors struct {
	Open   int            `json:"open"`
	Limit  int64          `json:"limit"` // 0 is unknown
	ByKind map[string]int `json:"by_kind"`
	// Suspects are such as seem to be forgotten.
	Suspects []DescriptorLeak `json:"suspects"`
}

// DescriptorLeak is many old descriptors of the same.
type DescriptorLeak struct {
	What          string  `json:"what"` // the file's path, or the kind
	Count         int     `json:"count"`
	OldestSeconds float64 `json:"oldest_seconds"`
}

// descriptors remembers since when each descriptor refers to the same.
type descriptors struct {
	seen    map[string]descriptor
	history map[string][]int // of old ones of a kind, at the last checks
	last    Descriptors
}

type descriptor struct {
	target string
	since  time.Duration
}

// look compares what is open with what was. Only one that is open for longer
// than threshold can be a leak.
func (d *descriptors) look(now, threshold time.Duration, open map[string]string, limit int64) {
	seen := make(map[string]descriptor, len(open))
	d.last = Descriptors{Open: len(open), Limit: limit, ByKind: map[string]int{}, Suspects: []DescriptorLeak{}}
	old := map[string][]time.Duration{} // ages, by path or kind
	for number, target := range open {
		one := descriptor{target, now}
		if before, ok := d.seen[number]; ok && before.target == target {
			one = before
		}
		seen[number] = one
		kind := kindOfDescriptor(target)
		d.last.ByKind[kind]++
		if age := now - one.since; age >= threshold {
			old[kind] = append(old[kind], age)
			if kind == "file" {
				old[target] = append(old[target], age)
			}
		}
	}
	d.seen = seen
	for what, ages := range old {
		if strings.HasPrefix(what, "/") && len(ages) >= samePath {
			d.suspect(what, ages)
		}
	}
	d.follow(old)
	slices.SortFunc(d.last.Suspects, func(a, b DescriptorLeak) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), strings.Compare(a.What, b.What))
	})
}

// follow finds kinds of which there are ever more.
func (d *descriptors) follow(old map[string][]time.Duration) {
	history := map[string][]int{}
	for kind := range d.last.ByKind {
		h := append(d.history[kind], len(old[kind]))
		h = h[max(0, len(h)-rising-1):]
		history[kind] = h
		if len(h) == rising+1 && rises(h) && h[rising]-h[0] >= risen {
			d.suspect(kind, old[kind])
		}
	}
	d.history = history
}

// rises tells whether each number is greater than the one before.
func rises(numbers []int) bool {
	for i := range numbers[1:] {
		if numbers[i+1] <= numbers[i] {
			return false
		}
	}
	return true
}

func (d *descriptors) suspect(what string, ages []time.Duration) {
	d.last.Suspects = append(d.last.Suspects, DescriptorLeak{what, len(ages), slices.Max(ages).Seconds()})
}

// kindOfDescriptor is file, socket, pipe, or the name of an unnamed inode.
func kindOfDescriptor(target string) string {
	if strings.HasPrefix(target, "/") {
		return "file"
	}
	kind, rest, _ := strings.Cut(target, ":")
	if kind == "anon_inode" {
		return strings.Trim(rest, "[]")
	}
	return kind
}
