package spool

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
)

// directory is what the spool does with its folder. Tests put one in its place
// that loses, tears and fails.
type directory interface {
	// create makes a file that must not exist, open one that must.
	create(name string) (file, error)
	open(name string) (file, error)
	remove(name string) error
	rename(from, to string) error
	list() ([]listed, error)
	// sync makes durable which names exist, not what is in the files.
	sync() error
	io.Closer
}

type file interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	Sync() error
	Truncate(size int64) error
}

type listed struct {
	name string
	size int64
}

// osDirectory is a directory of the operating system, locked for as long as it
// is open.
type osDirectory struct {
	path   string
	handle *os.File // of the directory, for sync
	lock   *os.File
}

const lockName = "lock"

func openDirectory(path string) (*osDirectory, error) {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, fmt.Errorf("spool: create %s: %w", path, err)
	}
	handle, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("spool: open %s: %w", path, err)
	}
	lock, err := os.OpenFile(filepath.Join(path, lockName), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("spool: open the lock in %s: %w", path, err), handle.Close())
	}
	// The kernel gives the lock back when the process dies, however it dies.
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		if errors.Is(err, syscall.EWOULDBLOCK) {
			err = fmt.Errorf("spool: %w: %s; give each process a data directory of its own", ErrLocked, path)
		} else {
			err = fmt.Errorf("spool: lock %s: %w", path, err)
		}
		return nil, errors.Join(err, lock.Close(), handle.Close())
	}
	return &osDirectory{path: path, handle: handle, lock: lock}, nil
}

func (d *osDirectory) create(name string) (file, error) {
	return openFile(filepath.Join(d.path, name), os.O_CREATE|os.O_EXCL|os.O_RDWR)
}

func (d *osDirectory) open(name string) (file, error) {
	return openFile(filepath.Join(d.path, name), os.O_RDWR)
}

// openFile keeps a nil *os.File from becoming a file that is not nil.
func openFile(path string, flag int) (file, error) {
	f, err := os.OpenFile(path, flag, 0o600)
	if err != nil {
		return nil, err
	}
	return f, nil
}

func (d *osDirectory) remove(name string) error { return os.Remove(filepath.Join(d.path, name)) }

func (d *osDirectory) rename(from, to string) error {
	return os.Rename(filepath.Join(d.path, from), filepath.Join(d.path, to))
}

func (d *osDirectory) list() ([]listed, error) {
	entries, err := os.ReadDir(d.path)
	if err != nil {
		return nil, err
	}
	files := make([]listed, 0, len(entries))
	for _, e := range entries {
		info, err := e.Info()
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if info.Mode().IsRegular() {
			files = append(files, listed{e.Name(), info.Size()})
		}
	}
	return files, nil
}

func (d *osDirectory) sync() error { return d.handle.Sync() }

func (d *osDirectory) Close() error { return errors.Join(d.lock.Close(), d.handle.Close()) }
