package dialect

// readOllama reads a member of a line of Ollama's own API, or of its whole
// answer, which is the same object.
func (p *part) readOllama(c *cursor, name []byte) {
	switch string(name) {
	case "message":
		p.readMessage(c)
	case "response", "thinking", "tool_calls":
		p.content = c.given() || p.content
	case "done":
		if c.isTrue() {
			p.whole, p.terminal = true, true
		}
	case "done_reason":
		p.reason = c.str()
	case "remote_host":
		p.remote = c.given()
	case "prompt_eval_count":
		if n, ok := c.count(); ok {
			p.usage.Prompt, p.usage.Known = n, true
		}
	case "eval_count":
		if n, ok := c.count(); ok {
			p.usage.Completion, p.usage.Known = n, true
		}
	default:
		c.skip()
	}
}
