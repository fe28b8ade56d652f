package spool

import (
	"errors"
	"fmt"
	"time"
)

// Config says where the spool is and what it may take.
type Config struct {
	// Dir is the spool's own directory; it is created with mode 0700.
	Dir string

	// MaxBytes bounds the segments together. At the bound the oldest segment is
	// given up and its unread records are counted as SpoolFull. What cannot be
	// read is kept aside in addition, in at most a sixteenth of it.
	MaxBytes int64

	// Fsync is how often the spool is synced: what a power cut may take.
	// 0 syncs before Append returns, one sync for all that wait at that time.
	Fsync time.Duration

	// SegmentBytes is where a segment ends and the next begins. 0 takes 16 MiB,
	// or an eighth of MaxBytes where that is less.
	SegmentBytes int64

	// Late is how long Append waits for the disk before it leaves the record to
	// the background writer. 0 takes 20 ms, or 10 s where Fsync is 0.
	Late time.Duration
}

const (
	minMaxBytes         = 256 << 10
	defaultSegmentBytes = 16 << 20

	// maxQueuedBytes bounds the memory of what waits for the disk: the largest record
	// that a log has by default leaves room for 8 MiB of others. One record may be
	// larger than all of it, then it waits alone.
	maxQueuedBytes = 24 << 20

	// maxPayload bounds one record, so that a damaged length cannot ask for more.
	maxPayload = 64 << 20

	// maxSegments bounds the list of segments when a failing disk makes many
	// small ones.
	maxSegments = 10_000

	// asideShare is the part of MaxBytes that what cannot be read may take.
	asideShare = 16

	// lull is how long no record must have come for one to be written by who brings
	// it. Those that come faster share writes, which costs each of them less.
	lull = 250 * time.Microsecond

	// writePause is how long a disk that refused a record twice is left alone,
	// so that a dead one costs nothing per request.
	writePause = 10 * time.Millisecond

	// housekeeping is how often the state file is synced where Fsync is 0.
	housekeeping = time.Second
)

func (c Config) withDefaults() (Config, error) {
	var errs []error
	if c.MaxBytes < minMaxBytes {
		errs = append(errs, fmt.Errorf("spool: max_bytes is %d, must be at least %d", c.MaxBytes, minMaxBytes))
	}
	if c.Fsync < 0 {
		errs = append(errs, fmt.Errorf("spool: fsync is %s, must not be negative", c.Fsync))
	}
	if c.SegmentBytes == 0 {
		c.SegmentBytes = min(defaultSegmentBytes, c.MaxBytes/8)
	}
	if c.SegmentBytes < 0 || c.SegmentBytes > c.MaxBytes/4 {
		errs = append(errs, fmt.Errorf("spool: segments of %d bytes, must be from 1 to a quarter of max_bytes (%d)", c.SegmentBytes, c.MaxBytes))
	}
	if c.Late == 0 {
		c.Late = 20 * time.Millisecond
		if c.Fsync == 0 {
			c.Late = 10 * time.Second
		}
	}
	return c, errors.Join(errs...)
}
