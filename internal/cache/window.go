package cache

import "container/list"

// window is a list of the entries that were used last, bounded by entries and by
// bytes. It has no lock of its own.
type window struct {
	maxEntries, maxBytes int64
	bytes                int64
	order                *list.List // of *Entry, the last used first
	places               map[slot]*list.Element
}

func newWindow(maxEntries, maxBytes int64) window {
	return window{maxEntries: maxEntries, maxBytes: maxBytes, order: list.New(), places: make(map[slot]*list.Element)}
}

// use returns the entry of a slot, as the last one used, or nil.
func (w *window) use(sl slot) *Entry {
	place, ok := w.places[sl]
	if !ok {
		return nil
	}
	w.order.MoveToFront(place)
	return place.Value.(*Entry)
}

// put adds an entry and returns the one that it replaces.
func (w *window) put(sl slot, e *Entry) (old *Entry) {
	w.bytes += e.size
	if place, ok := w.places[sl]; ok {
		old = place.Value.(*Entry)
		w.bytes -= old.size
		place.Value = e
		w.order.MoveToFront(place)
		return old
	}
	w.places[sl] = w.order.PushFront(e)
	return nil
}

// overflow removes and returns the entry used longest ago while the bounds are
// not kept, else nil.
func (w *window) overflow() *Entry {
	if int64(w.order.Len()) <= w.maxEntries && w.bytes <= w.maxBytes {
		return nil
	}
	e := w.order.Back().Value.(*Entry)
	w.remove(e.slot(), e)
	return e
}

// remove takes this very entry out, if it is there.
func (w *window) remove(sl slot, e *Entry) {
	if place, ok := w.places[sl]; ok && place.Value == e {
		w.order.Remove(place)
		delete(w.places, sl)
		w.bytes -= e.size
	}
}

// all returns the entries in the window.
func (w *window) all() []*Entry {
	all := make([]*Entry, 0, w.order.Len())
	for place := w.order.Front(); place != nil; place = place.Next() {
		all = append(all, place.Value.(*Entry))
	}
	return all
}
