package dialect

import "strconv"

// document writes the whole answer.
func (a *openAIAnswer) document(size int) []byte {
	o := writer{b: append(make([]byte, 0, size/2), '{')}
	a.writeHead(&o, a.whole)
	o.name("choices")
	for i, c := range a.choices {
		o.item(i)
		o.put("index", strconv.AppendInt(nil, c.index, 10))
		if a.message {
			o.open("message")
			a.writeMessage(&o, c, false)
			o.shut()
		} else {
			o.putText("text", c.texts[0].raw)
		}
		c.writeLogprobs(&o)
		o.put("finish_reason", c.finish)
		if c.stop != nil {
			o.put("stop_reason", c.stop)
		}
		o.shut()
	}
	o.b = append(o.b, ']')
	o.put("usage", a.usage)
	if a.timings != nil {
		o.put("timings", a.timings)
	}
	o.shut()
	return o.b
}

func (a *openAIAnswer) writeHead(o *writer, kind string) {
	o.put("object", []byte(kind))
	for _, f := range a.head {
		o.put(f.name, f.value)
	}
}

// writeMessage writes what is said, and what tools are called; those of a chunk
// are numbered.
func (a *openAIAnswer) writeMessage(o *writer, c *openAIChoice, chunk bool) {
	if c.role != nil {
		o.put("role", c.role)
	}
	for i, name := range a.texts {
		switch t := c.texts[i]; {
		case t.text:
			o.putText(name, t.raw)
		case name == "content":
			o.put(name, []byte("null"))
		}
	}
	if len(c.calls) == 0 {
		return
	}
	o.name("tool_calls")
	for i, t := range c.calls {
		o.item(i)
		if chunk {
			o.put("index", strconv.AppendInt(nil, t.index, 10))
		}
		if t.id != nil {
			o.put("id", t.id)
		}
		if t.kind != nil {
			o.put("type", t.kind)
		}
		o.open("function")
		if t.name != nil {
			o.put("name", t.name)
		}
		if t.arguments.text {
			o.putText("arguments", t.arguments.raw)
		}
		o.shut()
		o.shut()
	}
	o.b = append(o.b, ']')
}

func (c *openAIChoice) writeLogprobs(o *writer) {
	switch {
	case len(c.logprobs) > 0:
		o.open("logprobs")
		for _, l := range c.logprobs {
			if l.seen {
				o.name(l.name)
				o.b = l.appendTo(o.b)
			} else {
				o.put(l.name, []byte("null"))
			}
		}
		o.shut()
	case c.null:
		o.put("logprobs", []byte("null"))
	}
}

// chunks writes a stream: for each choice one chunk with all it says and one with
// its end, then the counts if they are wanted.
func (a *openAIAnswer) chunks(size int, usage bool) []byte {
	o := writer{b: make([]byte, 0, size+size/2+1024)}
	begin := func() {
		o.b = append(o.b, "data: {"...)
		o.some = false
		a.writeHead(&o, a.chunk)
		o.name("choices")
		o.b = append(o.b, '[')
	}
	end := func() {
		o.shut()
		o.b = append(o.b, "\n\n"...)
	}
	for _, c := range a.choices {
		begin()
		a.writeChoice(&o, c, false)
		o.b = append(o.b, ']')
		end()
	}
	for i, c := range a.choices {
		begin()
		a.writeChoice(&o, c, true)
		o.b = append(o.b, ']')
		if i == len(a.choices)-1 && a.timings != nil && !usage {
			o.put("timings", a.timings)
		}
		end()
	}
	if usage {
		begin()
		o.b = append(o.b, ']')
		o.put("usage", a.usage)
		if a.timings != nil {
			o.put("timings", a.timings)
		}
		end()
	}
	return append(o.b, "data: [DONE]\n\n"...)
}

// writeChoice writes a choice of a chunk: what it says, or its end.
func (a *openAIAnswer) writeChoice(o *writer, c *openAIChoice, last bool) {
	o.b = append(o.b, '{')
	o.some = false
	o.put("index", strconv.AppendInt(nil, c.index, 10))
	switch {
	case a.message:
		o.open("delta")
		if !last {
			a.writeMessage(o, c, true)
		}
		o.shut()
	case last:
		o.putText("text", nil)
	default:
		o.putText("text", c.texts[0].raw)
	}
	if !last {
		c.writeLogprobs(o)
		o.put("finish_reason", []byte("null"))
	} else {
		o.put("finish_reason", c.finish)
		if c.stop != nil {
			o.put("stop_reason", c.stop)
		}
	}
	o.shut()
}
