package stream

// queue holds events in order. It is the part of a Buffer that has no clock, no
// lock and no client.
type queue struct {
	events []event // a ring
	usual  int     // how many it is not to exceed, as a rule; 0 is not known
	head   int
	n      int
	bytes  int64
}

// event is one event, or a piece of a body without events, that waits for the
// client. It owns its bytes.
type event struct {
	bytes []byte
	whole bool // it counts as an event
	keep  bool // it must not be dropped
}

func (q *queue) push(e event) {
	if q.n == len(q.events) {
		q.grow()
	}
	q.events[(q.head+q.n)%len(q.events)] = e
	q.n++
	q.bytes += int64(len(e.bytes))
}

func (q *queue) grow() {
	size := max(8, 4*len(q.events)) // who is slow once stays so, and thousands may be at a time
	if len(q.events) < q.usual {
		size = min(size, q.usual)
	}
	grown := make([]event, size)
	for i := range q.n {
		grown[i] = q.events[(q.head+i)%len(q.events)]
	}
	q.events, q.head = grown, 0
}

// oldest returns the event that pop will; there must be one.
func (q *queue) oldest() event { return q.events[q.head] }

func (q *queue) pop() event {
	e := q.events[q.head]
	q.events[q.head] = event{}
	q.head = (q.head + 1) % len(q.events)
	q.n--
	q.bytes -= int64(len(e.bytes))
	return e
}

// dropOldest gives up the oldest event that may be, save the newest, and
// returns it; false if there is none.
func (q *queue) dropOldest() (event, bool) {
	for i := range q.n - 1 {
		at := (q.head + i) % len(q.events)
		e := q.events[at]
		if e.keep || !e.whole {
			continue
		}
		for j := i; j > 0; j-- { // those before it move up
			to, from := (q.head+j)%len(q.events), (q.head+j-1)%len(q.events)
			q.events[to] = q.events[from]
		}
		q.events[q.head] = event{}
		q.head = (q.head + 1) % len(q.events)
		q.n--
		q.bytes -= int64(len(e.bytes))
		return e, true
	}
	return event{}, false
}
