package simllm

import (
	"encoding/json"
	"fmt"
	"net/http"
)

type messagesRequest struct {
	Model         string
	Messages      []chatMessage
	System        json.RawMessage
	MaxTokens     int `json:"max_tokens"`
	Stream        bool
	StopSequences []string `json:"stop_sequences"`
	Temperature   *float64
	TopP          *float64        `json:"top_p"`
	ToolChoice    json.RawMessage `json:"tool_choice"`
	Thinking      struct{ Type string }
	Tools         []struct {
		Name        string
		InputSchema map[string]any `json:"input_schema"`
	}
}

type messageReply struct {
	ID         string         `json:"id"`
	Type       string         `json:"type"`
	Role       string         `json:"role"`
	Model      string         `json:"model"`
	Content    []messageBlock `json:"content"`
	StopReason string         `json:"stop_reason,omitempty"`
	Usage      messageUsage   `json:"usage"`
}

type messageBlock struct {
	Type     string  `json:"type"`
	Text     *string `json:"text,omitempty"`
	Thinking *string `json:"thinking,omitempty"`
	ID       string  `json:"id,omitempty"`
	Name     string  `json:"name,omitempty"`
	Input    any     `json:"input,omitempty"`
}

type messageUsage struct {
	InputTokens  int `json:"input_tokens"`
	OutputTokens int `json:"output_tokens"`
}

func (x *exchange) messages() error {
	req, q, err := x.messagesAsk()
	if err != nil {
		return err
	}
	if req.MaxTokens <= 0 {
		return x.fail(http.StatusBadRequest, "max_tokens is required and must be positive")
	}
	if len(req.Messages) == 0 {
		return x.fail(http.StatusBadRequest, "messages is required")
	}
	if err := x.canChat(q, false); err != nil {
		return err
	}
	a := x.compose(q, 0)
	r := messageReply{
		ID: fmt.Sprintf("msg_%024x", x.id()), Type: "message", Role: "assistant", Model: x.model,
		Content: []messageBlock{}, Usage: messageUsage{InputTokens: a.promptTokens},
	}
	if req.Stream {
		return x.streamMessage(a, r)
	}
	if len(a.thinking) > 0 {
		r.Content = append(r.Content, messageBlock{Type: "thinking", Thinking: new(a.thought())})
	}
	if len(a.calls) == 0 {
		r.Content = append(r.Content, messageBlock{Type: "text", Text: new(a.text())})
	}
	for _, c := range a.calls {
		r.Content = append(r.Content, messageBlock{Type: "tool_use", ID: c.id, Name: c.name, Input: c.args})
	}
	r.StopReason, r.Usage.OutputTokens = a.stopReason(), a.tokens()
	return x.json(r, a.tokens())
}

// countMessageTokens is what vLLM and llama.cpp have and Ollama has not.
func (x *exchange) countMessageTokens() error {
	_, q, err := x.messagesAsk()
	if err != nil {
		return err
	}
	return x.json(struct {
		InputTokens int `json:"input_tokens"`
	}{countTokens(q.prompt)}, 0)
}

func (x *exchange) messagesAsk() (*messagesRequest, *ask, error) {
	var req messagesRequest
	if err := x.decode(&req); err != nil {
		return nil, nil, err
	}
	if err := x.beginModel(req.Model); err != nil {
		return nil, nil, err
	}
	prompt, toolResult, err := conversation(req.Messages)
	if err != nil {
		return nil, nil, x.fail(http.StatusBadRequest, err.Error())
	}
	system, err := contentText(req.System)
	if err != nil {
		return nil, nil, x.fail(http.StatusBadRequest, err.Error())
	}
	q := &ask{
		prompt:   system + prompt,
		sampling: fmt.Sprint(number(req.Temperature), number(req.TopP)),
		think:    req.Thinking.Type != "disabled",
		limit:    req.MaxTokens,
		stop:     req.StopSequences,
	}
	if !toolResult {
		for _, t := range req.Tools {
			q.tools = append(q.tools, tool{t.Name, t.InputSchema})
		}
		q.tools = chosen(q.tools, req.ToolChoice, nil)
	}
	return &req, q, nil
}

func (a *answer) stopReason() string {
	switch {
	case len(a.calls) > 0:
		return "tool_use"
	case a.cut:
		return "max_tokens"
	}
	return "end_turn"
}

// messageEvent is any event of the stream; each type uses some of the fields.
type messageEvent struct {
	Type         string        `json:"type"`
	Message      *messageReply `json:"message,omitempty"`
	Index        *int          `json:"index,omitempty"`
	ContentBlock *messageBlock `json:"content_block,omitempty"`
	Delta        *messageDelta `json:"delta,omitempty"`
	Usage        *messageUsage `json:"usage,omitempty"`
}

type messageDelta struct {
	Type        string `json:"type,omitempty"`
	Text        string `json:"text,omitempty"`
	Thinking    string `json:"thinking,omitempty"`
	PartialJSON string `json:"partial_json,omitempty"`
	StopReason  string `json:"stop_reason,omitempty"`
}

func (x *exchange) streamMessage(a *answer, r messageReply) error {
	x.w.Header().Set("Cache-Control", "no-cache")
	t, err := x.stream(typeSSE)
	if err != nil {
		return err
	}
	m := &messageStream{stream: t}
	if err := m.send(messageEvent{Type: "message_start", Message: &r}); err != nil {
		return err
	}
	if len(a.thinking) > 0 {
		block := messageBlock{Type: "thinking", Thinking: new("")}
		if err := m.block(block, messageDelta{Type: "thinking_delta", Thinking: holeWord}, a.thinking); err != nil {
			return err
		}
	}
	if len(a.calls) == 0 {
		block := messageBlock{Type: "text", Text: new("")}
		if err := m.block(block, messageDelta{Type: "text_delta", Text: holeWord}, a.words); err != nil {
			return err
		}
	}
	for _, c := range a.calls {
		block := messageBlock{Type: "tool_use", ID: c.id, Name: c.name, Input: struct{}{}}
		if err := m.block(block, messageDelta{Type: "input_json_delta", PartialJSON: holeWord}, []string{c.argsJSON()}); err != nil {
			return err
		}
	}
	total := messageUsage{a.promptTokens, a.tokens()}
	if err := m.send(messageEvent{Type: "message_delta", Delta: &messageDelta{StopReason: a.stopReason()}, Usage: &total}); err != nil {
		return err
	}
	return m.send(messageEvent{Type: "message_stop"})
}

// messageStream numbers the content blocks.
type messageStream struct {
	*stream
	index int
}

func (m *messageStream) send(e messageEvent) error { return m.event(e.Type, e) }

// block sends one content block, a delta for each word.
func (m *messageStream) block(block messageBlock, delta messageDelta, words []string) error {
	index := m.index
	m.index++
	if err := m.send(messageEvent{Type: "content_block_start", Index: &index, ContentBlock: &block}); err != nil {
		return err
	}
	event, err := newTemplate(messageEvent{Type: "content_block_delta", Index: &index, Delta: &delta})
	if err != nil {
		return err
	}
	for _, word := range words {
		if err := m.token("content_block_delta", event, word); err != nil {
			return err
		}
	}
	return m.send(messageEvent{Type: "content_block_stop", Index: &index})
}
