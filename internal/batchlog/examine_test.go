package batchlog

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/vega-proxy/vega-proxy/internal/testkit/postgres"
)

// TestExamine: the trial sees what storing would see, and leaves nothing behind.
func TestExamine(t *testing.T) {
	// Whether the table was there before is the only difference that stays.
	good := func(x Examination) bool {
		return x.Unreachable == nil && x.Refused == nil && len(x.Missing) == 0 && x.MayDelete
	}
	t.Run("postgres", func(t *testing.T) {
		cfg := testConfig()
		cfg.Database = database(t)
		dir := t.TempDir()
		for range 2 {
			if x := Examine(t.Context(), cfg, dir); !good(x) || x.Table || x.Clock.Abs() > cfg.FlushInterval || x.Remote {
				t.Errorf("before the table is there: %+v", x)
			}
		}
		l := open(t, cfg, dir)
		appendN(l, 1)
		flushAll(t, l)
		if x := Examine(t.Context(), cfg, dir); !good(x) || !x.Table {
			t.Errorf("beside a log: %+v", x)
		}
		if found := all(t, l.Log, Query{}); len(found) != 1 {
			t.Errorf("%d rows are there", len(found))
		}
		if strings.Contains(Examine(t.Context(), cfg, dir).Where, postgres.Password) {
			t.Error("the password is shown")
		}
		execute(t, cfg.Database, "ALTER TABLE conversations DROP COLUMN altered, ADD COLUMN later text")
		if x := Examine(t.Context(), cfg, dir); !slices.Equal(x.Missing, []string{"altered"}) || !slices.Equal(x.Extra, []string{"later"}) {
			t.Errorf("an older table: %+v", x)
		}
	})
	t.Run("sqlite", func(t *testing.T) {
		cfg := testConfig()
		dir := t.TempDir()
		if x := Examine(t.Context(), cfg, filepath.Join(dir, "none")); !good(x) || x.Table {
			t.Errorf("without a data directory: %+v", x)
		}
		if x := Examine(t.Context(), cfg, dir); !good(x) || x.Table {
			t.Errorf("without a file: %+v", x)
		}
		if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
			t.Errorf("left behind: %v, %v", left, err)
		}
		l := open(t, cfg, dir)
		appendN(l, 1)
		flushAll(t, l)
		if x := Examine(t.Context(), cfg, dir); !good(x) || !x.Table {
			t.Errorf("beside a log: %+v", x)
		}
		if found := all(t, l.Log, Query{}); len(found) != 1 {
			t.Errorf("%d rows are there", len(found))
		}
		cfg.Database = "sqlite:" + filepath.Join(dir, "none", "c.db")
		if x := Examine(t.Context(), cfg, dir); x.Refused == nil {
			t.Errorf("in a directory that is not there: %+v", x)
		}
		none := filepath.Join(dir, "none.db")
		if err := os.WriteFile(none, []byte(strings.Repeat("this is no database ", 500)), 0o600); err != nil {
			t.Fatal(err)
		}
		cfg.Database = "sqlite:" + none
		if x := Examine(t.Context(), cfg, dir); x.Unreachable == nil && x.Refused == nil {
			t.Errorf("a file that is no database: %+v", x)
		}
	})
}
