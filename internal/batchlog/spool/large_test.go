package spool

import (
	"testing"
	"testing/synctest"
	"time"
)

// TestLargeRecord: while the disk takes its time for the largest record that a log
// has by default, there is room for others.
func TestLargeRecord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, shut, open := gated("write")
		s := mustOpen(t, Config{MaxBytes: 1 << 30, Fsync: time.Second, Late: 20 * time.Millisecond}, d)
		stop := start(t, s)
		shut()
		mustAppend(t, s, 1, 16<<20)
		mustAppend(t, s, 7, 1<<20)
		mustAppend(t, s, 1000, 10)
		open()
		synctest.Wait()
		if st := s.Stats(); st.Spooled != 1008 || st.Dropped.Total() != 0 {
			t.Errorf("%+v", st)
		}
		stop()
	})
}
