package simllm

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
)

type responsesRequest struct {
	Model           string
	Input           json.RawMessage
	Instructions    *string
	Stream          bool
	MaxOutputTokens *int             `json:"max_output_tokens"`
	Temperature     *float64         `json:"temperature"`
	TopP            *float64         `json:"top_p"`
	Tools           []map[string]any `json:"tools"`
	ToolChoice      json.RawMessage  `json:"tool_choice"`
	Parallel        *bool            `json:"parallel_tool_calls"`
	Reasoning       *struct {
		Effort  *string `json:"effort"`
		Summary *string `json:"summary"`
	} `json:"reasoning"`
	Text struct {
		Format map[string]any `json:"format"`
	} `json:"text"`
	Metadata map[string]any `json:"metadata"`
}

// object is a JSON object: the Responses API has too many optional members for
// structs to say more.
type object = map[string]any

func (x *exchange) responses() error {
	var req responsesRequest
	if err := x.decode(&req); err != nil {
		return err
	}
	if err := x.beginModel(req.Model); err != nil {
		return err
	}
	q, err := responsesAsk(&req)
	if err != nil {
		return x.fail(http.StatusBadRequest, err.Error())
	}
	if err := x.canChat(q, false); err != nil {
		return err
	}
	a := x.compose(q, 0)
	r := x.newResponse(&req, a)
	if req.Stream {
		return r.stream()
	}
	return x.json(r.finished(), a.tokens())
}

// responsesAsk reads an input that is a text or a list of items. Items with a
// role are messages; the rest (calls and their results) count as text.
func responsesAsk(req *responsesRequest) (*ask, error) {
	q := &ask{sampling: fmt.Sprint(number(req.Temperature), number(req.TopP)), think: true}
	if req.Reasoning != nil && req.Reasoning.Effort != nil {
		q.think = *req.Reasoning.Effort != "none"
	}
	if req.MaxOutputTokens != nil {
		q.limit = *req.MaxOutputTokens
	}
	if req.Instructions != nil {
		q.prompt = *req.Instructions
	}
	text, err := contentText(req.Input)
	toolResult := false
	var items []struct {
		chatMessage
		Type   string
		Output json.RawMessage
	}
	if json.Unmarshal(req.Input, &items) == nil {
		messages := make([]chatMessage, len(items))
		for i, item := range items {
			messages[i] = item.chatMessage
			if item.Output != nil {
				messages[i].Content = item.Output
			}
			toolResult = item.Type == "function_call_output"
		}
		text, _, err = conversation(messages)
	}
	if err != nil {
		return nil, err
	}
	q.prompt += text
	switch req.Text.Format["type"] {
	case "json_object":
		q.json = true
	case "json_schema":
		q.json = true
		q.schema, _ = req.Text.Format["schema"].(object)
	}
	if !toolResult {
		q.tools = chosen(functionTools(req.Tools), req.ToolChoice, req.Parallel)
	}
	return q, nil
}

func functionTools(given []object) []tool {
	var tools []tool
	for _, t := range given {
		name, _ := t["name"].(string)
		schema, _ := t["parameters"].(object)
		if t["type"] == "function" {
			tools = append(tools, tool{name, schema})
		}
	}
	return tools
}

// response spells an answer for /v1/responses.
type response struct {
	x      *exchange
	a      *answer
	number uint64
	base   object // what every state of the response object shares
}

func (x *exchange) newResponse(req *responsesRequest, a *answer) *response {
	n := x.id()
	tools := make([]object, 0, len(req.Tools))
	for _, t := range req.Tools {
		if _, ok := t["strict"]; !ok {
			t["strict"] = nil
		}
		tools = append(tools, t)
	}
	format := req.Text.Format
	if format == nil {
		format = object{"type": "text"}
	}
	metadata := req.Metadata
	if metadata == nil {
		metadata = object{}
	}
	var reasoning any
	if req.Reasoning != nil {
		reasoning = object{"effort": req.Reasoning.Effort, "summary": req.Reasoning.Summary}
	}
	return &response{x: x, a: a, number: n, base: object{
		"id": fmt.Sprintf("resp_%d", n), "object": "response", "created_at": x.now().Unix(), "model": x.model,
		"instructions": req.Instructions, "max_output_tokens": req.MaxOutputTokens, "tools": tools,
		"temperature": orOne(req.Temperature), "top_p": orOne(req.TopP), "reasoning": reasoning,
		"text": object{"format": format}, "metadata": metadata,
		"tool_choice": "auto", "parallel_tool_calls": req.Parallel == nil || *req.Parallel, "truncation": "disabled",
		"background": false, "store": false, "service_tier": "default",
		"frequency_penalty": 0, "presence_penalty": 0, "top_logprobs": 0,
		"max_tool_calls": nil, "previous_response_id": nil, "prompt_cache_key": nil, "safety_identifier": nil,
		"error": nil, "incomplete_details": nil, "completed_at": nil,
	}}
}

func orOne(f *float64) float64 {
	if f == nil {
		return 1
	}
	return *f
}

// with returns o with more members; later ones win.
func with(o object, more object) object {
	out := maps.Clone(o)
	maps.Copy(out, more)
	return out
}

// started is the response object before it has any output.
func (r *response) started() object {
	return with(r.base, object{"status": "in_progress", "output": []any{}, "usage": nil})
}

func (r *response) finished() object {
	var output []any
	if len(r.a.thinking) > 0 {
		output = append(output, r.reasoningItem())
	}
	if len(r.a.calls) == 0 {
		output = append(output, r.messageItem("completed", []any{r.textPart(r.a.text())}))
	}
	for i, c := range r.a.calls {
		output = append(output, r.callItem(i, "completed", c.argsJSON()))
	}
	done := object{
		"status": "completed", "completed_at": r.x.now().Unix(), "output": output,
		"usage": object{
			"input_tokens": r.a.promptTokens, "output_tokens": r.a.tokens(), "total_tokens": r.a.promptTokens + r.a.tokens(),
			"input_tokens_details":  object{"cached_tokens": 0},
			"output_tokens_details": object{"reasoning_tokens": len(r.a.thinking)},
		},
	}
	if r.a.cut {
		done["status"], done["completed_at"] = "incomplete", nil
		done["incomplete_details"] = object{"reason": "max_output_tokens"}
	}
	return with(r.base, done)
}

func (r *response) messageID() string   { return fmt.Sprintf("msg_%d", r.number) }
func (r *response) reasoningID() string { return fmt.Sprintf("rs_%d", r.number) }
func (r *response) callID(i int) string { return fmt.Sprintf("fc_%d_%d", r.number, i) }

func (r *response) textPart(text string) object {
	return object{"type": "output_text", "text": text, "annotations": []any{}, "logprobs": []any{}}
}

func (r *response) messageItem(status string, content []any) object {
	return object{"id": r.messageID(), "type": "message", "role": "assistant", "status": status, "content": content}
}

func (r *response) reasoningItem() object {
	return object{
		"id": r.reasoningID(), "type": "reasoning", "encrypted_content": r.a.thought(),
		"summary": []any{object{"type": "summary_text", "text": r.a.thought()}},
	}
}

func (r *response) callItem(i int, status, args string) object {
	c := r.a.calls[i]
	return object{"id": r.callID(i), "type": "function_call", "call_id": c.id, "name": c.name, "status": status, "arguments": args}
}
