package doctor

import (
	"fmt"
	"io"
	"strings"
)

// signs begin a line, so that a glance finds what matters.
var signs = map[Status]string{OK: "ok", Warning: "WARNING", Wrong: "WRONG", Skipped: "-"}

// groups are the headings, by the first part of a check's name.
var groups = map[string]string{
	"config":   "Configuration",
	"upstream": "Upstreams",
	"log":      "Conversation log",
	"data":     "Data directory",
	"listen":   "Listeners",
	"keys":     "Keys",
	"process":  "Process",
	"others":   "Other servers",
}

// WriteText writes the report for people: each check in its group, and below what
// is not right what that means and what to do. Without all, checks that had
// nothing to look at are left out.
func (r Report) WriteText(w io.Writer, all bool) error {
	p := &printer{w: w}
	last := ""
	for _, c := range r.Checks {
		if c.Status == Skipped && !all {
			continue
		}
		group, name, _ := strings.Cut(c.Check, ".")
		if group != last {
			p.line("%s", groups[group])
			last = group
		}
		found := c.Found
		if c.Subject != "" {
			found = c.Subject + ": " + found
		}
		p.line("  %-8s %-12s %s", signs[c.Status], name, clean(found))
		if c.Meaning != "" {
			p.line("  %21s means: %s", "", clean(c.Meaning))
			p.line("  %21s do:    %s", "", clean(c.Remedy))
		}
	}
	p.line("")
	p.line("%d wrong, %d to look at, %d ok, %d not looked at; %.1f s", r.Counts[Wrong], r.Counts[Warning], r.Counts[OK], r.Counts[Skipped], r.Duration)
	return p.err
}

// printer writes lines until one fails.
type printer struct {
	w   io.Writer
	err error
}

func (p *printer) line(format string, args ...any) {
	if p.err == nil {
		_, p.err = fmt.Fprintf(p.w, format+"\n", args...)
	}
}

// clean keeps what servers say from moving the cursor.
func clean(text string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, text)
}
