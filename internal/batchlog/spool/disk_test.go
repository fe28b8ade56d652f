package spool

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"slices"
	"sync"
)

var (
	errCrashed = errors.New("the machine is gone")
	errFailed  = errors.New("the disk said no")
)

// disk is a directory in memory that forgets what was not synced, tears writes
// and fails.
type disk struct {
	mu      sync.Mutex
	names   map[string]*inode
	durable map[string]*inode
	unsaid  []nameChange // since the last sync of the directory

	step  int // operations so far that change or sync something
	trace []string

	crashAt int // 0: never
	tear    int // bytes of the write that the crash lets through; -1 all, and other operations too
	crashed bool

	failing func(step int, op string) (fails, happens bool)
	full    bool // writes and new files fail
	// unreadable are places of files that cannot be read.
	unreadable map[string]int64
	// gate is passed before a write or a sync.
	gate func(op string)

	removed []string
}

type inode struct {
	data    []byte
	durable []byte
	pending []change
}

// change is a write, or with data nil a truncation to off.
type change struct {
	off  int64
	data []byte
	lost bool // a sync failed on it: the kernel takes it for clean
}

type nameChange struct {
	name string
	file *inode // nil: removed
}

func newDisk() *disk {
	return &disk{names: map[string]*inode{}, durable: map[string]*inode{}, tear: -1}
}

// op counts an operation and says whether it happens and what it returns.
// through is how many bytes of a write happen.
func (d *disk) op(op string, size int) (happens bool, through int, err error) {
	if d.crashed {
		return false, 0, errCrashed
	}
	d.step++
	d.trace = append(d.trace, op)
	if d.step == d.crashAt {
		d.crashed = true
		if d.tear < 0 {
			return true, size, errCrashed
		}
		return size > 0 && d.tear > 0, min(d.tear, size), errCrashed
	}
	if d.failing != nil {
		if fails, happens := d.failing(d.step, op); fails {
			return happens, size, fmt.Errorf("%s: %w", op, errFailed)
		}
	}
	return true, size, nil
}

func (d *disk) create(name string) (file, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.names[name] != nil {
		return nil, fs.ErrExist
	}
	happens, _, err := d.op("create "+name, 0)
	if d.full && err == nil {
		return nil, errFailed
	}
	node := &inode{}
	if happens {
		d.rename1(name, node)
	}
	if err != nil {
		return nil, err
	}
	return &handle{d, node, name}, nil
}

func (d *disk) rename1(name string, node *inode) {
	if node == nil {
		delete(d.names, name)
	} else {
		d.names[name] = node
	}
	d.unsaid = append(d.unsaid, nameChange{name, node})
}

func (d *disk) open(name string) (file, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.crashed {
		return nil, errCrashed
	}
	node := d.names[name]
	if node == nil {
		return nil, fs.ErrNotExist
	}
	return &handle{d, node, name}, nil
}

func (d *disk) remove(name string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.names[name] == nil {
		return fs.ErrNotExist
	}
	happens, _, err := d.op("remove "+name, 0)
	if happens {
		d.rename1(name, nil)
		d.removed = append(d.removed, name)
	}
	return err
}

func (d *disk) rename(from, to string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	node := d.names[from]
	if node == nil {
		return fs.ErrNotExist
	}
	happens, _, err := d.op("rename "+from, 0)
	if happens {
		d.rename1(to, node)
		d.rename1(from, nil)
	}
	return err
}

func (d *disk) list() (files []listed, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.crashed {
		return nil, errCrashed
	}
	for _, name := range slices.Sorted(maps.Keys(d.names)) {
		files = append(files, listed{name, int64(len(d.names[name].data))})
	}
	return files, nil
}

func (d *disk) sync() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	happens, _, err := d.op("sync directory", 0)
	if happens {
		d.durable = maps.Clone(d.names)
		d.unsaid = nil
	}
	return err
}

func (d *disk) Close() error { return nil }

type handle struct {
	disk *disk
	node *inode
	name string
}

// change changes the disk's ways while it is in use.
func (d *disk) change(f func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	f()
}

func (d *disk) pass(op string) {
	if d.gate != nil {
		d.gate(op)
	}
}

func (h *handle) ReadAt(b []byte, off int64) (int, error) {
	h.disk.mu.Lock()
	defer h.disk.mu.Unlock()
	if h.disk.crashed {
		return 0, errCrashed
	}
	if at, ok := h.disk.unreadable[h.name]; ok && off <= at && at < off+int64(len(b)) {
		return copy(b, h.node.data[off:at]), errFailed
	}
	if off >= int64(len(h.node.data)) {
		return 0, io.EOF
	}
	n := copy(b, h.node.data[off:])
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
}

func (h *handle) WriteAt(b []byte, off int64) (int, error) {
	h.disk.pass("write " + h.name)
	h.disk.mu.Lock()
	defer h.disk.mu.Unlock()
	happens, through, err := h.disk.op("write "+h.name, len(b))
	if h.disk.full && err == nil {
		// Part of it still fits.
		through, err = len(b)/2, errFailed
	}
	if happens && through > 0 {
		c := change{off: off, data: slices.Clone(b[:through])}
		h.node.data = c.apply(h.node.data)
		h.node.pending = append(h.node.pending, c)
	}
	if err != nil {
		return through, err
	}
	return len(b), nil
}

func (h *handle) Truncate(size int64) error {
	h.disk.mu.Lock()
	defer h.disk.mu.Unlock()
	happens, _, err := h.disk.op("truncate "+h.name, 0)
	if happens {
		c := change{off: size}
		h.node.data = c.apply(h.node.data)
		h.node.pending = append(h.node.pending, c)
	}
	return err
}

func (h *handle) Sync() error {
	h.disk.pass("sync " + h.name)
	h.disk.mu.Lock()
	defer h.disk.mu.Unlock()
	happens, _, err := h.disk.op("sync "+h.name, 0)
	if happens {
		for _, c := range h.node.pending {
			if !c.lost {
				h.node.durable = c.apply(h.node.durable)
			}
		}
		h.node.pending = nil
	} else if !h.disk.crashed {
		for i := range h.node.pending {
			h.node.pending[i].lost = true
		}
	}
	return err
}

func (h *handle) Close() error { return nil }

func (c change) apply(data []byte) []byte {
	if c.data == nil {
		if c.off <= int64(len(data)) {
			return slices.Clone(data[:c.off])
		}
		return append(slices.Clone(data), make([]byte, c.off-int64(len(data)))...)
	}
	data = slices.Clone(data)
	if end := c.off + int64(len(c.data)); end > int64(len(data)) {
		data = append(data, make([]byte, end-int64(len(data)))...)
	}
	copy(data[c.off:], c.data)
	return data
}
