// Package doctor looks at everything that a proxy with a given configuration
// needs, and says of each whether it is right, what it means if not, and what to
// do.
//
// It first gathers facts, all at the same time and each within a deadline, and
// then judges them: a check is a function from facts to results, which does
// nothing else. It changes nothing that stays, takes no lock, and may be used
// while a proxy runs with the same configuration. It asks no model to generate
// anything unless it is told to.
package doctor

import (
	"context"
	"time"

	"github.com/vega-proxy/vega-proxy/internal/config"
)

const (
	// enough is how long anything is waited for. All together must be done
	// within three seconds, also where everything is dead.
	enough = 2300 * time.Millisecond
	// grace is for what was told to end to say why.
	grace = 200 * time.Millisecond
	// generation is how long a model may take for a few words: it may have to be
	// loaded first.
	generation = 60 * time.Second
)

// Options is what the configuration does not say.
type Options struct {
	// File is the configuration's own file, "" where there is none.
	File string
	// Warnings are what loading the configuration warned about.
	Warnings []string
	// Admin is the base URL at which this machine reaches admin.listen.
	Admin string
	// Key is shown to upstreams for which no credential is configured, as a client
	// would show it; "" shows none.
	Key string
	// Generate asks a model of each upstream for a few words, to see whether they
	// come one by one. That may load a model, and may cost money.
	Generate bool
}

// Status is the judgement on one thing.
type Status string

// All there are, the worst one last.
const (
	Skipped Status = "skipped" // could not be looked at, or there is nothing to look at
	OK      Status = "ok"
	Warning Status = "warning" // works, and may not be what is wanted
	Wrong   Status = "wrong"   // does not work, or will not when it is needed
)

// Result is what one check says of one thing.
type Result struct {
	Check string `json:"check"`
	// Subject is which one, where there may be several: an upstream, a listener.
	Subject string `json:"subject,omitempty"`
	Status  Status `json:"status"`
	Found   string `json:"found"`
	// Meaning and Remedy are empty unless something is wrong, or may be.
	Meaning string `json:"meaning,omitempty"`
	Remedy  string `json:"remedy,omitempty"`
}

// Report is what all checks say, in a fixed order.
type Report struct {
	// Status is the worst of all.
	Status   Status         `json:"status"`
	Counts   map[Status]int `json:"counts"`
	Checks   []Result       `json:"checks"`
	Duration float64        `json:"duration_seconds"`
}

// Examine gathers and judges. It ends within three seconds, or with Generate
// within a little more than a minute.
func Examine(ctx context.Context, cfg *config.Config, o Options) Report {
	start := time.Now()
	f := gather(ctx, cfg, o)
	var results []Result
	for _, c := range checks {
		for _, r := range c.judge(f) {
			r.Check = c.Name
			results = append(results, r)
		}
	}
	return report(results, time.Since(start))
}

// Refused is the report on a configuration that cannot be used: nothing else can
// be looked at.
func Refused(problems config.Problems) Report {
	var results []Result
	for _, p := range problems {
		r := wrong(p.Path+": "+p.Message, "the proxy refuses to start, with exit code 78", "correct the setting; vega-proxy validate says the same at once")
		r.Check = "config.valid"
		results = append(results, r)
	}
	return report(results, 0)
}

func report(results []Result, took time.Duration) Report {
	r := Report{Status: OK, Checks: results, Counts: map[Status]int{Skipped: 0, OK: 0, Warning: 0, Wrong: 0}, Duration: took.Seconds()}
	for _, x := range results {
		r.Counts[x.Status]++
	}
	switch {
	case r.Counts[Wrong] > 0:
		r.Status = Wrong
	case r.Counts[Warning] > 0:
		r.Status = Warning
	}
	return r
}

func ok(found string) Result      { return Result{Status: OK, Found: found} }
func skipped(found string) Result { return Result{Status: Skipped, Found: found} }

func warning(found, meaning, remedy string) Result {
	return Result{Status: Warning, Found: found, Meaning: meaning, Remedy: remedy}
}

func wrong(found, meaning, remedy string) Result {
	return Result{Status: Wrong, Found: found, Meaning: meaning, Remedy: remedy}
}
