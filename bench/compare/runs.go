package main

import "encoding/json"

// run is one run of llmload against one proxy, as kept in the results file.
type run struct {
	Scenario string          `json:"scenario"`
	Proxy    string          `json:"proxy"`
	Round    int             `json:"round"`
	Report   json.RawMessage `json:"report"`

	values map[string]float64 // the report's numbers by their "a.b" keys
}

// newRun reads llmload's report.
func newRun(scenario, proxy string, round int, report []byte) (run, error) {
	r := run{Scenario: scenario, Proxy: proxy, Round: round, Report: report, values: map[string]float64{}}
	var v map[string]any
	if err := json.Unmarshal(report, &v); err != nil {
		return run{}, err
	}
	r.flatten("", v)
	return r, nil
}

func (r run) flatten(prefix string, v map[string]any) {
	for k, v := range v {
		switch v := v.(type) {
		case float64:
			r.values[prefix+k] = v
		case map[string]any:
			r.flatten(prefix+k+".", v)
		}
	}
}

// foreign is the share of the machine that other programs used meanwhile.
func (r run) foreign() float64 { return r.values["foreign_cpu_share"] }

// errors are answers that were wrong or missing, and closes that upstream was
// never told of.
func (r run) errors() float64 { return r.values["errors"] + r.values["never_cancelled"] }

// results are the runs of one scenario.
type results []run

func (rs results) find(proxy string, round int) (run, bool) {
	for _, r := range rs {
		if r.Proxy == proxy && r.Round == round {
			return r, true
		}
	}
	return run{}, false
}

// value is a figure of one proxy in one round, if it was measured.
func (rs results) value(f figure, proxy string, round int) (float64, bool) {
	r, ok := rs.find(proxy, round)
	if !ok || f.ofProxy && proxy == "direct" {
		return 0, false
	}
	v, ok := r.values[f.key]
	if f.added {
		base, hasBase := rs.find("direct", round)
		v -= base.values[f.key]
		ok = ok && hasBase && proxy != "direct"
	}
	return v * f.scale, ok
}

// estimate is a figure of a proxy over all rounds.
func (rs results) estimate(f figure, proxy string, rounds int) estimate {
	var vs []float64
	for round := range rounds {
		if v, ok := rs.value(f, proxy, round); ok {
			vs = append(vs, v)
		}
	}
	return estimateMedian(vs)
}

// ratio is the median over the rounds of a proxy's figure divided by the
// mark's in the same round, so that a slow spell of the machine falls on both.
// A round in which the mark's figure is not above zero (noise in what it adds)
// has no ratio.
func (rs results) ratio(f figure, proxy, mark string, rounds int) estimate {
	var vs []float64
	for round := range rounds {
		v, ok := rs.value(f, proxy, round)
		m, hasMark := rs.value(f, mark, round)
		if ok && hasMark && m > 0 {
			vs = append(vs, v/m)
		}
	}
	return estimateMedian(vs)
}

// failed counts the errors of a proxy over all rounds.
func (rs results) failed(proxy string) (sum float64) {
	for _, r := range rs {
		if r.Proxy == proxy {
			sum += r.errors()
		}
	}
	return sum
}
