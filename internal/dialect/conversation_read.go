package dialect

import "bytes"

// readChoices reads a chunk or an answer of chat or completions.
func (a *assembly) readChoices(c *cursor) {
	c.object()
	for name, ok := c.member(); ok; name, ok = c.member() {
		if string(name) != "choices" {
			c.skip()
			continue
		}
		if !c.array() {
			continue
		}
		for c.element() {
			if c.object() {
				a.readChoice(c)
			}
		}
	}
}

// readChoice reads one choice. Its index may stand behind what it says.
func (a *assembly) readChoice(c *cursor) {
	var index int64
	var message, text []byte
	for name, ok := c.member(); ok; name, ok = c.member() {
		switch string(name) {
		case "index":
			index, _ = c.count()
		case "delta", "message":
			message = c.value()
		case "text":
			text = c.str()
		default:
			c.skip()
		}
	}
	v := a.voice(index)
	v.text = append(v.text, text...)
	if message != nil {
		v.readMessage(&cursor{b: message})
	}
}

// readMessage reads a message, or a delta of one, of OpenAI's and Ollama's form.
func (v *voice) readMessage(c *cursor) {
	if !c.object() {
		return
	}
	var reasoning, content []byte
	for name, ok := c.member(); ok; name, ok = c.member() {
		switch string(name) {
		case "content":
			v.text = saying(c, v.text)
		case "refusal":
			v.text = append(v.text, c.str()...)
		case "reasoning", "thinking":
			reasoning = saying(c, nil)
		case "reasoning_content":
			content = saying(c, nil)
		case "tool_calls":
			v.readCalls(c)
		case "function_call": // the older form, of one call
			v.call(0).readFunction(c)
		default:
			c.skip()
		}
	}
	// Some servers say the same under both names.
	if len(reasoning) == 0 {
		reasoning = content
	}
	v.reasoning = append(v.reasoning, reasoning...)
}

// readCalls reads a list of calls, or of pieces of calls.
func (v *voice) readCalls(c *cursor) {
	if !c.array() {
		return
	}
	for at := int64(len(v.calls)); c.element(); at++ {
		if c.object() {
			v.readCall(c, at)
		}
	}
}

// readCall reads one call, or a piece of one that names it by its index. One
// without an index stands for itself.
func (v *voice) readCall(c *cursor, slot int64) {
	var id, function []byte
	for name, ok := c.member(); ok; name, ok = c.member() {
		switch string(name) {
		case "index":
			if n, ok := c.count(); ok {
				slot = n
			}
		case "id":
			id = c.str()
		case "function", "custom":
			function = c.value()
		default:
			c.skip()
		}
	}
	k := v.call(slot)
	if len(id) > 0 {
		k.id = id
	}
	if function != nil {
		k.readFunction(&cursor{b: function})
	}
}

// readFunction reads what is called. A server that repeats the name says the
// same again.
func (k *call) readFunction(c *cursor) {
	if !c.object() {
		return
	}
	for name, ok := c.member(); ok; name, ok = c.member() {
		switch string(name) {
		case "name":
			if tool := c.str(); len(tool) > 0 {
				k.name = tool
			}
		case "arguments", "input":
			k.argue(c)
		default:
			c.skip()
		}
	}
}

// readOllama reads a line, or an answer, of chat or generate. Each line has its
// calls whole, and numbers them anew or not at all.
func (a *assembly) readOllama(c *cursor) {
	v := a.voice(0)
	c.object()
	for name, ok := c.member(); ok; name, ok = c.member() {
		switch string(name) {
		case "message":
			line := voice{}
			line.readMessage(c)
			v.text = append(v.text, line.text...)
			v.reasoning = append(v.reasoning, line.reasoning...)
			v.calls = append(v.calls, line.calls...)
		case "response":
			v.text = append(v.text, c.str()...)
		case "thinking":
			v.reasoning = append(v.reasoning, c.str()...)
		default:
			c.skip()
		}
	}
}

// readMessages reads an event of messages, or a message.
func (a *assembly) readMessages(c *cursor) {
	v := a.voice(0)
	var index int64
	var piece []byte
	c.object()
	for name, ok := c.member(); ok; name, ok = c.member() {
		switch string(name) {
		case "index":
			index, _ = c.count()
		case "delta", "content_block":
			piece = c.value()
		case "content":
			if !c.array() {
				continue
			}
			for at := int64(0); c.element(); at++ {
				v.readBlock(c.value(), at)
			}
		default:
			c.skip()
		}
	}
	v.readBlock(piece, index)
}

// readBlock reads a block of content, its start, or a delta of it.
func (v *voice) readBlock(block []byte, index int64) {
	c := cursor{b: block}
	if c.peek() != '{' {
		return
	}
	c.i++
	var kind, id, tool, input []byte
	for name, ok := c.member(); ok; name, ok = c.member() {
		switch string(name) {
		case "type":
			kind = c.str()
		case "text":
			v.text = append(v.text, c.str()...)
		case "thinking":
			v.reasoning = append(v.reasoning, c.str()...)
		case "id":
			id = c.str()
		case "name":
			tool = c.str()
		case "input":
			input = c.value()
		case "partial_json":
			k := v.call(index)
			k.spelled = append(k.spelled, c.str()...)
		default:
			c.skip()
		}
	}
	if bytes.HasSuffix(kind, []byte("tool_use")) {
		k := v.call(index)
		k.id, k.name, k.arguments = id, tool, input
	}
}
