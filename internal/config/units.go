package config

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// sizeUnits are the units a size may be written in, longest spelling first so
// that "MiB" is not taken for "B".
var sizeUnits = []struct {
	name  string
	bytes int64
}{
	{"KiB", kib}, {"MiB", mib}, {"GiB", gib}, {"TiB", gib * kib},
	{"kB", 1e3}, {"KB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"TB", 1e12},
	{"B", 1},
}

// parseSize reads a number of bytes: "64MiB" and its like are powers of two,
// "10MB" powers of ten, a plain number is bytes.
func parseSize(text string) (int64, error) {
	digits, unit := text, int64(1)
	for _, u := range sizeUnits {
		if d, ok := strings.CutSuffix(text, u.name); ok {
			digits, unit = strings.TrimRight(d, " "), u.bytes
			break
		}
	}
	n, err := strconv.ParseUint(digits, 10, 63)
	switch {
	case errors.Is(err, strconv.ErrRange) || int64(n) > math.MaxInt64/unit:
		return 0, fmt.Errorf("%q is too large; write at most %d bytes", text, int64(math.MaxInt64))
	case err != nil:
		return 0, fmt.Errorf("%q is not a size; write a whole number of bytes, or one with KiB, MiB, GiB, KB, MB or GB", text)
	}
	return int64(n) * unit, nil
}

// formatSize writes a size in the largest binary unit that holds it exactly.
func formatSize(n int64) string {
	for _, u := range []string{"GiB", "MiB", "KiB"} {
		for _, s := range sizeUnits {
			if s.name == u && n >= s.bytes && n%s.bytes == 0 {
				return strconv.FormatInt(n/s.bytes, 10) + u
			}
		}
	}
	return strconv.FormatInt(n, 10)
}

// parseDuration reads a Go duration that is not negative and, unless it is
// zero, has a unit.
func parseDuration(text string) (time.Duration, error) {
	d, err := time.ParseDuration(text)
	if err != nil {
		if _, bare := strconv.ParseFloat(text, 64); bare == nil {
			return 0, needsUnit(text)
		}
		return 0, fmt.Errorf("%q is not a duration; write for example 500ms, 30s, 5m or 720h", text)
	}
	if d < 0 {
		return 0, fmt.Errorf("%q is negative; write 0s or more", text)
	}
	return d, nil
}

func needsUnit(number any) error {
	return fmt.Errorf("%v has no unit; write %vs if you mean seconds", number, number)
}

// formatDuration writes a duration as people do: "5m" rather than "5m0s".
func formatDuration(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}
