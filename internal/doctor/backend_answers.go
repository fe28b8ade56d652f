package doctor

import (
	"bytes"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

// reached tells whether an upstream was asked something.
func (b *backend) reached() bool { return b.models != nil }

// checkAnswers: it must speak HTTP, in time, and not of trouble of its own.
func checkAnswers(_ *facts, b *backend) Result {
	if !b.reached() {
		return unreached
	}
	a := b.models
	speaksTLS := a.err != nil && strings.Contains(a.err.Error(), `malformed HTTP response "\x15\x03`) ||
		a.status == http.StatusBadRequest && bytes.Contains(a.body, []byte("HTTPS"))
	switch {
	case speaksTLS && b.base.Scheme == "http":
		return wrong("it speaks TLS, and the URL is http", "every request fails", "write https:// in the URL")
	case isTimeout(a.err):
		return wrong(fmt.Sprintf("it takes connections, and did not answer within %s", enough),
			"it hangs or is overloaded: requests wait up to first_byte_timeout", "restart the backend, or see what keeps it busy")
	case a.err != nil:
		return wrong("no answer in HTTP: "+cause(a.err), "requests fail with upstream_broke", "see whether the port in the URL is that of the model server's API")
	case a.status == http.StatusServiceUnavailable && bytes.Contains(a.body, []byte("oading")):
		return warning("it is loading its model", "requests get 503 until it is ready", "wait, and try again")
	case a.status == http.StatusTooManyRequests:
		return warning("it answers 429: too many requests", "clients get the same", "wait, or raise the limit of the account")
	case a.status >= 500:
		return wrong(fmt.Sprintf("it answers %s with status %d: %.120s", modelPath, a.status, a.body),
			"it is in trouble itself, and requests will open its circuit breaker", "look into the backend's own log")
	case a.status >= 300 && a.status < 400:
		return wrong(fmt.Sprintf("it redirects to %s", a.header.Get("Location")), "redirects are passed on, and clients would go around the proxy",
			"write the address to which it redirects into the URL")
	case strings.HasPrefix(a.header.Get("Content-Type"), "text/html"):
		return wrong("it answers with a web page", "this is no API of a model server, but perhaps its user interface",
			"write the address of the API into the URL: Ollama has port 11434, vLLM 8000, llama.cpp 8080, LM Studio 1234")
	}
	return ok(fmt.Sprintf("it answers %s with status %d", modelPath, a.status))
}

// checkPath: a path in the URL is put before each request's path, which begins
// with /v1 or /api already.
func checkPath(_ *facts, b *backend) Result {
	path := strings.TrimSuffix(b.base.Path, "/")
	switch {
	case !b.reached() || b.models.err != nil:
		return unreached
	case path == "" && b.models.status == http.StatusNotFound && b.kind.name == "":
		return wrong("there is no "+modelPath+", nor anything else of a server that is known", "this is no model server, or its API has a path before it",
			"correct the host or the port in the URL; or see what path the server's documentation has before /v1, and put that into the URL")
	case path == "" && b.models.status == http.StatusNotFound:
		return warning("there is no "+modelPath, "clients that list models get 404, too", "none, if your clients do not need it")
	case path == "":
		return ok("the URL has no path")
	case b.shorter.good():
		return wrong(fmt.Sprintf("%s is under the server's root, and not under %s", modelPath, path),
			fmt.Sprintf("a client's %s goes to %s%s, which is not there", modelPath, path, modelPath),
			fmt.Sprintf("remove %s from the URL: clients' paths begin with /v1 or /api themselves", path))
	}
	return ok(fmt.Sprintf("its API is under %s", path))
}

func checkKind(_ *facts, b *backend) Result {
	switch {
	case !b.reached() || b.models.err != nil:
		return unreached
	case b.kind.name == "":
		return ok("it is none of the servers that are known by sight")
	case b.kind.name == "vega-proxy":
		return warning("it is another vega-proxy", "conversations are logged and cached twice, and retries multiply", "send requests to one of them only, unless that is meant")
	}
	return ok("it is " + b.kind.String())
}

func checkAuthorised(_ *facts, b *backend) Result {
	if !b.reached() || b.models.err != nil {
		return unreached
	}
	status := b.models.status
	switch {
	case status != http.StatusUnauthorized && status != http.StatusForbidden:
		return ok(fmt.Sprintf("it lets us in, with %s", b.credential()))
	case b.hasCredential():
		return wrong(fmt.Sprintf("it answers %d to the configured credential", status), "every request is refused",
			"correct the key in headers of this upstream; see that it is not revoked and may be used from here")
	case b.key != "":
		return wrong(fmt.Sprintf("it answers %d to the key in --key-file", status), "clients with this key are refused", "try another key")
	case status == http.StatusForbidden && b.kind.name == "Ollama":
		return wrong("Ollama answers 403", "it refuses the host name that it is asked under", "write its own address into the URL, or set OLLAMA_HOST where it runs")
	}
	return wrong(fmt.Sprintf("it answers %d: it wants a key, and none is configured", status), "requests without a key are refused",
		"set headers: {Authorization: \"Bearer ${NAME}\"} for this upstream; where clients bring keys of their own, try one with --key-file")
}

func (b *backend) credential() string {
	switch {
	case b.hasCredential():
		return "the configured credential"
	case b.key != "":
		return "the key in --key-file"
	}
	return "no credential"
}

func checkModels(_ *facts, b *backend) Result {
	switch {
	case !b.reached() || !b.models.good():
		return skipped("it gave no list of models")
	case len(b.listed) > 0:
		return ok(fmt.Sprintf("it has %s", count(len(b.listed), "model", ids(b.listed))))
	case b.kind.name == "Ollama":
		return wrong("it has no model", "every request fails with 404", "fetch one where it runs: ollama pull llama3.2")
	}
	return wrong("its list of models is empty", "requests will fail, whatever model they name", "load a model, or see which ones the key may use")
}

func ids(list []model) (names []string) {
	for _, m := range list {
		names = append(names, m.ID)
	}
	return names
}

// count is a number with its noun and some of the names.
func count(n int, noun string, names []string) string {
	if n != 1 {
		noun += "s"
	}
	const shown = 4
	more := ""
	if len(names) > shown {
		names, more = names[:shown], ", …"
	}
	return fmt.Sprintf("%d %s: %s%s", n, noun, strings.Join(names, ", "), more)
}

// checkGlobs: each glob of the configuration should match a model that is there.
func checkGlobs(_ *facts, b *backend) Result {
	globs := b.cfg.Models
	switch {
	case len(globs) == 0:
		return ok("it serves every model")
	case !b.reached() || !b.models.good() || len(b.listed) == 0:
		return skipped("it gave no list of models")
	}
	one := *b
	idle := slices.DeleteFunc(slices.Clone(globs), func(glob string) bool {
		one.cfg.Models = []string{glob}
		return slices.ContainsFunc(b.listed, func(m model) bool { return one.serves(m.ID) })
	})
	const remedy = "correct models of this upstream: * stands for any characters, and the case counts"
	switch {
	case len(idle) == len(globs):
		return wrong(fmt.Sprintf("none of its models matches %s; it has %s", strings.Join(globs, ", "), count(len(b.listed), "model", ids(b.listed))),
			"requests go to an upstream that does not have their model, and the others to none", remedy)
	case len(idle) > 0:
		return warning(fmt.Sprintf("no model matches %s", strings.Join(idle, ", ")), "requests for such a model fail there", remedy+"; or fetch the model")
	}
	return ok("each of models matches something it has")
}

// slowAnswer is when a list of models takes suspiciously long.
const slowAnswer = time.Second

func checkLatency(_ *facts, b *backend) Result {
	if !b.reached() || b.models.err != nil {
		return unreached
	}
	found := fmt.Sprintf("the first byte of a small answer came after %s", short(b.models.first))
	if b.models.first > slowAnswer {
		return warning(found, "what is between here and the backend is slow, or it is overloaded; this adds to every request", "see the network to it, and its load")
	}
	return ok(found)
}
