package main

import (
	"strings"
	"testing"
)

func TestVerdict(t *testing.T) {
	b := bound{ratio: true, must: 0.5, aim: 0.35}
	tests := []struct {
		name string
		e    estimate
		want string
	}{
		{"nothing measured", estimate{}, "not measured"},
		{"below the aim", estimate{9, 0.30, 0.28, 0.33}, "aim met"},
		{"at the aim", estimate{9, 0.35, 0.35, 0.35}, "aim met"},
		{"below the aim, perhaps", estimate{9, 0.34, 0.30, 0.40}, "aim met, not for sure"},
		{"between", estimate{9, 0.40, 0.38, 0.45}, "met"},
		{"between, perhaps", estimate{9, 0.48, 0.40, 0.55}, "met, not for sure"},
		{"above", estimate{9, 0.60, 0.55, 0.70}, "MISSED"},
		{"above, perhaps", estimate{9, 0.52, 0.49, 0.70}, "MISSED, not for sure"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := b.verdict(tt.e); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

// A slow round (the third) falls on all proxies, and leaves the ratios as they are.
func TestTables(t *testing.T) {
	var rs results
	for round, base := range []string{"100", "100", "300"} {
		for proxy, report := range map[string]string{
			"direct":  `{"latency":{"p50_us":` + base + `},"cpu_us_per_req":1}`,
			"goproxy": `{"latency":{"p50_us":` + base + `0},"cpu_us_per_req":` + base + `,"errors":1}`,
			"vega":    `{"latency":{"p50_us":` + base + `},"cpu_us_per_req":20}`,
		} {
			r, err := newRun("S", proxy, round, []byte(report))
			if err != nil {
				t.Fatal(err)
			}
			rs = append(rs, r)
		}
	}
	s := scenario{title: "a test", args: []string{"-x"}, mark: "goproxy", figures: []figure{
		cpuReq.within(true, 0.5, 0.35),
		figure{title: "added µs", key: "latency.p50_us", scale: 1, added: true}.within(false, 5, 1),
	}}
	var got strings.Builder
	s.printTable(&got, "S", 3, []string{"direct", "goproxy", "vega"}, rs)
	s.printBounds(&got, "S", 3, rs)
	const want = `
### S: a test

` + "`llmload -x`" + `

| proxy | CPU µs/request | ÷ goproxy | added µs | ÷ goproxy | errors |
|---|---:|---:|---:|---:|---:|
| direct | – | – | – | – | 0 |
| goproxy | 100.0 [100.0–300.0] | 1.00 [1.00–1.00] | 900 [900–2700] | 1.00 [1.00–1.00] | 3 |
| vega | 20.0 [20.0–20.0] | 0.20 [0.07–0.20] | 0 [0–0] | 0.00 [0.00–0.00] | 0 |
| S | CPU µs/request ÷ goproxy | 0.20 [0.07–0.20] | 0.50 | 0.35 | aim met |
| S | added µs | 0 [0–0] | 5.00 | 1.00 | aim met |
`
	if got.String() != want {
		t.Errorf("got %s\nwant %s", got.String(), want)
	}
}
