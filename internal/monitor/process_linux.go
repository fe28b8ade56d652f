package monitor

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// processMemory returns the resident and the virtual size of the process in bytes.
func processMemory() (resident, virtual int64) {
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0, 0 // no /proc: shown as 0
	}
	fields := bytes.Fields(text)
	if len(fields) < 2 {
		return 0, 0
	}
	pages := func(b []byte) int64 {
		n, _ := strconv.ParseInt(string(b), 10, 64) // the kernel writes numbers
		return n * int64(os.Getpagesize())
	}
	return pages(fields[1]), pages(fields[0])
}

// descriptorLimit is how many descriptors the process may have; 0 is unknown.
func descriptorLimit() int64 {
	var l syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l) != nil {
		return 0
	}
	return int64(min(l.Cur, 1<<62))
}

// maxDescriptors is how many descriptors are looked at.
const maxDescriptors = 8192

// openDescriptors returns what each descriptor of the process refers to: a path, or
// such as "socket:[123]". It is nil where the system does not tell.
func openDescriptors() map[string]string {
	dir, err := os.Open("/proc/self/fd")
	if err != nil {
		return nil
	}
	names, err := dir.Readdirnames(maxDescriptors)
	own := strconv.Itoa(int(dir.Fd()))
	if dir.Close() != nil || err != nil {
		return nil
	}
	all := make(map[string]string, len(names))
	for _, name := range names {
		if name == own {
			continue
		}
		// One that was closed meanwhile has no link.
		if target, err := os.Readlink(filepath.Join("/proc/self/fd", name)); err == nil {
			all[name] = strings.TrimSuffix(target, " (deleted)")
		}
	}
	return all
}
