package admin

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
)

func (s *Server) config(*http.Request) (any, *refusal) {
	return map[string]any{"config": s.parts.Config()}, nil
}

type level struct {
	Level string `json:"level"`
}

// levels are the words of log.level.
var levels = map[string]slog.Level{
	"debug": slog.LevelDebug,
	"info":  slog.LevelInfo,
	"warn":  slog.LevelWarn,
	"error": slog.LevelError,
}

func (s *Server) logLevel(*http.Request) (any, *refusal) {
	return level{strings.ToLower(s.parts.LogLevel.Level().String())}, nil
}

func (s *Server) setLogLevel(r *http.Request) (any, *refusal) {
	var wanted level
	if ref := readJSON(r, &wanted); ref != nil {
		return nil, ref
	}
	l, ok := levels[wanted.Level]
	if !ok {
		return nil, &refusal{status: http.StatusUnprocessableEntity, code: "unknown_level",
			message: fmt.Sprintf("there is no log level %q; there are: debug, info, warn, error", wanted.Level)}
	}
	s.parts.LogLevel.Set(l)
	return wanted, nil
}

// readJSON reads a body that is one JSON value without unknown fields.
// Whatever its Content-Type: curl -d claims it to be a form.
func readJSON(r *http.Request, into any) *refusal {
	body := json.NewDecoder(r.Body)
	body.DisallowUnknownFields()
	err := body.Decode(into)
	if err == nil {
		switch _, end := body.Token(); {
		case errors.Is(end, io.EOF):
			return nil
		case end == nil:
			err = errors.New("something follows the JSON value")
		default:
			err = end
		}
	}
	if tooLarge, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return &refusal{status: http.StatusRequestEntityTooLarge, code: "body_too_large",
			message: fmt.Sprintf("the body is longer than %d bytes", tooLarge.Limit)}
	}
	return &refusal{status: http.StatusBadRequest, code: "bad_request", message: "the body is not the JSON expected here: " + err.Error()}
}
