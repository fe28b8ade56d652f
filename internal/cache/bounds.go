package cache

// bounds are how much each part may hold.
type bounds struct{ windowEntries, windowBytes, mainEntries, mainBytes int64 }

func boundsOf(cfg Config) bounds {
	entries, bytes := max(int64(cfg.MaxSize), 1), max(cfg.MaxBytes, 1)
	// The window has three quarters, and can hold the largest entry. With less it is
	// clearly behind a list of the last used where all is asked again soon or never;
	// with more, loops over many questions push out what is asked for all day.
	biggest := min(cfg.MaxEntryBytes+overhead+4<<10, bytes)
	b := bounds{windowEntries: entries - entries/4, windowBytes: max(bytes-bytes/4, biggest)}
	b.mainEntries, b.mainBytes = entries-b.windowEntries, bytes-b.windowBytes
	return b
}

func (b bounds) minCost() int64 { return max(b.mainBytes/b.mainEntries, 1) }

// maxCost allows so many entries, and not one more.
func (b bounds) maxCost() int64 { return min(b.mainEntries*b.minCost(), b.mainBytes) }

// whole gives the window what there is.
func (s *store) whole(b bounds) {
	s.window.maxEntries, s.window.maxBytes = b.windowEntries+b.mainEntries, b.windowBytes+b.mainBytes
}

// resize sets other bounds. They hold once all that is there now is gone.
func (s *store) resize(cfg Config) {
	b := boundsOf(cfg)
	s.closing.Lock()
	defer s.closing.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.limit.Store(b.windowBytes)
	switch {
	case s.main == nil:
		s.whole(b)
	case b.mainEntries <= 0 || b.mainBytes <= 0:
		s.whole(b)
		s.main.UpdateMaxCost(0)
	default:
		s.window.maxEntries, s.window.maxBytes = b.windowEntries, b.windowBytes
		s.minCost = b.minCost()
		s.main.UpdateMaxCost(b.maxCost())
	}
}
