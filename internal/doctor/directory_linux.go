package doctor

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// fileSystems are those that are no good place for a log, by their magic number.
var fileSystems = map[int64]string{
	0x01021994: "tmpfs",
	0x794c7630: "overlay",
	0x6969:     "nfs",
	0xff534d42: "cifs",
	0xfe534d42: "smb2",
	0x65735546: "fuse",
}

func volume(path string) (free int64, kind string) {
	var s syscall.Statfs_t
	if syscall.Statfs(path, &s) != nil {
		return -1, ""
	}
	return int64(s.Bavail) * int64(s.Bsize), fileSystems[int64(uint32(s.Type))]
}

// lockedBy finds a lock in the kernel's list: to try for it would be in the way of
// a proxy that starts just then.
func lockedBy(path string) int {
	info, err := os.Stat(path)
	if os.IsNotExist(err) {
		return 0
	}
	list, err2 := os.ReadFile("/proc/locks")
	if err != nil || err2 != nil {
		return -1
	}
	st := info.Sys().(*syscall.Stat_t)
	inode := fmt.Sprintf(":%d", st.Ino)
	for line := range strings.Lines(string(list)) {
		// 1: FLOCK  ADVISORY  WRITE 4711 08:01:131 0 EOF
		fields := strings.Fields(line)
		if len(fields) < 6 || fields[1] != "FLOCK" || !strings.HasSuffix(fields[5], inode) {
			continue
		}
		if pid, err := strconv.Atoi(fields[4]); err == nil {
			return pid
		}
	}
	return 0
}
