package simllm

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
)

type chatRequest struct {
	Model               string
	Messages            []chatMessage
	Stream              bool
	StreamOptions       streamOptions   `json:"stream_options"`
	MaxTokens           int             `json:"max_tokens"`
	MaxCompletionTokens int             `json:"max_completion_tokens"`
	Temperature         *float64        `json:"temperature"`
	TopP                *float64        `json:"top_p"`
	Seed                json.Number     `json:"seed"`
	Stop                json.RawMessage `json:"stop"`
	N                   int             `json:"n"`
	Tools               []chatTool      `json:"tools"`
	ToolChoice          json.RawMessage `json:"tool_choice"`
	ParallelToolCalls   *bool           `json:"parallel_tool_calls"`
	ResponseFormat      struct {
		Type       string `json:"type"`
		JSONSchema struct {
			Schema map[string]any `json:"schema"`
		} `json:"json_schema"`
	} `json:"response_format"`
	ReasoningEffort string `json:"reasoning_effort"`
	Logprobs        bool   `json:"logprobs"`
	TopLogprobs     int    `json:"top_logprobs"`
}

type streamOptions struct {
	IncludeUsage bool `json:"include_usage"`
}

type chatMessage struct {
	Role      string          `json:"role"`
	Content   json.RawMessage `json:"content"`
	ToolCalls json.RawMessage `json:"tool_calls"`
}

type chatTool struct {
	Function struct {
		Name       string         `json:"name"`
		Parameters map[string]any `json:"parameters"`
	} `json:"function"`
}

type chatReply struct {
	ID                string       `json:"id"`
	Object            string       `json:"object"`
	Created           int64        `json:"created"`
	Model             string       `json:"model"`
	SystemFingerprint string       `json:"system_fingerprint"`
	Choices           []chatChoice `json:"choices"`
	Usage             *usage       `json:"usage,omitempty"`
	Timings           *timings     `json:"timings,omitempty"`
}

type chatChoice struct {
	Index        int           `json:"index"`
	Message      *chatDelta    `json:"message,omitempty"`
	Delta        *chatDelta    `json:"delta,omitempty"`
	FinishReason *string       `json:"finish_reason"`
	Logprobs     *chatLogprobs `json:"logprobs,omitempty"`
}

// chatDelta is a message or a part of one. Content is a string, a nil *string
// for null, or nil for none.
type chatDelta struct {
	Role             string     `json:"role,omitempty"`
	Content          any        `json:"content,omitempty"`
	Reasoning        string     `json:"reasoning,omitempty"`
	ReasoningContent string     `json:"reasoning_content,omitempty"`
	ToolCalls        []chatCall `json:"tool_calls,omitempty"`
}

type chatCall struct {
	ID       string       `json:"id,omitempty"`
	Index    *int         `json:"index,omitempty"` // llama.cpp has none in a whole answer
	Type     string       `json:"type,omitempty"`
	Function chatFunction `json:"function"`
}

type chatFunction struct {
	Name      string `json:"name,omitempty"`
	Arguments string `json:"arguments"`
}

type usage struct {
	PromptTokens        int            `json:"prompt_tokens"`
	CompletionTokens    int            `json:"completion_tokens"`
	TotalTokens         int            `json:"total_tokens"`
	PromptTokensDetails *promptDetails `json:"prompt_tokens_details,omitempty"`
}

type promptDetails struct {
	CachedTokens int `json:"cached_tokens"`
}

func (x *exchange) chatCompletions() error {
	var req chatRequest
	if err := x.decode(&req); err != nil {
		return err
	}
	if err := x.beginModel(req.Model); err != nil {
		return err
	}
	if len(req.Messages) == 0 && x.k.like != likeLlama {
		return x.fail(http.StatusBadRequest, "[] is too short - 'messages'")
	}
	q, err := x.chatAsk(&req)
	if err != nil {
		return x.fail(http.StatusBadRequest, err.Error())
	}
	if err := x.canChat(q, false); err != nil {
		return err
	}
	n := 1
	if x.k.like != likeOllama {
		n = min(max(req.N, 1), 16)
	}
	answers := make([]*answer, n)
	for i := range answers {
		answers[i] = x.compose(q, i)
	}
	if req.Stream {
		return x.streamChat(answers, x.wantsUsage(req.StreamOptions.IncludeUsage))
	}
	return x.wholeChat(answers)
}

func (x *exchange) wantsUsage(asked bool) bool {
	if x.k.usage != nil {
		return *x.k.usage
	}
	return asked
}

// canChat refuses what the model cannot do. A model that thinks does so unless
// told not to; mustThink is a request for it in so many words.
func (x *exchange) canChat(q *ask, mustThink bool) error {
	if x.s.models.embeds(x.model) {
		return x.fail(http.StatusBadRequest, fmt.Sprintf("%q does not support chat", x.model))
	}
	thinks := x.s.models.thinks(x.model)
	if mustThink && !thinks {
		return x.fail(http.StatusBadRequest, fmt.Sprintf("%q does not support thinking", x.model))
	}
	q.think = q.think && thinks
	return nil
}

func (x *exchange) chatAsk(req *chatRequest) (*ask, error) {
	q := &ask{
		sampling: fmt.Sprint(number(req.Temperature), number(req.TopP), req.Seed),
		think:    req.ReasoningEffort != "none",
		logprobs: req.Logprobs,
		rivals:   req.TopLogprobs,
		limit:    max(req.MaxCompletionTokens, req.MaxTokens),
		stop:     stopWords(req.Stop),
	}
	prompt, toolResult, err := conversation(req.Messages)
	if err != nil {
		return nil, err
	}
	q.prompt = prompt
	if !toolResult {
		for _, t := range req.Tools {
			q.tools = append(q.tools, tool{t.Function.Name, t.Function.Parameters})
		}
		q.tools = chosen(q.tools, req.ToolChoice, req.ParallelToolCalls)
	}
	switch req.ResponseFormat.Type {
	case "json_object":
		q.json = true
	case "json_schema":
		q.json, q.schema = true, req.ResponseFormat.JSONSchema.Schema
	}
	return q, nil
}

// chosen narrows the tools by tool_choice: none, or one named function. OpenAI's
// two forms and Anthropic's all hold the name in a member "name".
func chosen(tools []tool, choice json.RawMessage, parallel *bool) []tool {
	var word string
	var object struct {
		Type     string
		Name     string
		Function struct{ Name string }
	}
	if json.Unmarshal(choice, &word) == nil && word == "none" {
		return nil
	}
	if json.Unmarshal(choice, &object) == nil {
		if object.Type == "none" {
			return nil
		}
		if name := object.Name + object.Function.Name; name != "" {
			tools = slices.DeleteFunc(tools, func(t tool) bool { return t.name != name })
		}
	}
	if parallel != nil && !*parallel && len(tools) > 1 {
		tools = tools[:1]
	}
	return tools
}

func (x *exchange) newChatReply(object string) chatReply {
	r := chatReply{ID: fmt.Sprintf("chatcmpl-%d", x.id()%999), Object: object, Created: x.now().Unix(), Model: x.model, SystemFingerprint: "fp_ollama"}
	if x.k.like != likeOllama {
		r.ID = fmt.Sprintf("chatcmpl-%032x", x.id())
		r.SystemFingerprint = "b1-simulated"
	}
	return r
}

func (x *exchange) wholeChat(answers []*answer) error {
	r := x.newChatReply("chat.completion")
	tokens := 0
	for i, a := range answers {
		m := &chatDelta{Role: "assistant", Content: a.text()}
		x.setReasoning(m, a.thought())
		for j, c := range a.calls {
			index := &j
			if x.k.like == likeLlama {
				index = nil
			}
			m.ToolCalls = append(m.ToolCalls, chatCall{c.id, index, "function", chatFunction{c.name, c.argsJSON()}})
		}
		choice := chatChoice{Index: i, Message: m, FinishReason: new(a.finish())}
		if a.logprobs != nil {
			choice.Logprobs = &chatLogprobs{a.logprobs}
		}
		r.Choices = append(r.Choices, choice)
		tokens += a.tokens()
	}
	r.Usage, r.Timings = x.usage(answers), x.timings(answers)
	return x.json(r, tokens)
}

func (x *exchange) setReasoning(m *chatDelta, thought string) {
	if x.k.like == likeLlama {
		m.ReasoningContent = thought
	} else {
		m.Reasoning = thought
	}
}

// finish is the answer's finish_reason.
func (a *answer) finish() string {
	switch {
	case len(a.calls) > 0:
		return "tool_calls"
	case a.cut:
		return "length"
	}
	return "stop"
}

func (x *exchange) usage(answers []*answer) *usage {
	u := &usage{PromptTokens: answers[0].promptTokens}
	for _, a := range answers {
		u.CompletionTokens += a.tokens()
	}
	u.TotalTokens = u.PromptTokens + u.CompletionTokens
	if x.k.like == likeLlama {
		u.PromptTokensDetails = &promptDetails{}
	}
	return u
}
