package wire

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// notSent are fields that this package writes itself, or that end at this hop.
var notSent = map[string]bool{
	"Connection":        true,
	"Content-Length":    true,
	"Expect":            true,
	"Host":              true,
	"Keep-Alive":        true,
	"Proxy-Connection":  true,
	"Trailer":           true,
	"Transfer-Encoding": true,
	"Upgrade":           true,
}

// check refuses what could not be sent as one request, or would be read as two.
func (r *Request) check() error {
	switch {
	case r.Method == "" || strings.ContainsFunc(r.Method, notToken):
		return fmt.Errorf("method %q is no token", r.Method)
	case r.Target == "" || strings.ContainsFunc(r.Target, notVisible):
		return fmt.Errorf("request target %q is empty or has a space or control character; percent-encode it", r.Target)
	case strings.ContainsFunc(r.Upgrade, notVisible):
		return fmt.Errorf("upgrade %q has a space or control character", r.Upgrade)
	case r.Body != nil && r.Stream != nil:
		return errors.New("both Body and Stream are set")
	}
	return nil
}

// length is the body's length, -1 if unknown.
func (r *Request) length() int64 {
	if r.Stream != nil {
		return r.Length
	}
	return int64(len(r.Body))
}

// trailerNames are the trailer fields that can be announced, sorted.
func (r *Request) trailerNames() []string {
	if r.Trailer == nil || r.length() >= 0 {
		return nil
	}
	var names []string
	for name := range r.Trailer() {
		if name = http.CanonicalHeaderKey(name); !notSent[name] && !strings.ContainsFunc(name, notToken) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// lengthExpected tells whether a request without a body says so: to these
// methods servers may answer 411 otherwise.
func lengthExpected(method string) bool {
	return method == http.MethodPost || method == http.MethodPut || method == http.MethodPatch
}

func notVisible(c rune) bool { return c <= ' ' || c == 0x7f }

func notToken(c rune) bool {
	return c <= ' ' || c >= 0x7f || strings.ContainsRune(`()<>@,;:\"/[]?={}`, c)
}
