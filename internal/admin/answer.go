package admin

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"runtime/debug"
	"strconv"

	"github.com/go-chi/chi/v5"
	"github.com/go-chi/chi/v5/middleware"
)

// refusal is why a request is not answered as asked, and its place in HTTP.
type refusal struct {
	status   int
	code     string
	message  string
	problems []string       // every single reason, where there may be many
	beside   map[string]int // what was done all the same, as in the answer that says no
}

// MarshalJSON gives every error of the API its one shape.
func (e *refusal) MarshalJSON() ([]byte, error) {
	type body struct {
		Code     string   `json:"code"`
		Message  string   `json:"message"`
		Problems []string `json:"problems,omitempty"`
	}
	answer := map[string]any{"error": body{e.code, e.message, e.problems}}
	for name, n := range e.beside {
		answer[name] = n
	}
	return json.Marshal(answer)
}

// action answers a request with a value for JSON, or refuses it.
type action func(*http.Request) (any, *refusal)

func (s *Server) read(a action) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		status, body := encode(a(r))
		send(w, status, body)
	})
}

// change is read for what alters something: who, what and the answer go to the
// log. An answer to a change says what changed, so it is the audit's best text.
func (s *Server) change(a action) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		status, body := http.StatusInternalServerError, []byte(`"panic"`) // unless a returns
		defer func() {
			s.log.LogAttrs(r.Context(), slog.LevelInfo, "admin change",
				slog.String("peer", peer(r).String()),
				slog.String("method", r.Method),
				slog.String("path", r.URL.Path),
				slog.Int("status", status),
				slog.Any("answer", json.RawMessage(body)))
		}()
		status, body = encode(a(r))
		send(w, status, body)
	})
}

func encode(answer any, ref *refusal) (status int, body []byte) {
	status = http.StatusOK
	if ref != nil {
		status, answer = ref.status, ref
	}
	body, err := json.Marshal(answer)
	if err != nil { // a part's value is no JSON: NaN, a func, a cycle
		ref = internal("the answer is no JSON: " + err.Error())
		status = ref.status
		body, _ = json.Marshal(ref) // strings only: cannot fail
	}
	return status, body
}

func internal(message string) *refusal {
	return &refusal{status: http.StatusInternalServerError, code: "internal", message: message}
}

func refuse(w http.ResponseWriter, ref *refusal) {
	status, body := encode(nil, ref)
	send(w, status, body)
}

func send(w http.ResponseWriter, status int, body []byte) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)+1))
	w.WriteHeader(status)
	w.Write(append(body, '\n')) // an error means that the client left
}

// recovered turns a panic into a 500 and a log line with its stack. Where an
// answer has begun already it breaks the connection instead, so that the
// client does not take half an answer for a whole one.
func (s *Server) recovered(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ww := middleware.NewWrapResponseWriter(w, r.ProtoMajor)
		defer func() {
			p := recover()
			if p == nil {
				return
			}
			if p == http.ErrAbortHandler {
				panic(p)
			}
			s.log.Error("admin request panicked", "method", r.Method, "path", r.URL.Path,
				"panic", fmt.Sprint(p), "stack", string(debug.Stack()))
			if ww.Status() != 0 {
				panic(http.ErrAbortHandler)
			}
			refuse(ww, internal("this request failed inside the proxy; its log has the details"))
		}()
		next.ServeHTTP(ww, r)
	})
}

// pathParam is a part of the path as the client meant it. chi routes on the
// escaped path where there is one, and then hands out escaped parts.
func pathParam(r *http.Request, name string) string {
	value := chi.URLParam(r, name)
	if r.URL.RawPath == "" {
		return value
	}
	if plain, err := url.PathUnescape(value); err == nil {
		return plain
	}
	return value
}
