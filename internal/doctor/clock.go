package doctor

import (
	"fmt"
	"net/http"
	"time"
)

const (
	// aLittle is a difference of clocks that confuses who compares logs; at aLot
	// certificates and tokens begin to fail.
	aLittle = 10 * time.Second
	aLot    = time.Minute
	// built is before any machine with this program had its clock right.
	built = 2026
)

func checkOwnClock(*facts) []Result {
	now := time.Now()
	if now.Year() < built {
		return []Result{wrong("this machine's clock says "+now.UTC().Format(time.DateTime), "certificates are refused, and conversations are filed under a wrong time", "set the clock, and keep it right with NTP")}
	}
	return []Result{ok("this machine's clock says " + now.UTC().Format(time.DateTime) + " UTC")}
}

func checkUpstreamClock(_ *facts, b *backend) Result {
	if !b.reached() || b.models.err != nil {
		return unreached
	}
	date, err := http.ParseTime(b.models.header.Get("Date"))
	if err != nil {
		return skipped("it does not say what time it is")
	}
	return judgeClock(date.Sub(b.models.at))
}

func checkDatabaseClock(f *facts) []Result {
	switch x := f.sink; {
	case !f.cfg.Batchlog.Enabled, x == nil || x.Unreachable != nil, x.Sink != "postgres":
		return []Result{skipped("no server was asked for the time")}
	default:
		return []Result{judgeClock(x.Clock)}
	}
}

func judgeClock(difference time.Duration) Result {
	direction := "ahead of"
	if difference < 0 {
		direction = "behind"
	}
	found := fmt.Sprintf("its clock is %s %s ours", difference.Abs().Round(time.Second), direction)
	const remedy = "keep both clocks right with NTP"
	switch d := difference.Abs(); {
	case d > aLot:
		return wrong(found, "one of the two is wrong: certificates and tokens fail, and times in the log cannot be compared", remedy)
	case d > aLittle:
		return warning(found, "times in the log cannot be compared", remedy)
	}
	return ok("its clock agrees with ours")
}
