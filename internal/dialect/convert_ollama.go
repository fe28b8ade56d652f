package dialect

import (
	"bytes"
	"slices"
)

// ollamaAnswer is an answer of Ollama's own API as it is put together, or taken
// apart. Lines and whole answers are one kind of object.
type ollamaAnswer struct {
	chat  bool
	model []byte
	made  []byte // created_at of the last line

	role           []byte
	text, thinking joined // content of a message, or response
	calls          series
	logprobs       series

	done bool
	end  []field // what only the end says
}

// joinLines makes one document of the lines.
func joinLines(body []byte, op Op) ([]byte, bool) {
	a := ollamaAnswer{chat: op == OpOllamaChat}
	for line := range bytes.Lines(body) {
		if line = bytes.TrimSpace(line); len(line) == 0 {
			continue
		}
		if a.done || !a.read(line) {
			return nil, false
		}
	}
	if !a.done {
		return nil, false
	}
	o := writer{b: append(make([]byte, 0, len(body)/2), '{')}
	a.write(&o, true, true)
	return o.b, true
}

// splitDocument makes two lines of one document: what it says, and its end.
func splitDocument(body []byte, op Op) ([]byte, bool) {
	a := ollamaAnswer{chat: op == OpOllamaChat}
	if !a.read(bytes.TrimSpace(body)) || !a.done {
		return nil, false
	}
	o := writer{b: append(make([]byte, 0, len(body)+256), '{')}
	a.write(&o, true, false)
	o.b = append(o.b, "\n{"...)
	o.some = false
	a.write(&o, false, true)
	return append(o.b, '\n'), true
}

func (a *ollamaAnswer) read(text []byte) bool {
	fields, ok := readDocument(text)
	if !ok {
		return false
	}
	for _, f := range fields {
		switch {
		case f.name == "done":
			a.done = string(f.value) == "true"
			ok = a.done || string(f.value) == "false"
		case f.name == "message" && a.chat:
			ok = a.readMessage(f.value)
		case f.name == "response" && !a.chat:
			ok = a.text.add(f)
		case f.name == "thinking" && !a.chat:
			ok = a.thinking.add(f)
		case f.name == "logprobs":
			ok = a.logprobs.add(f.value)
		case f.null():
		case f.name == "model":
			ok = a.model == nil || string(a.model) == string(f.value)
			a.model = f.value
		case f.name == "created_at":
			a.made = f.value
		case slices.Contains(ollamaEnd, f.name):
			a.end = append(a.end, f)
		default:
			ok = false
		}
		if !ok {
			return false
		}
	}
	return a.done || len(a.end) == 0
}

// ollamaEnd are the members that stand in the last line only.
var ollamaEnd = []string{
	"done_reason", "context", "total_duration", "load_duration",
	"prompt_eval_count", "prompt_eval_duration", "eval_count", "eval_duration",
}

func (a *ollamaAnswer) readMessage(text []byte) bool {
	fields, ok := readObject(text)
	if !ok {
		return false
	}
	for _, f := range fields {
		switch {
		case f.name == "content":
			ok = a.text.add(f)
		case f.name == "thinking":
			ok = a.thinking.add(f)
		case f.name == "tool_calls":
			ok = a.calls.add(f.value)
		case f.null():
		case f.name == "role":
			ok = a.role == nil || string(a.role) == string(f.value)
			a.role = f.value
		default:
			ok = false
		}
		if !ok {
			return false
		}
	}
	return true
}

// write writes what the answer says, its end, or both.
func (a *ollamaAnswer) write(o *writer, said, end bool) {
	if a.model != nil {
		o.put("model", a.model)
	}
	if a.made != nil {
		o.put("created_at", a.made)
	}
	text := a.text.raw
	if !said {
		text = nil
	}
	if a.chat {
		o.open("message")
		if a.role != nil {
			o.put("role", a.role)
		}
		o.putText("content", text)
	} else {
		o.putText("response", text)
	}
	if said && a.thinking.text {
		o.putText("thinking", a.thinking.raw)
	}
	if said && a.calls.seen {
		o.name("tool_calls")
		o.b = a.calls.appendTo(o.b)
	}
	if a.chat {
		o.shut()
	}
	if said && a.logprobs.seen {
		o.name("logprobs")
		o.b = a.logprobs.appendTo(o.b)
	}
	if end {
		o.put("done", []byte("true"))
		for _, f := range a.end {
			o.put(f.name, f.value)
		}
	} else {
		o.put("done", []byte("false"))
	}
	o.shut()
}
