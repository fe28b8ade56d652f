package simllm

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"time"
)

type ollamaRequest struct {
	Model       string
	Messages    []ollamaMessage
	Prompt      string
	Suffix      string
	System      string
	Images      json.RawMessage
	Raw         bool
	Stream      *bool
	Format      json.RawMessage
	Think       json.RawMessage // true, false or "low" … "high"
	Tools       []chatTool
	KeepAlive   json.RawMessage `json:"keep_alive"`
	Logprobs    bool
	TopLogprobs int `json:"top_logprobs"`
	Options     struct {
		NumPredict  int `json:"num_predict"`
		Temperature any `json:"temperature"`
		TopP        any `json:"top_p"`
		Seed        any `json:"seed"`
		Stop        []string
	}
}

type ollamaMessage struct {
	Role      string          `json:"role"`
	Content   string          `json:"content"`
	Thinking  string          `json:"thinking,omitempty"`
	Images    json.RawMessage `json:"images,omitempty"`
	ToolCalls []ollamaCall    `json:"tool_calls,omitempty"`
}

type ollamaCall struct {
	ID       string         `json:"id,omitempty"`
	Function ollamaFunction `json:"function"`
}

type ollamaFunction struct {
	Index     int            `json:"index"`
	Name      string         `json:"name"`
	Arguments map[string]any `json:"arguments"`
}

// ollamaReply is an answer, or a line of one: chat has a message, generate a
// response.
type ollamaReply struct {
	Model      string         `json:"model"`
	CreatedAt  any            `json:"created_at"`
	Message    *ollamaMessage `json:"message,omitempty"`
	Response   *string        `json:"response,omitempty"`
	Thinking   string         `json:"thinking,omitempty"`
	Done       bool           `json:"done"`
	DoneReason string         `json:"done_reason,omitempty"`
	Context    []int          `json:"context,omitempty"`
	Logprobs   []logprob      `json:"logprobs,omitempty"`
	ollamaMetrics
}

type ollamaMetrics struct {
	TotalDuration      time.Duration `json:"total_duration,omitempty"`
	LoadDuration       time.Duration `json:"load_duration,omitempty"`
	PromptEvalCount    int           `json:"prompt_eval_count,omitempty"`
	PromptEvalDuration time.Duration `json:"prompt_eval_duration,omitempty"`
	EvalCount          int           `json:"eval_count,omitempty"`
	EvalDuration       time.Duration `json:"eval_duration,omitempty"`
}

func (x *exchange) chat() error     { return x.native(true) }
func (x *exchange) generate() error { return x.native(false) }

// native answers /api/chat and /api/generate.
func (x *exchange) native(chat bool) error {
	var req ollamaRequest
	if err := x.decode(&req); err != nil {
		return err
	}
	if err := x.beginModel(req.Model); err != nil {
		return err
	}
	n := &nativeAnswer{x: x, chat: chat}
	if chat && len(req.Messages) == 0 || !chat && req.Prompt == "" && req.Suffix == "" {
		return n.load(req.KeepAlive)
	}
	q := &ask{
		sampling: fmt.Sprint(req.Options.Temperature, req.Options.TopP, req.Options.Seed),
		think:    string(req.Think) != "false",
		limit:    max(req.Options.NumPredict, 0),
		stop:     req.Options.Stop,
		logprobs: req.Logprobs,
		rivals:   req.TopLogprobs,
	}
	if err := q.setFormat(req.Format); err != nil {
		return x.fail(http.StatusInternalServerError, err.Error())
	}
	if _, bad := req.Options.Temperature.(string); bad {
		return x.fail(http.StatusInternalServerError, `option "temperature" must be of type float32`)
	}
	q.prompt = req.System + req.Prompt + req.Suffix + string(req.Images)
	if chat {
		q.prompt = ollamaConversation(req.Messages)
		if req.Messages[len(req.Messages)-1].Role != "tool" {
			for _, t := range req.Tools {
				q.tools = append(q.tools, tool{t.Function.Name, t.Function.Parameters})
			}
		}
	}
	asked := len(req.Think) > 0 && string(req.Think) != "false" && string(req.Think) != "null"
	if err := x.canChat(q, asked); err != nil {
		return err
	}
	x.s.models.load(x.model, req.KeepAlive, time.Now())
	n.a = x.compose(q, 0)
	n.withContext = !chat && !req.Raw
	if req.Stream != nil && !*req.Stream {
		return x.json(n.whole(), n.a.tokens())
	}
	return n.stream()
}

// setFormat reads format: "json", a schema, or nothing.
func (q *ask) setFormat(raw json.RawMessage) error {
	raw = bytes.TrimSpace(raw)
	switch {
	case len(raw) == 0, string(raw) == "null", string(raw) == `""`:
		return nil
	case string(raw) == `"json"`:
		q.json = true
		return nil
	case raw[0] == '{':
		q.json = true
		return json.Unmarshal(raw, &q.schema)
	}
	return fmt.Errorf(`invalid format: %q; expected "json" or a valid JSON Schema object`, raw)
}

func ollamaConversation(messages []ollamaMessage) string {
	var b bytes.Buffer
	for _, m := range messages {
		fmt.Fprintf(&b, "%s: %s%s\n", m.Role, m.Content, m.Images)
	}
	return b.String()
}

// nativeAnswer spells an answer for /api/chat or /api/generate.
type nativeAnswer struct {
	x           *exchange
	a           *answer
	chat        bool
	withContext bool
}

// reply is a line that holds a part of the text, of the reasoning, or a call.
func (n *nativeAnswer) reply(text, thought string, calls []ollamaCall) ollamaReply {
	r := ollamaReply{Model: n.x.model, CreatedAt: n.x.now()}
	if n.chat {
		r.Message = &ollamaMessage{Role: "assistant", Content: text, Thinking: thought, ToolCalls: calls}
	} else {
		r.Response, r.Thinking = &text, thought
	}
	return r
}

// load answers a request without a prompt, which is a command.
func (n *nativeAnswer) load(keepAlive json.RawMessage) error {
	r := n.reply("", "", nil)
	r.Done, r.DoneReason = true, "load"
	if !n.x.s.models.load(n.x.model, keepAlive, time.Now()) {
		r.DoneReason = "unload"
	}
	return n.x.json(r, 0)
}

// end completes the last line.
func (n *nativeAnswer) end(r ollamaReply) ollamaReply {
	r.Done, r.DoneReason = true, "stop"
	if n.a.cut {
		r.DoneReason = "length"
	}
	took := n.x.since()
	r.ollamaMetrics = ollamaMetrics{
		TotalDuration: took, LoadDuration: max(took/8, 1),
		PromptEvalCount: n.a.promptTokens, PromptEvalDuration: max(took/8, 1),
		EvalCount: n.a.tokens(), EvalDuration: max(took/2, 1),
	}
	if n.withContext {
		r.Context = make([]int, min(n.a.tokens(), 64))
		for i := range r.Context {
			r.Context[i] = 259 + i
		}
	}
	return r
}

func (n *nativeAnswer) whole() ollamaReply {
	var calls []ollamaCall
	for i, c := range n.a.calls {
		calls = append(calls, ollamaCall{c.id, ollamaFunction{i, c.name, c.args}})
	}
	r := n.end(n.reply(n.a.text(), n.a.thought(), calls))
	r.Logprobs = n.a.logprobs
	return r
}

func (n *nativeAnswer) stream() error {
	t, err := n.x.stream(typeNDJSON)
	if err != nil {
		return err
	}
	words := n.a.words
	if n.a.logprobs != nil {
		words = nil // sent below, each with its own
	}
	for _, part := range []struct {
		words         []string
		text, thought string
	}{{n.a.thinking, "", holeWord}, {words, holeWord, ""}} {
		r := n.reply(part.text, part.thought, nil)
		r.CreatedAt = holeTime
		line, err := newTemplate(r)
		if err != nil {
			return err
		}
		for _, word := range part.words {
			if err := t.token("", line, word); err != nil {
				return err
			}
		}
	}
	for i, p := range n.a.logprobs {
		r := n.reply(n.a.words[i], "", nil)
		r.Logprobs = []logprob{p}
		if err := t.paced("", r); err != nil {
			return err
		}
	}
	for i, c := range n.a.calls {
		if err := t.paced("", n.reply("", "", []ollamaCall{{c.id, ollamaFunction{i, c.name, c.args}}})); err != nil {
			return err
		}
	}
	t.last = true
	return t.event("", n.end(n.reply("", "", nil)))
}
