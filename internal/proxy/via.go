package proxy

import (
	"crypto/rand"
	"net/http"
	"strings"
)

const viaName = "vega-proxy"

// hops are the entries in Via that are this process's own. Its name in them is no
// other's: vega-proxies may stand in a row, and only one that is met twice makes a
// loop.
type hops struct {
	name                  string
	http10, http11, http2 string
	answer                []string // an answer's whole Via, mostly; shared, never changed
}

func newHops() *hops {
	name := viaName + "-" + strings.ToLower(rand.Text()[:8]) // 40 bits
	v := &hops{name: name, http10: "1.0 " + name, http11: "1.1 " + name, http2: "2.0 " + name}
	v.answer = []string{v.http11}
	return v
}

// received is our entry for a message that came with that version.
func (v *hops) received(major, minor int) string {
	switch {
	case major == 2:
		return v.http2
	case major == 1 && minor == 0:
		return v.http10
	default:
		return v.http11
	}
}

// met tells whether a Via names this process. The name without anything stands for
// all vega-proxies.
func (v *hops) met(h http.Header) bool {
	for _, via := range h["Via"] {
		for hop := range strings.SplitSeq(via, ",") {
			fields := strings.Fields(hop)
			if len(fields) > 1 && (strings.EqualFold(fields[1], v.name) || strings.EqualFold(fields[1], viaName)) {
				return true
			}
		}
	}
	return false
}
