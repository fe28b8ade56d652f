package dialect

// readChoices reads the choices of a chunk or of a whole answer.
func (p *part) readChoices(c *cursor) {
	if !c.array() {
		return
	}
	for c.element() {
		if c.object() {
			p.readChoice(c)
		}
	}
}

func (p *part) readChoice(c *cursor) {
	var index int64
	var reason []byte
	for name, ok := c.member(); ok; name, ok = c.member() {
		switch string(name) {
		case "index":
			index, _ = c.count()
		case "finish_reason":
			reason = c.str()
		case "delta", "message":
			p.readMessage(c)
		case "text":
			p.content = c.given() || p.content
		default:
			c.skip()
		}
	}
	if index >= maxChoice {
		p.spoiled = true
		return
	}
	p.seen.add(index)
	if len(reason) == 0 {
		return
	}
	p.finished.add(index)
	if string(reason) == "abort" || string(reason) == "error" {
		p.spoiled = true
	}
	if len(p.reason) == 0 || index == 0 {
		p.reason, p.firstChoice = reason, index == 0
	}
}

// readMessage looks for something said in a message or in a delta of one.
func (p *part) readMessage(c *cursor) {
	if !c.object() {
		return
	}
	for name, ok := c.member(); ok; name, ok = c.member() {
		switch string(name) {
		case "content", "reasoning", "reasoning_content", "thinking", "refusal",
			"tool_calls", "function_call", "audio":
			p.content = c.given() || p.content
		default:
			c.skip()
		}
	}
}

// readResponses reads a member of a responses event, or of a response itself.
func (p *part) readResponses(c *cursor, name []byte) {
	switch string(name) {
	case "delta":
		p.content = c.given() || p.content
	case "response":
		if c.object() {
			p.readResponse(c)
		}
	case "output":
		p.content = c.given() || p.content
	case "status", "incomplete_details":
		p.readStatus(c, name)
	default:
		c.skip()
	}
}

// readResponse reads the response that an event carries. What it puts out has
// been said by deltas before.
func (p *part) readResponse(c *cursor) {
	for name, ok := c.member(); ok; name, ok = c.member() {
		switch string(name) {
		case "model":
			p.model = c.str()
		case "usage":
			p.usage.read(c)
		case "error":
			p.hasError, p.message = readError(c)
		case "status", "incomplete_details":
			p.readStatus(c, name)
		default:
			c.skip()
		}
	}
}

func (p *part) readStatus(c *cursor, name []byte) {
	if string(name) == "status" {
		p.status = c.str()
		return
	}
	if c.object() {
		for name, ok := c.member(); ok; name, ok = c.member() {
			if string(name) == "reason" {
				p.reason = c.str()
			} else {
				c.skip()
			}
		}
	}
}

// endResponses decides what an event of responses means. An answer that is not
// streamed is a response itself and has no event's type.
func (p *part) endResponses() {
	status := p.status
	switch string(p.kind) {
	case "response.completed", "response.incomplete", "response.failed", "response.cancelled":
		p.terminal = true
		status = p.kind[len("response."):]
	case "":
		p.terminal = len(status) > 0
	default:
		p.reason = nil
		return
	}
	if len(p.reason) == 0 {
		p.reason = status
	}
	switch string(status) {
	case "completed", "incomplete":
		p.whole = true
	case "failed":
		p.hasError = true
	}
}
