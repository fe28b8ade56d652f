package dialect

// readMessages reads a member of an event of messages, or of a message itself.
func (p *part) readMessages(c *cursor, name []byte) {
	switch string(name) {
	case "delta":
		p.readDelta(c)
	case "content_block":
		p.readBlock(c)
	case "message":
		if c.object() {
			p.readMessageStart(c)
		}
	case "content":
		p.content = c.given() || p.content
	case "stop_reason":
		p.reason = c.str()
	default:
		c.skip()
	}
}

// readDelta reads a piece of a block, or the end of the message.
func (p *part) readDelta(c *cursor) {
	if !c.object() {
		return
	}
	for name, ok := c.member(); ok; name, ok = c.member() {
		switch string(name) {
		case "text", "thinking", "partial_json":
			p.content = c.given() || p.content
		case "stop_reason":
			p.reason = c.str()
		default:
			c.skip()
		}
	}
}

// readBlock reads the start of a block. That of a tool call names the tool, so
// something has been said; that of a text is empty.
func (p *part) readBlock(c *cursor) {
	if !c.object() {
		return
	}
	for name, ok := c.member(); ok; name, ok = c.member() {
		switch string(name) {
		case "text", "thinking", "name":
			p.content = c.given() || p.content
		default:
			c.skip()
		}
	}
}

// readMessageStart reads the message that the first event carries. Its tokens
// are not counted yet but for those of the prompt.
func (p *part) readMessageStart(c *cursor) {
	for name, ok := c.member(); ok; name, ok = c.member() {
		switch string(name) {
		case "model":
			p.model = c.str()
		case "usage":
			p.usage.read(c)
			p.usage.Completion, p.usage.Known = 0, false
		default:
			c.skip()
		}
	}
}

// endMessages decides what an event of messages means.
func (p *part) endMessages() {
	switch string(p.kind) {
	case "message_stop":
		p.whole, p.terminal = true, true
	case "message":
		p.whole = len(p.reason) > 0
		p.terminal = p.whole
	}
}
