package main

import (
	"fmt"
	"io"
	"strconv"
	"strings"
)

// printTable prints a scenario's figures as Markdown, a row for each proxy.
func (s scenario) printTable(w io.Writer, name string, rounds int, proxies []string, rs results) {
	fmt.Fprintf(w, "\n### %s: %s\n\n`llmload %s`\n\n", name, s.title, strings.Join(s.args, " "))
	head, rule := "| proxy ", "|---"
	for _, f := range s.figures {
		head += "| " + f.title + " "
		rule += "|---:"
		if s.hasRatio(f) {
			head += "| ÷ " + s.mark + " "
			rule += "|---:"
		}
	}
	fmt.Fprintf(w, "%s| errors |\n%s|---:|\n", head, rule)
	for _, p := range proxies {
		fmt.Fprintf(w, "| %s ", p)
		for _, f := range s.figures {
			fmt.Fprintf(w, "| %s ", rs.estimate(f, p, rounds).text(f.digits))
			if s.hasRatio(f) {
				fmt.Fprintf(w, "| %s ", rs.ratio(f, p, s.mark, rounds).text(2))
			}
		}
		fmt.Fprintf(w, "| %.0f |\n", rs.failed(p))
	}
}

// hasRatio: the ratio to the mark is shown of figures held to a bound, and of
// the first.
func (s scenario) hasRatio(f figure) bool {
	return s.mark != "" && (f.bound != nil || f.title == s.figures[0].title)
}

// text is "median [low–high]".
func (e estimate) text(digits int) string {
	if e.n == 0 {
		return "–"
	}
	f := func(v float64) string { return strconv.FormatFloat(v, 'f', digits, 64) }
	if e.n == 1 {
		return f(e.mid)
	}
	return fmt.Sprintf("%s [%s–%s]", f(e.mid), f(e.low), f(e.high))
}

// intervals says what the brackets of all tables are.
func intervals(rounds int) string {
	switch {
	case rounds == 1:
		return "One round: no interval."
	case rounds < minRounds:
		return fmt.Sprintf("Medians of %d rounds, in brackets their whole range: a 95 %% interval of the median needs %d.", rounds, minRounds)
	}
	k := outside(rounds)
	return fmt.Sprintf("Medians of %d rounds, in brackets their 95 %% interval by order statistics (the %s lowest to the %s highest value).",
		rounds, ordinal(k+1), ordinal(k+1))
}

func ordinal(n int) string {
	switch n {
	case 1:
		return "very"
	case 2:
		return "2nd"
	case 3:
		return "3rd"
	}
	return strconv.Itoa(n) + "th"
}

// printBounds prints what vega-proxy is held to, and whether it keeps it.
func (s scenario) printBounds(w io.Writer, name string, rounds int, rs results) {
	const judged = "vega"
	for _, f := range s.figures {
		if f.bound == nil {
			continue
		}
		e, digits, title := rs.estimate(f, judged, rounds), f.digits, f.title
		if f.bound.ratio {
			e, digits, title = rs.ratio(f, judged, s.mark, rounds), 2, f.title+" ÷ "+s.mark
		}
		fmt.Fprintf(w, "| %s | %s | %s | %.2f | %.2f | %s |\n", name, title, e.text(digits), f.bound.must, f.bound.aim, f.bound.verdict(e))
	}
}

const boundsHead = "\n### Bounds of vega-proxy\n\n| | figure | measured | must ≤ | aim ≤ | verdict |\n|---|---|---:|---:|---:|---|\n"

// verdict judges the median, and says where its interval holds the bound too:
// more rounds might tell otherwise.
func (b bound) verdict(e estimate) string {
	if e.n == 0 {
		return "not measured"
	}
	word, near := "MISSED", b.must
	switch {
	case e.mid <= b.aim:
		word, near = "aim met", b.aim
	case e.mid <= b.must:
		word = "met"
	}
	if e.low <= near && near < e.high {
		word += ", not for sure"
	}
	return word
}
