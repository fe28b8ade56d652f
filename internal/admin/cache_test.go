package admin

import "testing"

func TestCacheStats(t *testing.T) {
	var stats struct {
		Size    int
		HitRate float64 `json:"hit_rate"`
	}
	read(t, newFixture(t, allOn(), allParts()).ask("GET", "/admin/performance/cache/stats", "").Body.Bytes(), &stats)
	if stats.Size != 5 || stats.HitRate != 0.75 {
		t.Errorf("stats: %+v", stats)
	}
}

func TestClearCache(t *testing.T) {
	tests := []struct {
		name, query   string
		cleared, left int
	}{
		{"all", "", 5, 0},
		{"an empty query", "?", 5, 0},
		{"an empty model is all", "?model=", 5, 0},
		{"one model", "?model=m", 2, 3},
		{"an escaped name", "?model=n%3Alatest", 3, 2},
		{"a model without entries", "?model=other", 0, 5},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := newFixture(t, allOn(), allParts())
			w := f.ask("POST", "/admin/performance/cache/clear"+tt.query, "")
			var answer struct {
				Cleared int
				Stats   struct{ Size int }
			}
			read(t, w.Body.Bytes(), &answer)
			if w.Code != 200 || answer.Cleared != tt.cleared || answer.Stats.Size != tt.left {
				t.Errorf("got %d %s, want %d cleared and %d left", w.Code, w.Body, tt.cleared, tt.left)
			}
			if got := len(f.logged.with(t, "admin change")); got != 1 {
				t.Errorf("%d audit lines, want 1", got)
			}
		})
	}
}

// A mistake in the query must not clear the entries of every model.
func TestClearCacheRefuses(t *testing.T) {
	parts := allParts()
	f := newFixture(t, allOn(), parts)
	for _, query := range []string{"modle=m", "model=m&model=n", "model=m&all=1", "Model=m", "model=%zz", "model=m;x", "m"} {
		wantRefusal(t, f.ask("POST", "/admin/performance/cache/clear?"+query, ""), 400, "bad_query")
	}
	if left := parts.Cache.Clear(""); left != 5 {
		t.Errorf("%d entries are left, want all 5", left)
	}
}
