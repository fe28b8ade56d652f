package clients

import (
	"context"
	"encoding/json"
	"reflect"
	"slices"
	"testing"

	ollama "github.com/ollama/ollama/api"
)

func ollamaChatRequest(model string) *ollama.ChatRequest {
	return &ollama.ChatRequest{Model: model, Messages: []ollama.Message{{Role: "user", Content: question}}}
}

func ollamaGenerateRequest(model string) *ollama.GenerateRequest {
	return &ollama.GenerateRequest{Model: model, Prompt: question}
}

// told is an answer as a program would collect it.
type told struct {
	text, thought    string
	texts, thoughts  int64
	calls            []ollama.ToolCall
	done             bool
	reason           string
	asked, generated int // tokens
}

func (s *told) add(text, thought string) {
	s.text += text
	s.thought += thought
	if text != "" {
		s.texts++
	}
	if thought != "" {
		s.thoughts++
	}
}

func (s *told) end(done bool, reason string, m ollama.Metrics) {
	s.done, s.reason = done, reason
	s.asked, s.generated = m.PromptEvalCount, m.EvalCount
}

func ollamaChat(t *testing.T, req *ollama.ChatRequest) told {
	t.Helper()
	got, err := collectOllama(t.Context(), newOllama(t, proxyURL), req)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func collectOllama(ctx context.Context, client *ollama.Client, req *ollama.ChatRequest) (got told, err error) {
	err = client.Chat(ctx, req, func(r ollama.ChatResponse) error {
		got.add(r.Message.Content, r.Message.Thinking)
		got.calls = append(got.calls, r.Message.ToolCalls...)
		got.end(r.Done, r.DoneReason, r.Metrics)
		return nil
	})
	return got, err
}

func ollamaGenerate(t *testing.T, req *ollama.GenerateRequest) told {
	t.Helper()
	var got told
	err := newOllama(t, proxyURL).Generate(t.Context(), req, func(r ollama.GenerateResponse) error {
		got.add(r.Response, r.Thinking)
		got.end(r.Done, r.DoneReason, r.Metrics)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// expect checks a whole answer that came in so many pieces.
func (s *told) expect(t *testing.T, text string, pieces int64) {
	t.Helper()
	expectText(t, "answer", s.text, text)
	expectCount(t, "pieces of the answer", s.texts, pieces)
	if !s.done {
		t.Error("the answer's last line is not marked as done")
	}
	expectText(t, "done_reason", s.reason, "stop")
}

// bothWays runs a test of a plain and of a streamed answer, each twice.
func bothWays(t *testing.T, test func(t *testing.T, stream *bool)) {
	t.Run("plain", func(t *testing.T) {
		twice(t, func(t *testing.T) { test(t, new(false)) })
	})
	t.Run("streamed", func(t *testing.T) {
		twice(t, func(t *testing.T) { test(t, nil) })
	})
}

// pieces is n for a stream and 1 for a plain answer.
func pieces(stream *bool, n int64) int64 {
	if stream == nil {
		return n
	}
	return 1
}

func TestOllamaChat(t *testing.T) {
	bothWays(t, func(t *testing.T, stream *bool) {
		req := ollamaChatRequest(plainModel)
		req.Stream = stream
		got := ollamaChat(t, req)
		got.expect(t, want.OllamaChat.Text, pieces(stream, words))
		expectCount(t, "prompt tokens", int64(got.asked), 3)
		expectCount(t, "answer's tokens", int64(got.generated), words)
	})
}

func TestOllamaGenerate(t *testing.T) {
	bothWays(t, func(t *testing.T, stream *bool) {
		req := ollamaGenerateRequest(plainModel)
		req.Stream = stream
		got := ollamaGenerate(t, req)
		got.expect(t, want.OllamaGenerate.Text, pieces(stream, words))
		expectCount(t, "prompt tokens", int64(got.asked), 2)
		expectCount(t, "answer's tokens", int64(got.generated), words)
	})
}

func TestOllamaChatThink(t *testing.T) {
	bothWays(t, func(t *testing.T, stream *bool) {
		req := ollamaChatRequest(thinkModel)
		req.Stream, req.Think = stream, &ollama.ThinkValue{Value: true}
		got := ollamaChat(t, req)
		got.expect(t, want.OllamaChat.AfterThought, pieces(stream, words))
		expectText(t, "thinking", got.thought, want.OllamaChat.Thought)
		expectCount(t, "pieces of thinking", got.thoughts, pieces(stream, thoughts))
	})
}

func TestOllamaGenerateThink(t *testing.T) {
	bothWays(t, func(t *testing.T, stream *bool) {
		req := ollamaGenerateRequest(thinkModel)
		req.Stream, req.Think = stream, &ollama.ThinkValue{Value: "high"}
		got := ollamaGenerate(t, req)
		got.expect(t, want.OllamaGenerate.AfterThought, pieces(stream, words))
		expectText(t, "thinking", got.thought, want.OllamaGenerate.Thought)
		expectCount(t, "pieces of thinking", got.thoughts, pieces(stream, thoughts))
	})
}

func asJSON(t *testing.T, v any) json.RawMessage {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestOllamaTools calls the tool and answers it.
func TestOllamaTools(t *testing.T) {
	bothWays(t, func(t *testing.T, stream *bool) {
		req := ollamaChatRequest(demo)
		req.Stream = stream
		tool := ollama.Tool{Type: "function", Function: ollama.ToolFunction{Name: "get_weather"}}
		if err := json.Unmarshal(asJSON(t, weather), &tool.Function.Parameters); err != nil {
			t.Fatal(err)
		}
		req.Tools = ollama.Tools{tool}
		got := ollamaChat(t, req)
		if len(got.calls) != 1 {
			t.Fatalf("%d tool calls, want 1", len(got.calls))
		}
		call := got.calls[0]
		expectText(t, "id", call.ID, want.OllamaChat.CallID)
		expectText(t, "name", call.Function.Name, "get_weather")
		if args := call.Function.Arguments.ToMap(); !reflect.DeepEqual(args, want.OllamaChat.Arguments) {
			t.Errorf("arguments are %v, want %v", args, want.OllamaChat.Arguments)
		}

		req.Messages = append(req.Messages,
			ollama.Message{Role: "assistant", ToolCalls: got.calls},
			ollama.Message{Role: "tool", ToolName: "get_weather", Content: "sunny " + marker(0)})
		expectMarker(t, ollamaChat(t, req).text, marker(0))
	})
}

func TestOllamaJSON(t *testing.T) {
	for name, c := range map[string]struct{ format, want any }{
		"json":   {"json", map[string]any{"answer": want.OllamaChat.Text}},
		"schema": {place, want.OllamaChat.Object},
	} {
		t.Run(name, func(t *testing.T) {
			bothWays(t, func(t *testing.T, stream *bool) {
				req := ollamaChatRequest(plainModel)
				req.Stream, req.Format = stream, asJSON(t, c.format)
				expectJSON(t, ollamaChat(t, req).text, c.want.(map[string]any))
			})
		})
	}
}

func TestOllamaEmbed(t *testing.T) {
	twice(t, func(t *testing.T) {
		got, err := newOllama(t, proxyURL).Embed(t.Context(), &ollama.EmbedRequest{Model: embedModel, Input: []string{"hello", "world"}})
		if err != nil {
			t.Fatal(err)
		}
		if len(got.Embeddings) != 2 {
			t.Fatalf("%d embeddings, want 2", len(got.Embeddings))
		}
		expectVector(t, got.Embeddings[0], "hello")
		expectVector(t, got.Embeddings[1], "world")
	})
}

// TestOllamaEmbeddings uses the older form, whose vectors are eight times as long.
func TestOllamaEmbeddings(t *testing.T) {
	twice(t, func(t *testing.T) {
		got, err := newOllama(t, proxyURL).Embeddings(t.Context(), &ollama.EmbeddingRequest{Model: embedModel, Prompt: "hello"})
		if err != nil {
			t.Fatal(err)
		}
		vector := make([]float32, len(got.Embedding))
		for i, f := range got.Embedding {
			vector[i] = float32(f / 8)
		}
		if !slices.Equal(vector, want.Vectors["hello"]) {
			t.Errorf("vector is 8 × %v, want %v", vector, want.Vectors["hello"])
		}
	})
}
