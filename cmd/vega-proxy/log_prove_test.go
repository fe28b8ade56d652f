//go:build prove

package main

import "testing"

// TestKilledOften is TestKilledUnderLoad with 1,000 kills, half of them with each
// database.
func TestKilledOften(t *testing.T) {
	t.Run("sqlite", func(t *testing.T) { killUnderLoad(t, 500, "") })
	t.Run("postgres", func(t *testing.T) { killUnderLoad(t, 500, newPostgres(t).URL("log")) })
}
