package spool

// Reason is why a record was given up.
type Reason uint8

// The reasons, in the order in which the state file has them.
const (
	// SpoolFull: the spool was at its bound, and this was the oldest segment.
	SpoolFull Reason = iota
	// Damaged: the record cannot be read back.
	Damaged
	// WriteFailed: the disk refused the record twice.
	WriteFailed
	// QueueFull: the disk was slow, and the queue before it at its bound.
	QueueFull
	// TooLarge: larger than a record may be.
	TooLarge
	// Discarded: by the consumer, see Outcome and Settlement.
	Discarded

	numReasons
)

var reasonNames = [numReasons]string{"spool_full", "damaged", "write_failed", "queue_full", "too_large", "discarded"}

// String is the reason as a metric's label.
func (r Reason) String() string {
	if r < numReasons {
		return reasonNames[r]
	}
	return "unknown"
}

// Reasons are all there are.
func Reasons() []Reason {
	return []Reason{SpoolFull, Damaged, WriteFailed, QueueFull, TooLarge, Discarded}
}

// Drops counts records by Reason.
type Drops [numReasons]uint64

// Total is the sum over all reasons.
func (d Drops) Total() (n uint64) {
	for _, v := range d {
		n += v
	}
	return n
}

// Counters say what became of the records since the spool was made. They hold
//
//	Accepted = Inserted + Amended + SetAside + Spooled + Dropped.Total()
//
// at every moment and after every crash: what became of a record is written in
// one piece with the acknowledgement of it.
type Counters struct {
	Accepted uint64
	Inserted uint64
	// Amended are the records that only revised one that is counted elsewhere.
	Amended  uint64
	SetAside uint64
	Spooled  uint64
	Dropped  Drops
	// Retired is how many of Inserted the sink has deleted again by retention.
	Retired uint64
}

// Outcome is what became of the acknowledged records that were not inserted.
// The rest was.
type Outcome struct {
	Amended, SetAside, Discarded uint64
}

// Settlement is what happens to records after they were acknowledged.
type Settlement struct {
	// Retried were set aside, and are inserted now.
	Retried uint64
	// Discarded were set aside, and are given up now.
	Discarded uint64
	// Retired were inserted, and are deleted now.
	Retired uint64
}
