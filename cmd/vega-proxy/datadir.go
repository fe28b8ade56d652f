package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// openDataDir makes the data directory if need be and locks it: two processes
// that write one spool would lose conversations. The func it returns unlocks.
func openDataDir(dir string) (unlock func() error, err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("data_dir: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("data_dir: %w; give the user that runs the proxy the right to write there, or set another directory", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("data_dir: another vega-proxy uses %s; stop it, or give this one a data_dir of its own", dir)
		}
		return nil, fmt.Errorf("data_dir: lock %s: %w", dir, err)
	}
	return f.Close, nil
}
