//go:build prove

package main

import "testing"

// TestDrainOften is TestDrainBesideTheApplication with 20 ends and 100 streams.
func TestDrainOften(t *testing.T) { drainUnderLoad(t, 20, 100) }
