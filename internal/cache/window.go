package cache

// window is a list of the entries that were used last, bounded by entries and by
// bytes. It has no lock of its own.
type window struct {
	maxEntries, maxBytes int64
	bytes                int64
	places               map[slot]*Entry
	latest, oldest       *Entry // by use, the ends of a list
}

func newWindow(maxEntries, maxBytes int64) window {
	return window{maxEntries: maxEntries, maxBytes: maxBytes, places: make(map[slot]*Entry)}
}

// use returns the entry of a slot, as the last one used, or nil.
func (w *window) use(sl slot) *Entry {
	e := w.places[sl]
	if e != nil {
		e.again = true
		if e != w.latest {
			w.unlink(e)
			w.link(e)
		}
	}
	return e
}

// put adds an entry and returns the one that it replaces.
func (w *window) put(sl slot, e *Entry) (old *Entry) {
	if old = w.places[sl]; old != nil {
		w.unlink(old)
		e.again = true
	}
	w.places[sl] = e
	w.link(e)
	return old
}

// link makes an entry the last one used.
func (w *window) link(e *Entry) {
	w.bytes += e.size
	e.older = w.latest
	if w.latest != nil {
		w.latest.newer = e
	} else {
		w.oldest = e
	}
	w.latest = e
}

func (w *window) unlink(e *Entry) {
	w.bytes -= e.size
	if e.newer != nil {
		e.newer.older = e.older
	} else {
		w.latest = e.older
	}
	if e.older != nil {
		e.older.newer = e.newer
	} else {
		w.oldest = e.newer
	}
	e.newer, e.older = nil, nil
}

// full tells that the bounds are not kept.
func (w *window) full() bool { return int64(len(w.places)) > w.maxEntries || w.bytes > w.maxBytes }

// overflow removes and returns the entries used longest ago until the bounds are
// kept, the first of them first. Of small ones it takes some more, so that a window
// that stays full gives some up now and then, and not one each time.
func (w *window) overflow() (over []*Entry) {
	if !w.full() {
		return nil
	}
	more, room := min(atOnce, w.maxEntries/16), min(movedAtOnce, w.maxBytes/16)
	over = make([]*Entry, 0, max(more, 1))
	bytes := int64(0)
	for w.full() || w.oldest != nil && int64(len(over)) < more && bytes+w.oldest.size <= room {
		e := w.oldest
		w.remove(e.slot(), e)
		bytes += e.size
		over = append(over, e)
	}
	return over
}

// remove takes this very entry out, if it is there.
func (w *window) remove(sl slot, e *Entry) {
	if w.places[sl] == e {
		w.unlink(e)
		delete(w.places, sl)
	}
}

// all returns the entries in the window.
func (w *window) all() []*Entry {
	all := make([]*Entry, 0, len(w.places))
	for e := w.latest; e != nil; e = e.older {
		all = append(all, e)
	}
	return all
}
