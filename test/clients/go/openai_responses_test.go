package clients

import (
	"testing"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/responses"
)

func responseParams(model string) responses.ResponseNewParams {
	return responses.ResponseNewParams{
		Model: model,
		Input: responses.ResponseNewParamsInputUnion{OfString: openai.String(question)},
	}
}

func respond(t *testing.T, p responses.ResponseNewParams) *responses.Response {
	t.Helper()
	client := newOpenAI(proxyURL)
	got, err := client.Responses.New(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// streamedResponse is what a stream of events says, piece by piece and in its
// last event.
type streamedResponse struct {
	text, thought, arguments string
	texts, thoughts          int64
	completed                *responses.Response
}

func streamResponse(t *testing.T, p responses.ResponseNewParams) streamedResponse {
	t.Helper()
	client := newOpenAI(proxyURL)
	stream := client.Responses.NewStreaming(t.Context(), p)
	defer stream.Close()
	var got streamedResponse
	for number := int64(0); stream.Next(); number++ {
		event := stream.Current()
		expectCount(t, "sequence number of "+event.Type, event.SequenceNumber, number)
		switch event.Type {
		case "response.output_text.delta":
			got.text += event.Delta
			got.texts++
		case "response.reasoning_summary_text.delta":
			got.thought += event.Delta
			got.thoughts++
		case "response.function_call_arguments.delta":
			got.arguments += event.Delta
		case "response.completed":
			got.completed = new(event.Response)
		}
	}
	if err := stream.Err(); err != nil {
		t.Fatal(err)
	}
	if got.completed == nil {
		t.Fatal("no event response.completed")
	}
	return got
}

// summary is the reasoning of a response that has some.
func summary(t *testing.T, r *responses.Response) string {
	t.Helper()
	for _, item := range r.Output {
		if item.Type == "reasoning" && len(item.Summary) == 1 {
			return item.Summary[0].Text
		}
	}
	t.Fatalf("no reasoning in %s", r.RawJSON())
	return ""
}

func TestOpenAIResponse(t *testing.T) {
	twice(t, func(t *testing.T) {
		got := respond(t, responseParams(plainModel))
		expectText(t, "answer", got.OutputText(), want.Responses.Text)
		expectText(t, "status", string(got.Status), "completed")
		expectCount(t, "output tokens", got.Usage.OutputTokens, words)
	})
}

func TestOpenAIResponseStream(t *testing.T) {
	twice(t, func(t *testing.T) {
		got := streamResponse(t, responseParams(plainModel))
		expectText(t, "answer", got.text, want.Responses.Text)
		expectText(t, "answer at the end", got.completed.OutputText(), want.Responses.Text)
		expectCount(t, "deltas", got.texts, words)
	})
}

func TestOpenAIResponseReasoning(t *testing.T) {
	twice(t, func(t *testing.T) {
		got := respond(t, responseParams(thinkModel))
		expectText(t, "answer", got.OutputText(), want.Responses.AfterThought)
		expectText(t, "reasoning", summary(t, got), want.Responses.Thought)
		expectCount(t, "reasoning tokens", got.Usage.OutputTokensDetails.ReasoningTokens, thoughts)
	})
}

func TestOpenAIResponseReasoningStream(t *testing.T) {
	twice(t, func(t *testing.T) {
		got := streamResponse(t, responseParams(thinkModel))
		expectText(t, "answer", got.text, want.Responses.AfterThought)
		expectText(t, "reasoning", got.thought, want.Responses.Thought)
		expectText(t, "reasoning at the end", summary(t, got.completed), want.Responses.Thought)
		expectCount(t, "deltas of the reasoning", got.thoughts, thoughts)
	})
}

func expectFunctionCall(t *testing.T, r *responses.Response) {
	t.Helper()
	if len(r.Output) != 1 || r.Output[0].Type != "function_call" {
		t.Fatalf("output is %s, want one function_call", r.RawJSON())
	}
	expectText(t, "call_id", r.Output[0].CallID, want.Responses.CallID)
	expectText(t, "name", r.Output[0].Name, "get_weather")
	expectJSON(t, r.Output[0].Arguments.OfString, want.Responses.Arguments)
}

// TestOpenAIResponseTools calls the tool and answers it.
func TestOpenAIResponseTools(t *testing.T) {
	twice(t, func(t *testing.T) {
		p := responseParams(demo)
		p.Tools = []responses.ToolUnionParam{responses.ToolParamOfFunction("get_weather", weather, false)}
		got := respond(t, p)
		expectFunctionCall(t, got)

		call := got.Output[0]
		p.Input = responses.ResponseNewParamsInputUnion{OfInputItemList: responses.ResponseInputParam{
			responses.ResponseInputItemParamOfMessage(question, responses.EasyInputMessageRoleUser),
			responses.ResponseInputItemParamOfFunctionCall(call.Arguments.OfString, call.CallID, call.Name),
			responses.ResponseInputItemParamOfFunctionCallOutput("sunny " + marker(0)),
		}}
		p.Input.OfInputItemList[2].OfFunctionCallOutput.CallID = openai.String(call.CallID)
		expectMarker(t, respond(t, p).OutputText(), marker(0))
	})
}

func TestOpenAIResponseToolsStream(t *testing.T) {
	twice(t, func(t *testing.T) {
		p := responseParams(demo)
		p.Tools = []responses.ToolUnionParam{responses.ToolParamOfFunction("get_weather", weather, false)}
		got := streamResponse(t, p)
		expectJSON(t, got.arguments, want.Responses.Arguments)
		expectFunctionCall(t, got.completed)
	})
}

func TestOpenAIResponseJSON(t *testing.T) {
	p := responseParams(plainModel)
	p.Text.Format = responses.ResponseFormatTextConfigParamOfJSONSchema("place", place)
	t.Run("plain", func(t *testing.T) {
		twice(t, func(t *testing.T) { expectJSON(t, respond(t, p).OutputText(), want.Responses.Object) })
	})
	t.Run("streamed", func(t *testing.T) {
		twice(t, func(t *testing.T) { expectJSON(t, streamResponse(t, p).text, want.Responses.Object) })
	})
}
