package l2

import (
	"cmp"
	"strconv"
	"strings"
)

// place is where something stands in the stream of clears: the id that Redis gave
// to an entry, from its own clock and a count.
type place struct{ ms, n uint64 }

func (p place) compare(q place) int {
	return cmp.Or(cmp.Compare(p.ms, q.ms), cmp.Compare(p.n, q.n))
}

func (p place) before(q place) bool { return p.compare(q) < 0 }

func (p place) String() string {
	return strconv.FormatUint(p.ms, 10) + "-" + strconv.FormatUint(p.n, 10)
}

func parsePlace(id string) (p place, ok bool) {
	ms, n, _ := strings.Cut(id, "-")
	var err, err2 error
	p.ms, err = strconv.ParseUint(ms, 10, 64)
	p.n, err2 = strconv.ParseUint(n, 10, 64)
	return p, err == nil && err2 == nil
}

// Position is what was known of the clears at one moment: a question that begins
// then is answered after all of them. The zero value is before anything was known.
type Position struct {
	epoch string
	at    place
}
