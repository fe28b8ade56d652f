package dialect

import (
	"slices"
	"strconv"
)

// openAIShape is what tells chat from completions.
type openAIShape struct {
	whole, chunk string // the `object` of an answer and of its chunks, quoted
	message      bool   // a choice has a message, or a delta of one
	texts        []string
}

var (
	chatShape = openAIShape{`"chat.completion"`, `"chat.completion.chunk"`, true,
		[]string{"content", "reasoning", "reasoning_content", "refusal"}}
	completionShape = openAIShape{`"text_completion"`, `"text_completion"`, false, []string{"text"}}
)

// openAIAnswer is an answer as it is put together, or taken apart.
type openAIAnswer struct {
	*openAIShape
	head    []field // what each chunk repeats
	usage   []byte
	timings []byte // llama.cpp's
	choices []*openAIChoice
}

type openAIChoice struct {
	index    int64
	role     []byte
	texts    []joined // in the order of the shape's
	calls    []*toolCall
	logprobs []series // by name
	null     bool     // logprobs is null
	finish   []byte   // quoted
	stop     []byte   // vLLM's stop_reason
}

type toolCall struct {
	index          int64
	id, kind, name []byte
	arguments      joined
}

// join makes one document of the chunks.
func (s *openAIShape) join(body []byte) ([]byte, bool) {
	data, _, ok := sseData(body)
	if !ok || len(data) == 0 {
		return nil, false
	}
	a := openAIAnswer{openAIShape: s}
	for _, d := range data {
		if !a.read(d, true) {
			return nil, false
		}
	}
	if a.usage == nil || !a.finished() {
		return nil, false
	}
	return a.document(len(body)), true
}

// split makes chunks of one document.
func (s *openAIShape) split(body []byte, usage bool) ([]byte, bool) {
	a := openAIAnswer{openAIShape: s}
	if !a.read(body, false) || !a.finished() || usage && a.usage == nil {
		return nil, false
	}
	return a.chunks(len(body), usage), true
}

// finished tells whether all choices have ended, and are those that there should be.
func (a *openAIAnswer) finished() bool {
	slices.SortFunc(a.choices, func(x, y *openAIChoice) int { return int(x.index - y.index) })
	for i, c := range a.choices {
		if c.index != int64(i) || c.finish == nil {
			return false
		}
		for j, call := range c.calls {
			if call.index != int64(j) {
				return false
			}
		}
	}
	return len(a.choices) > 0
}

// read adds a chunk, or reads the whole answer.
func (a *openAIAnswer) read(text []byte, chunk bool) bool {
	fields, ok := readDocument(text)
	if !ok {
		return false
	}
	for _, f := range fields {
		switch f.name {
		case "object":
			if kind := string(f.value); chunk && kind != a.chunk || !chunk && kind != a.whole {
				return false
			}
		case "id", "created", "model", "system_fingerprint", "service_tier":
			if !a.repeat(f) {
				return false
			}
		case "choices":
			choices, ok := readArray(f.value)
			if !ok {
				return false
			}
			for _, c := range choices {
				if !a.readChoice(c, chunk) {
					return false
				}
			}
		case "usage":
			if !f.null() {
				a.usage = f.value
			}
		case "timings":
			if !f.null() {
				a.timings = f.value
			}
		default:
			if !f.null() {
				return false
			}
		}
	}
	return true
}

// repeat notes what all chunks say alike.
func (a *openAIAnswer) repeat(f field) bool {
	i := slices.IndexFunc(a.head, func(h field) bool { return h.name == f.name })
	if i < 0 {
		if !f.null() {
			a.head = append(a.head, f)
		}
		return true
	}
	return f.null() || f.name == "created" || string(a.head[i].value) == string(f.value)
}

func (a *openAIAnswer) readChoice(text []byte, chunk bool) bool {
	fields, ok := readObject(text)
	if !ok {
		return false
	}
	at := slices.IndexFunc(fields, func(f field) bool { return f.name == "index" })
	if at < 0 {
		return false
	}
	index, ok := wholeNumber(fields[at].value)
	if !ok {
		return false
	}
	c := a.choice(index)
	inner := "message"
	if chunk {
		inner = "delta"
	}
	for _, f := range fields {
		switch {
		case f.name == "index":
		case f.name == inner && a.message:
			ok = a.readMessage(c, f.value, chunk)
		case f.name == "text" && !a.message:
			ok = c.texts[0].add(f)
		case f.name == "logprobs":
			ok = c.readLogprobs(f)
		case f.null():
		case f.name == "finish_reason":
			_, ok = f.text()
			ok = ok && (c.finish == nil || string(c.finish) == string(f.value))
			c.finish = f.value
		case f.name == "stop_reason":
			ok = c.stop == nil || string(c.stop) == string(f.value)
			c.stop = f.value
		default:
			ok = false
		}
		if !ok {
			return false
		}
	}
	return true
}

// choice returns the choice of an index, a new one at first.
func (a *openAIAnswer) choice(index int64) *openAIChoice {
	for _, c := range a.choices {
		if c.index == index {
			return c
		}
	}
	c := &openAIChoice{index: index, texts: make([]joined, len(a.texts))}
	a.choices = append(a.choices, c)
	return c
}

func (a *openAIAnswer) readMessage(c *openAIChoice, text []byte, chunk bool) bool {
	fields, ok := readObject(text)
	if !ok {
		return false
	}
	for _, f := range fields {
		i := slices.Index(a.texts, f.name)
		switch {
		case i >= 0:
			ok = c.texts[i].add(f)
		case f.null():
		case f.name == "role":
			_, ok = f.text()
			ok = ok && (c.role == nil || string(c.role) == string(f.value))
			c.role = f.value
		case f.name == "tool_calls":
			ok = c.readCalls(f.value, chunk)
		case f.name == "annotations": // of a web search; without any there is nothing in it
			ok = string(f.value) == "[]"
		default:
			ok = false
		}
		if !ok {
			return false
		}
	}
	return true
}

func (c *openAIChoice) readCalls(value []byte, chunk bool) bool {
	calls, ok := readArray(value)
	if !ok {
		return false
	}
	for i, text := range calls {
		fields, ok := readObject(text)
		if !ok {
			return false
		}
		index := int64(i)
		at := slices.IndexFunc(fields, func(f field) bool { return f.name == "index" })
		if at >= 0 {
			if index, ok = wholeNumber(fields[at].value); !ok {
				return false
			}
		} else if chunk {
			return false
		}
		if !c.call(index).read(fields) {
			return false
		}
	}
	return true
}

func (c *openAIChoice) call(index int64) *toolCall {
	for _, t := range c.calls {
		if t.index == index {
			return t
		}
	}
	t := &toolCall{index: index}
	c.calls = append(c.calls, t)
	return t
}

func (t *toolCall) read(fields []field) bool {
	for _, f := range fields {
		ok := true
		switch {
		case f.name == "index", f.null():
		case f.name == "id":
			ok = once(&t.id, f)
		case f.name == "type":
			ok = once(&t.kind, f)
		case f.name == "function":
			var inner []field
			inner, ok = readObject(f.value)
			for _, f := range inner {
				switch {
				case f.null():
				case f.name == "name":
					ok = ok && once(&t.name, f)
				case f.name == "arguments":
					ok = ok && t.arguments.add(f)
				default:
					ok = false
				}
			}
		default:
			ok = false
		}
		if !ok {
			return false
		}
	}
	return true
}

// once sets a text that is given in one piece. Servers may repeat it.
func once(to *[]byte, f field) bool {
	text, ok := f.text()
	if !ok || len(text) > 0 && *to != nil && string(*to) != string(f.value) {
		return false
	}
	if len(text) > 0 || *to == nil {
		*to = f.value
	}
	return true
}

// readLogprobs reads an object whose members are lists, one element for each token.
func (c *openAIChoice) readLogprobs(f field) bool {
	if f.null() {
		c.null = true
		return true
	}
	fields, ok := readObject(f.value)
	if !ok {
		return false
	}
	for _, f := range fields {
		i := slices.IndexFunc(c.logprobs, func(l series) bool { return l.name == f.name })
		if i < 0 {
			i = len(c.logprobs)
			c.logprobs = append(c.logprobs, series{name: f.name})
		}
		if !c.logprobs[i].add(f.value) {
			return false
		}
	}
	return true
}

// wholeNumber reads a small whole number.
func wholeNumber(value []byte) (int64, bool) {
	n, err := strconv.ParseInt(string(value), 10, 32)
	return n, err == nil && n >= 0
}
