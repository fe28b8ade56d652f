package main

import "testing"

// The pairs are those of the tables of order-statistic intervals (at least
// 95 %); below six values there is none, and the whole range stands.
func TestOutside(t *testing.T) {
	for n, want := range map[int]int{1: 0, 2: 0, 5: 0, 6: 0, 8: 0, 9: 1, 11: 1, 12: 2, 15: 3, 20: 5, 25: 7} {
		if got := outside(n); got != want {
			t.Errorf("outside(%d) = %d, want %d", n, got, want)
		}
	}
}

func TestEstimateMedian(t *testing.T) {
	tests := []struct {
		name string
		in   []float64
		want estimate
	}{
		{"none", nil, estimate{}},
		{"one", []float64{7}, estimate{1, 7, 7, 7}},
		{"even", []float64{4, 1, 3, 2}, estimate{4, 2.5, 1, 4}},
		{"nine lose an outlier at either end", []float64{90, 2, 3, 4, 5, 6, 7, 8, -90}, estimate{9, 5, 2, 8}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := estimateMedian(tt.in); got != tt.want {
				t.Errorf("got %+v, want %+v", got, tt.want)
			}
		})
	}
}
