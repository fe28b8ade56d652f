package simllm

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

const (
	// maxBody bounds a JSON request; uploads are counted, not kept.
	maxBody = 64 << 20
	// writeStall is how long a client may take nothing before it is given up.
	writeStall = 10 * time.Minute
)

var (
	// errAnswered ends a handler whose answer is complete.
	errAnswered = errors.New("answered")
	// errCut ends a handler whose answer must have no proper end.
	errCut = errors.New("cut off on request")
)

// exchange is one request and its answer. Only its handler's goroutine uses it.
type exchange struct {
	s       *Server
	w       http.ResponseWriter
	rc      *http.ResponseController
	r       *http.Request
	path    string // what follows the route's prefix
	dialect dialect
	k       knobs
	model   string // as asked, without knobs
	started time.Time
	release func() // gives up a connection that was taken; nil if none was
}

// decode reads the request's JSON. Ollama reads one value and ignores the rest.
func (x *exchange) decode(into any) error {
	body, err := io.ReadAll(http.MaxBytesReader(x.w, x.r.Body, maxBody))
	if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
		return x.fail(http.StatusRequestEntityTooLarge, fmt.Sprintf("request body is larger than %d bytes", maxBody))
	}
	if err != nil {
		return err
	}
	err = json.NewDecoder(bytes.NewReader(body)).Decode(into)
	if errors.Is(err, io.EOF) && x.dialect == ollama {
		return x.fail(http.StatusBadRequest, "missing request body")
	}
	if err != nil {
		return x.fail(http.StatusBadRequest, err.Error())
	}
	return nil
}

// begin settles the knobs and lets a fault that comes before the answer happen.
// Every handler calls it once, with the model's name as the request gave it.
func (x *exchange) begin(model string) error {
	x.started = time.Now()
	var query string
	x.model, query, _ = strings.Cut(model, "?")
	f := x.s.takeFault(x.r.URL.Path)
	if f != nil {
		if err := x.k.setQuery(f.query); err != nil {
			return x.fail(http.StatusBadRequest, err.Error())
		}
	}
	if err := x.k.setQuery(query); err != nil {
		return x.fail(http.StatusBadRequest, err.Error())
	}
	if err := x.k.setHeader(x.r.Header); err != nil {
		return x.fail(http.StatusBadRequest, err.Error())
	}
	if x.k.fail != "" && !x.s.hits(x.k.failRate) {
		x.k.fail = ""
	}
	if x.k.fail == "" {
		return nil
	}
	x.s.faults.Add(1)
	return x.failFirst()
}

// beginModel is begin for what needs an installed model.
func (x *exchange) beginModel(model string) error {
	if err := x.begin(model); err != nil {
		return err
	}
	if x.model == "" {
		return x.fail(http.StatusBadRequest, "model is required")
	}
	if strings.Contains(x.model, "..") || strings.ContainsAny(x.model, " \\") {
		return x.fail(http.StatusBadRequest, "invalid model name")
	}
	if !x.s.models.has(x.model) {
		return x.unknownModel()
	}
	return nil
}

func (x *exchange) unknownModel() error {
	status := http.StatusNotFound
	if x.k.like == likeLlama {
		status = http.StatusBadRequest
	}
	return x.fail(status, fmt.Sprintf("model '%s' not found", x.model))
}

// json answers 200 with v, once the time that its tokens would take is over.
// The dialect decides the content type and whether a newline ends the body.
func (x *exchange) json(v any, tokens int) error {
	body, err := json.Marshal(v)
	if err != nil {
		return x.fail(http.StatusInternalServerError, "encode the answer: "+err.Error())
	}
	if tokens > 0 {
		x.s.tokens.Add(int64(tokens))
		if err := x.wait(x.k.ttft + time.Duration(max(tokens-1, 0))*x.k.delay); err != nil {
			return err
		}
	}
	contentType := "application/json"
	if x.dialect == ollama || x.k.like == likeLlama {
		contentType = "application/json; charset=utf-8"
	} else {
		body = append(body, '\n')
	}
	x.w.Header().Set("Content-Type", contentType)
	return x.whole(body)
}

// plain answers with a line of text, as Ollama's router does.
func (x *exchange) plain(status int, text string) error {
	x.w.Header().Set("Content-Type", "text/plain")
	return x.status(status, []byte(text))
}

func (x *exchange) status(status int, body []byte) error {
	x.w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	x.w.WriteHeader(status)
	if err := x.write(body); err != nil {
		return err
	}
	return errAnswered
}

// write hands b to the connection at once.
func (x *exchange) write(b []byte) error {
	if err := x.r.Context().Err(); err != nil {
		return err
	}
	// A recorder has no deadline; a real connection always takes one.
	if err := x.rc.SetWriteDeadline(time.Now().Add(writeStall)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	n, err := x.w.Write(b)
	x.s.bytes.Add(int64(n))
	if err != nil {
		return err
	}
	return x.flush()
}

func (x *exchange) flush() error {
	if err := x.rc.Flush(); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	return nil
}

// wait sleeps for d, or until the client leaves.
func (x *exchange) wait(d time.Duration) error {
	if d <= 0 {
		return x.r.Context().Err()
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-x.r.Context().Done():
		return x.r.Context().Err()
	}
}

// id numbers the answers.
func (x *exchange) id() uint64 {
	if x.k.fixed {
		return 1
	}
	return x.s.ids.Add(1)
}

func (x *exchange) now() time.Time {
	if x.k.fixed {
		return time.Date(2026, time.January, 2, 3, 4, 5, 6, time.UTC)
	}
	return time.Now().UTC()
}

// since is the time from the exchange's beginning, never 0: Ollama omits zeros.
func (x *exchange) since() time.Duration {
	if x.k.fixed {
		return time.Millisecond
	}
	return max(time.Since(x.started), 1)
}
