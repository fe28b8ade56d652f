package clients

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"

	ollama "github.com/ollama/ollama/api"
	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
	"github.com/openai/openai-go/v3/packages/ssestream"
)

// expectAPIError checks an error answer as OpenAI's client reports it.
func expectAPIError(t *testing.T, err error, status int64, code, message string) *openai.Error {
	t.Helper()
	e, ok := errors.AsType[*openai.Error](err)
	if !ok {
		t.Fatalf("error is %T %v, want *openai.Error", err, err)
	}
	expectCount(t, "status", int64(e.StatusCode), status)
	expectText(t, "code", e.Code, code)
	if !strings.Contains(e.Message, message) {
		t.Errorf("message is %q, want %q in it", e.Message, message)
	}
	return e
}

// expectStatusError checks an error answer as Ollama's client reports it.
func expectStatusError(t *testing.T, err error, status int64, message string) {
	t.Helper()
	e, ok := errors.AsType[ollama.StatusError](err)
	if !ok {
		t.Fatalf("error is %T %v, want ollama.StatusError", err, err)
	}
	expectCount(t, "status", int64(e.StatusCode), status)
	if !strings.Contains(e.ErrorMessage, message) {
		t.Errorf("message is %q, want %q in it", e.ErrorMessage, message)
	}
}

func ignore[T any](T) error { return nil }

func TestOpenAIUnknownModel(t *testing.T) {
	const message = "model 'nobody' not found"
	client := newOpenAI(proxyURL)
	for name, ask := range map[string]func(t *testing.T) error{
		"chat": func(t *testing.T) error {
			_, err := client.Chat.Completions.New(t.Context(), chatParams("nobody"))
			return err
		},
		"stream": func(t *testing.T) error {
			stream := client.Chat.Completions.NewStreaming(t.Context(), chatParams("nobody"))
			defer stream.Close()
			for stream.Next() {
				t.Error("an event came")
			}
			return stream.Err()
		},
		"responses": func(t *testing.T) error {
			_, err := client.Responses.New(t.Context(), responseParams("nobody"))
			return err
		},
		"get": func(t *testing.T) error {
			_, err := client.Models.Get(t.Context(), "nobody")
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			twice(t, func(t *testing.T) {
				e := expectAPIError(t, ask(t), http.StatusNotFound, "", message)
				expectText(t, "type", e.Type, "not_found_error")
			})
		})
	}
}

func TestOpenAIBadRequest(t *testing.T) {
	twice(t, func(t *testing.T) {
		client := newOpenAI(proxyURL)
		p := chatParams(demo)
		p.Messages = []openai.ChatCompletionMessageParamUnion{}
		_, err := client.Chat.Completions.New(t.Context(), p)
		e := expectAPIError(t, err, http.StatusBadRequest, "", "is too short - 'messages'")
		expectText(t, "type", e.Type, "invalid_request_error")
	})
}

// TestOpenAIBackendStatus checks that a backend's own refusal arrives whole.
func TestOpenAIBackendStatus(t *testing.T) {
	for _, status := range []int{429, 500, 503} {
		t.Run(http.StatusText(status), func(t *testing.T) {
			twice(t, func(t *testing.T) {
				client := newOpenAI(proxyURL)
				_, err := client.Chat.Completions.New(t.Context(), chatParams(demo+"&retry_after=7&fail="+asText(t, status)))
				e := expectAPIError(t, err, int64(status), "", "simulated failure: "+http.StatusText(status))
				if status != 500 {
					expectText(t, "Retry-After", e.Response.Header.Get("Retry-After"), "7")
				}
				expectText(t, "X-Vega-Error", e.Response.Header.Get("X-Vega-Error"), "")
			})
		})
	}
}

func asText(t *testing.T, v any) string { return string(asJSON(t, v)) }

// TestOpenAIRetry lets the client retry, as it does unless told otherwise.
func TestOpenAIRetry(t *testing.T) {
	twice(t, func(t *testing.T) {
		before := readStats(t).Requests["/v1/chat/completions"]
		simulator(t, http.MethodPost, "/__sim/fault?fail=429&times=1&retry_after=0&path=/v1/chat/completions", nil)
		client := newOpenAI(proxyURL)
		p := chatParams(plainModel)
		got, err := client.Chat.Completions.New(t.Context(), p, option.WithMaxRetries(2), option.WithHeader("Cache-Control", "no-store"))
		if err != nil {
			t.Fatal(err)
		}
		expectText(t, "answer", got.Choices[0].Message.Content, want.Chat.Text)
		expectCount(t, "requests", readStats(t).Requests["/v1/chat/completions"]-before, 2)
	})
}

// broken are the ways in which an answer can end too early: what the backend
// does, and what the client can read then. The backend's own words arrive as
// they are; where it just falls silent, the proxy says what happened.
var broken = map[string]struct{ knobs, code, message string }{
	"error event": {"fail=error-event", "", "an error was encountered while running the model"},
	"cut":         {"fail=eof", "upstream_broke", "the upstream default"},
	"reset":       {"fail=reset", "upstream_broke", "the upstream default"},
	"half event":  {"fail=half-event", "upstream_broke", "the upstream default"},
}

const beforeBreak = 3 // events, which must all arrive

func brokenModel(knobs string) string { return plainModel + "&fail_after=3&" + knobs }

// expectStreamError checks an error in mid-stream as OpenAI's client reports it.
func expectStreamError(t *testing.T, err error, code, message string) {
	t.Helper()
	e, ok := errors.AsType[*ssestream.StreamError](err)
	if !ok {
		t.Fatalf("error is %T %v, want *ssestream.StreamError", err, err)
	}
	var data struct {
		Error struct{ Code, Message string }
	}
	if err := json.Unmarshal(e.Event.Data, &data); err != nil {
		t.Fatal(err)
	}
	expectText(t, "code", data.Error.Code, code)
	if !strings.Contains(data.Error.Message, message) {
		t.Errorf("message is %q, want %q in it", data.Error.Message, message)
	}
}

func TestOpenAIBroken(t *testing.T) {
	client := newOpenAI(proxyURL)
	for name, c := range broken {
		t.Run("chat "+name, func(t *testing.T) {
			twice(t, func(t *testing.T) {
				stream := client.Chat.Completions.NewStreaming(t.Context(), chatParams(brokenModel(c.knobs)))
				defer stream.Close()
				expectCount(t, "events before the break", count(stream.Next), beforeBreak)
				expectStreamError(t, stream.Err(), c.code, c.message)
			})
		})
		t.Run("responses "+name, func(t *testing.T) {
			twice(t, func(t *testing.T) {
				stream := client.Responses.NewStreaming(t.Context(), responseParams(brokenModel(c.knobs)))
				defer stream.Close()
				expectCount(t, "events before the break", count(stream.Next), beforeBreak)
				expectStreamError(t, stream.Err(), c.code, c.message)
			})
		})
	}
	t.Run("plain", func(t *testing.T) {
		twice(t, func(t *testing.T) {
			// A plain answer has no place for an error: the connection breaks.
			if got, err := client.Chat.Completions.New(t.Context(), chatParams(demo+"&fail=eof")); err == nil {
				t.Errorf("half an answer passed for a whole one: %s", got.RawJSON())
			}
		})
	})
}

func count(next func() bool) (n int64) {
	for next() {
		n++
	}
	return n
}

func TestOllamaUnknownModel(t *testing.T) {
	const message = "model 'nobody' not found"
	twice(t, func(t *testing.T) {
		client := newOllama(t, proxyURL)
		err := client.Chat(t.Context(), ollamaChatRequest("nobody"), ignore[ollama.ChatResponse])
		expectStatusError(t, err, http.StatusNotFound, message)
		err = client.Generate(t.Context(), ollamaGenerateRequest("nobody"), ignore[ollama.GenerateResponse])
		expectStatusError(t, err, http.StatusNotFound, message)
		_, err = client.Show(t.Context(), &ollama.ShowRequest{Model: "nobody"})
		expectStatusError(t, err, http.StatusNotFound, message)
		err = client.Delete(t.Context(), &ollama.DeleteRequest{Model: "nobody"})
		expectStatusError(t, err, http.StatusNotFound, message)
	})
}

func TestOllamaBadRequest(t *testing.T) {
	twice(t, func(t *testing.T) {
		req := ollamaChatRequest(demo)
		req.Think = &ollama.ThinkValue{Value: true}
		err := newOllama(t, proxyURL).Chat(t.Context(), req, ignore[ollama.ChatResponse])
		expectStatusError(t, err, http.StatusBadRequest, "does not support thinking")
	})
}

func TestOllamaBroken(t *testing.T) {
	for name, c := range broken {
		t.Run("chat "+name, func(t *testing.T) {
			twice(t, func(t *testing.T) {
				lines := int64(0)
				err := newOllama(t, proxyURL).Chat(t.Context(), ollamaChatRequest(brokenModel(c.knobs)), func(ollama.ChatResponse) error {
					lines++
					return nil
				})
				expectCount(t, "lines before the break", lines, beforeBreak)
				expectLineError(t, err, c.message)
			})
		})
		t.Run("generate "+name, func(t *testing.T) {
			twice(t, func(t *testing.T) {
				lines := int64(0)
				err := newOllama(t, proxyURL).Generate(t.Context(), ollamaGenerateRequest(brokenModel(c.knobs)), func(ollama.GenerateResponse) error {
					lines++
					return nil
				})
				expectCount(t, "lines before the break", lines, beforeBreak)
				expectLineError(t, err, c.message)
			})
		})
	}
}

// expectLineError checks an error in mid-stream: this client makes a plain error
// of its text, and takes a connection that just ends for a whole answer.
func expectLineError(t *testing.T, err error, message string) {
	t.Helper()
	if err == nil {
		t.Fatal("a broken answer passed for a whole one")
	}
	if !strings.Contains(err.Error(), message) {
		t.Errorf("error is %q, want %q in it", err, message)
	}
}
