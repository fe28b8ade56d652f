package doctor

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// directory is what was seen of the data directory.
type directory struct {
	path    string
	missing bool // it is made at the start, below parent
	parent  string
	err     error // it cannot be used
	mode    fs.FileMode

	write error         // of a file, which was removed again
	sync  time.Duration // the longest of a few
	free  int64         // bytes that the proxy's user may take
	kind  string        // of the file system, as far as it is known

	// locked is the process that holds it, 0 if none does, -1 if that is not known.
	locked int
	// foreign are files that this user may not write; open those that others may
	// read.
	foreign, open []string
	used          int64 // by the spool
}

const (
	syncs    = 3
	maxFiles = 2000 // that are looked at
	sample   = 64 << 10
)

func readDirectory(path string) *directory {
	d := &directory{path: path, parent: path, locked: -1}
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		d.missing, d.parent = true, existing(path)
		d.write = tryDirectory(d.parent)
		d.locked = 0
	case err != nil:
		d.err = err
		return d
	case !info.IsDir():
		d.err = errors.New("it is no directory")
		return d
	default:
		d.mode = info.Mode().Perm()
		d.write = d.tryFile()
		d.locked = lockedBy(filepath.Join(path, "lock"))
		d.readTree()
	}
	d.free, d.kind = volume(d.parent)
	return d
}

// existing is the nearest directory above a path that is there.
func existing(path string) string {
	path, err := filepath.Abs(path)
	if err != nil {
		return "."
	}
	for {
		path = filepath.Dir(path)
		if _, err := os.Stat(path); err == nil || path == filepath.Dir(path) {
			return path
		}
	}
}

// tryDirectory makes a directory as the start would.
func tryDirectory(parent string) error {
	dir, err := os.MkdirTemp(parent, ".doctor-*")
	if err != nil {
		return err
	}
	return os.Remove(dir)
}

// tryFile writes a file as the spool does, and times the disk.
func (d *directory) tryFile() (err error) {
	f, err := os.CreateTemp(d.path, ".doctor-*")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close(), os.Remove(f.Name())) }()
	for range syncs {
		if _, err := f.Write(make([]byte, sample)); err != nil {
			return err
		}
		start := time.Now()
		if err := f.Sync(); err != nil {
			return err
		}
		d.sync = max(d.sync, time.Since(start))
	}
	return nil
}

// readTree looks at the files. What vanishes meanwhile was a running proxy's.
func (d *directory) readTree() {
	seen := 0
	_ = filepath.WalkDir(d.path, func(path string, e fs.DirEntry, err error) error {
		if seen++; err != nil || seen > maxFiles || e.IsDir() {
			return nil
		}
		info, err := e.Info()
		if err != nil || !info.Mode().IsRegular() {
			return nil
		}
		name, err := filepath.Rel(d.path, path)
		if err != nil {
			return nil
		}
		if filepath.Dir(name) == "spool" {
			d.used += info.Size()
		}
		const read, write = 0x4, 0x2
		if errors.Is(syscall.Access(path, read|write), syscall.EACCES) {
			d.foreign = append(d.foreign, name)
		}
		if info.Mode().Perm()&0o077 != 0 {
			d.open = append(d.open, name)
		}
		return nil
	})
}
