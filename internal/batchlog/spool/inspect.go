package spool

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

// inspections is how often Inspect looks again when segments came or went while
// it looked.
const inspections = 50

var errMoving = errors.New("the segments changed too often to be counted; try again")

// Inspect returns the counters of the spool in a directory, and what Open would
// find there. It locks and changes nothing: a process may use the spool meanwhile, and
// what its memory alone knows, such as a record that the disk just refused, is not
// counted yet. A directory that is not there counts nothing.
func Inspect(dir string) (Counters, Recovery, error) {
	for range inspections {
		c, found, err := inspect(dir)
		if !errors.Is(err, errMoving) {
			return c, found, err
		}
	}
	return Counters{}, Recovery{}, fmt.Errorf("spool: %s: %w", dir, errMoving)
}

func inspect(dir string) (c Counters, found Recovery, err error) {
	d, err := freeze(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return Counters{}, Recovery{}, nil
	}
	if err != nil {
		return Counters{}, Recovery{}, fmt.Errorf("spool: %w", err)
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	s, found, err := open(Config{MaxBytes: minMaxBytes}, d)
	if err != nil {
		return Counters{}, found, err
	}
	return s.Counters(), found, nil
}

// frozen is a directory as it was at one moment. What is written to it goes
// nowhere.
type frozen struct {
	names []listed
	state []byte // nil if there is none
	files []*os.File
}

// freeze opens all files, so that one that is removed later is read all the
// same, and makes sure that none came or went before all were open.
func freeze(path string) (d *frozen, err error) {
	live := &osDirectory{path: path}
	before, err := live.list()
	if err != nil {
		return nil, err
	}
	d = &frozen{}
	defer func() {
		if err != nil {
			err = errors.Join(err, d.Close())
		}
	}()
	// The state comes before the sizes: it knows of nothing that is beyond them.
	if d.state, err = os.ReadFile(filepath.Join(path, stateName)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return d, err
	}
	for _, f := range before {
		opened, err := os.Open(filepath.Join(path, f.name))
		if errors.Is(err, fs.ErrNotExist) {
			return d, errMoving
		}
		if err != nil {
			return d, err
		}
		d.files = append(d.files, opened)
	}
	d.names, err = live.list()
	if err == nil && !slices.EqualFunc(before, d.names, func(a, b listed) bool { return a.name == b.name }) {
		err = errMoving
	}
	return d, err
}

func (d *frozen) open(name string) (file, error) {
	if name == stateName && d.state != nil {
		return frozenFile{bytes.NewReader(d.state)}, nil
	}
	for _, f := range d.files {
		if filepath.Base(f.Name()) == name {
			return frozenFile{f}, nil
		}
	}
	return nil, fs.ErrNotExist
}

func (d *frozen) list() ([]listed, error)     { return d.names, nil }
func (d *frozen) create(string) (file, error) { return frozenFile{bytes.NewReader(nil)}, nil }
func (d *frozen) remove(string) error         { return nil }
func (d *frozen) rename(_, _ string) error    { return nil }
func (d *frozen) sync() error                 { return nil }

func (d *frozen) Close() (err error) {
	for _, f := range d.files {
		err = errors.Join(err, f.Close())
	}
	return err
}

// frozenFile is closed with its directory.
type frozenFile struct{ io.ReaderAt }

func (frozenFile) WriteAt(p []byte, _ int64) (int, error) { return len(p), nil }
func (frozenFile) Sync() error                            { return nil }
func (frozenFile) Truncate(int64) error                   { return nil }
func (frozenFile) Close() error                           { return nil }
