package clients

import (
	"context"
	"encoding/json"
	"reflect"
	"testing"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/shared"
)

// weather is the parameters of the one tool, get_weather.
var weather = map[string]any{
	"type":     "object",
	"required": []string{"city"},
	"properties": map[string]any{
		"city": map[string]any{"type": "string"},
		"unit": map[string]any{"type": "string", "enum": []string{"celsius", "fahrenheit"}},
	},
}

// place is the schema of answers that are an object.
var place = map[string]any{
	"type":                 "object",
	"required":             []string{"name", "open"},
	"additionalProperties": false,
	"properties": map[string]any{
		"name": map[string]any{"type": "string"},
		"open": map[string]any{"type": "boolean"},
	},
}

func chatParams(model string) openai.ChatCompletionNewParams {
	return openai.ChatCompletionNewParams{
		Model:    model,
		Messages: []openai.ChatCompletionMessageParamUnion{openai.UserMessage(question)},
	}
}

func toolParams(model string) openai.ChatCompletionNewParams {
	p := chatParams(model)
	p.Tools = []openai.ChatCompletionToolUnionParam{
		openai.ChatCompletionFunctionTool(shared.FunctionDefinitionParam{Name: "get_weather", Parameters: weather}),
	}
	return p
}

func chat(t *testing.T, p openai.ChatCompletionNewParams) *openai.ChatCompletion {
	t.Helper()
	client := newOpenAI(proxyURL)
	got, err := client.Chat.Completions.New(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Choices) != 1 {
		t.Fatalf("%d choices, want 1: %s", len(got.Choices), got.RawJSON())
	}
	return got
}

// streamed is a chat stream as a program would collect it.
type streamed struct {
	text, thought, finish string
	texts, thoughts       int // deltas
	call                  openai.ChatCompletionChunkChoiceDeltaToolCall
	callDeltas            int
	usage                 []openai.CompletionUsage
}

func streamChat(t *testing.T, p openai.ChatCompletionNewParams) streamed {
	t.Helper()
	client := newOpenAI(proxyURL)
	got, err := collectChat(t.Context(), client, p)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func collectChat(ctx context.Context, client openai.Client, p openai.ChatCompletionNewParams) (got streamed, err error) {
	stream := client.Chat.Completions.NewStreaming(ctx, p)
	defer stream.Close()
	for stream.Next() {
		chunk := stream.Current()
		if chunk.JSON.Usage.Valid() {
			got.usage = append(got.usage, chunk.Usage)
		}
		for _, choice := range chunk.Choices {
			if err := got.add(choice); err != nil {
				return got, err
			}
		}
	}
	return got, stream.Err()
}

func (s *streamed) add(choice openai.ChatCompletionChunkChoice) error {
	thought, err := reasoning(choice.Delta.RawJSON())
	if err != nil {
		return err
	}
	if choice.Delta.Content != "" {
		s.texts++
		s.text += choice.Delta.Content
	}
	if thought != "" {
		s.thoughts++
		s.thought += thought
	}
	for _, call := range choice.Delta.ToolCalls {
		s.callDeltas++
		s.call.ID += call.ID
		s.call.Function.Name += call.Function.Name
		s.call.Function.Arguments += call.Function.Arguments
	}
	s.finish += choice.FinishReason
	return nil
}

// reasoning reads the member that the client has no field for.
func reasoning(message string) (string, error) {
	var m struct{ Reasoning string }
	err := json.Unmarshal([]byte(message), &m)
	return m.Reasoning, err
}

func expectJSON(t *testing.T, text string, want map[string]any) {
	t.Helper()
	var got map[string]any
	if err := json.Unmarshal([]byte(text), &got); err != nil {
		t.Fatalf("%q: %v", text, err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("answer is %v, want %v", got, want)
	}
}

func TestOpenAIChat(t *testing.T) {
	twice(t, func(t *testing.T) {
		got := chat(t, chatParams(plainModel))
		expectText(t, "answer", got.Choices[0].Message.Content, want.Chat.Text)
		expectText(t, "finish_reason", got.Choices[0].FinishReason, "stop")
		expectCount(t, "prompt tokens", got.Usage.PromptTokens, 3)
		expectCount(t, "completion tokens", got.Usage.CompletionTokens, words)
	})
}

func TestOpenAIChatStream(t *testing.T) {
	twice(t, func(t *testing.T) {
		got := streamChat(t, chatParams(plainModel))
		expectText(t, "answer", got.text, want.Chat.Text)
		expectText(t, "finish_reason", got.finish, "stop")
		expectCount(t, "deltas", int64(got.texts), words)
		expectCount(t, "usage that nobody asked for", int64(len(got.usage)), 0)
	})
}

func TestOpenAIChatStreamUsage(t *testing.T) {
	twice(t, func(t *testing.T) {
		p := chatParams(plainModel)
		p.StreamOptions.IncludeUsage = openai.Bool(true)
		got := streamChat(t, p)
		expectText(t, "answer", got.text, want.Chat.Text)
		expectCount(t, "deltas", int64(got.texts), words)
		if len(got.usage) != 1 {
			t.Fatalf("%d chunks with usage, want 1", len(got.usage))
		}
		expectCount(t, "prompt tokens", got.usage[0].PromptTokens, 3)
		expectCount(t, "completion tokens", got.usage[0].CompletionTokens, words)
	})
}

func TestOpenAIChatReasoning(t *testing.T) {
	twice(t, func(t *testing.T) {
		got := chat(t, chatParams(thinkModel)).Choices[0].Message
		expectText(t, "answer", got.Content, want.Chat.AfterThought)
		thought, err := reasoning(got.RawJSON())
		if err != nil {
			t.Fatal(err)
		}
		expectText(t, "reasoning", thought, want.Chat.Thought)
	})
}

func TestOpenAIChatReasoningStream(t *testing.T) {
	twice(t, func(t *testing.T) {
		got := streamChat(t, chatParams(thinkModel))
		expectText(t, "answer", got.text, want.Chat.AfterThought)
		expectText(t, "reasoning", got.thought, want.Chat.Thought)
		expectCount(t, "deltas of the reasoning", int64(got.thoughts), thoughts)
	})
}

// TestOpenAIChatTools calls the tool and answers it.
func TestOpenAIChatTools(t *testing.T) {
	twice(t, func(t *testing.T) {
		p := toolParams(demo)
		got := chat(t, p).Choices[0]
		expectText(t, "finish_reason", got.FinishReason, "tool_calls")
		if len(got.Message.ToolCalls) != 1 {
			t.Fatalf("%d tool calls, want 1", len(got.Message.ToolCalls))
		}
		call := got.Message.ToolCalls[0]
		expectText(t, "id", call.ID, want.Chat.CallID)
		expectText(t, "name", call.Function.Name, "get_weather")
		expectJSON(t, call.Function.Arguments, want.Chat.Arguments)

		p.Messages = append(p.Messages, got.Message.ToParam(), openai.ToolMessage("sunny "+marker(0), call.ID))
		expectMarker(t, chat(t, p).Choices[0].Message.Content, marker(0))
	})
}

func TestOpenAIChatToolsStream(t *testing.T) {
	// llama.cpp and vLLM send the arguments in pieces.
	for name, least := range map[string]int{demo: 1, demo + "&like=llama": 3} {
		t.Run(name, func(t *testing.T) {
			twice(t, func(t *testing.T) {
				got := streamChat(t, toolParams(name))
				expectText(t, "finish_reason", got.finish, "tool_calls")
				expectText(t, "id", got.call.ID, want.Chat.CallID)
				expectText(t, "name", got.call.Function.Name, "get_weather")
				expectJSON(t, got.call.Function.Arguments, want.Chat.Arguments)
				if got.callDeltas < least && !(cached && got.callDeltas > 0) {
					t.Errorf("the call came in %d deltas, want at least %d", got.callDeltas, least)
				}
			})
		})
	}
}

func TestOpenAIChatJSON(t *testing.T) {
	object := openai.ChatCompletionNewParamsResponseFormatUnion{OfJSONObject: &shared.ResponseFormatJSONObjectParam{}}
	schema := openai.ChatCompletionNewParamsResponseFormatUnion{OfJSONSchema: &shared.ResponseFormatJSONSchemaParam{
		JSONSchema: shared.ResponseFormatJSONSchemaJSONSchemaParam{Name: "place", Schema: place, Strict: openai.Bool(true)},
	}}
	for name, c := range map[string]struct {
		format openai.ChatCompletionNewParamsResponseFormatUnion
		want   map[string]any
	}{
		"json_object": {object, map[string]any{"answer": want.Chat.Text}},
		"json_schema": {schema, want.Chat.Object},
	} {
		p := chatParams(plainModel)
		p.ResponseFormat = c.format
		t.Run(name, func(t *testing.T) {
			twice(t, func(t *testing.T) { expectJSON(t, chat(t, p).Choices[0].Message.Content, c.want) })
		})
		t.Run(name+" streamed", func(t *testing.T) {
			twice(t, func(t *testing.T) { expectJSON(t, streamChat(t, p).text, c.want) })
		})
	}
}
