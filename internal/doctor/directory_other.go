//go:build !linux

package doctor

import "syscall"

func volume(path string) (free int64, kind string) {
	var s syscall.Statfs_t
	if syscall.Statfs(path, &s) != nil {
		return -1, ""
	}
	return int64(s.Bavail) * int64(s.Bsize), ""
}

// lockedBy does not know: to try for the lock would be in the way of a proxy that
// starts just then.
func lockedBy(string) int { return -1 }
