package dialect

// part is what one document of an answer says: an event, a line, or all of it.
// Its slices are texts as spelled in the document.
type part struct {
	content     bool
	whole       bool // the end, and a positive one
	terminal    bool
	seen        choices
	finished    choices
	spoiled     bool
	firstChoice bool // reason is that of choice 0
	remote      bool
	hasError    bool
	message     []byte // of the error
	flat        []byte // `message` beside the error's `type`
	model       []byte
	reason      []byte
	kind        []byte // `type`
	object      []byte // `object`
	status      []byte // of a response
	usage       Tokens
}

// read walks over a document. Members that all dialects share are read here.
func (p *part) read(c *cursor, op Op) {
	c.object()
	for {
		name, ok := c.member()
		if !ok {
			break
		}
		switch string(name) {
		case "error":
			p.hasError, p.message = readError(c)
		case "model":
			p.model = c.str()
		case "usage":
			p.usage.read(c)
		case "type":
			p.kind = c.str()
		case "object":
			p.object = c.str()
		default:
			p.member(c, op, name)
		}
	}
	switch op {
	case OpResponses:
		p.endResponses()
	case OpMessages:
		p.endMessages()
	}
}

// member reads a member by its meaning for the endpoint.
func (p *part) member(c *cursor, op Op, name []byte) {
	if c.peek() == '"' && string(name) == "message" {
		p.flat = c.quoted()
		return
	}
	switch op {
	case OpChat, OpCompletions:
		if string(name) == "choices" {
			p.readChoices(c)
			return
		}
	case OpOllamaChat, OpOllamaGenerate:
		p.readOllama(c, name)
		return
	case OpResponses:
		p.readResponses(c, name)
		return
	case OpMessages:
		p.readMessages(c, name)
		return
	case OpEmbeddings, OpOllamaEmbed, OpOllamaEmbeddings:
		p.readEmbeddings(c, name)
		return
	}
	c.skip()
}

// readError reads the value of an `error` member: a text, or an object with a
// message. Empty ones and null are no error, as SDKs see it.
func readError(c *cursor) (has bool, message []byte) {
	if c.peek() == '"' {
		message = c.quoted()
		return len(message) > 0, message
	}
	if c.peek() != '{' {
		return c.given(), nil
	}
	c.i++
	for name, ok := c.member(); ok; name, ok = c.member() {
		has = true
		if string(name) == "message" {
			message = c.str()
		} else {
			c.skip()
		}
	}
	return has, message
}

// read reads a usage object of any dialect. One whose counts are all 0 is a
// place held for counts to come. Anthropic's count of the prompt leaves out what
// was read from or written to a cache, which stands beside it.
func (t *Tokens) read(c *cursor) {
	if !c.object() {
		return
	}
	var apart int64
	counted := false
	for name, ok := c.member(); ok; name, ok = c.member() {
		switch string(name) {
		case "prompt_tokens", "input_tokens":
			t.Prompt, counted = c.count()
		case "completion_tokens", "output_tokens":
			t.Completion, _ = c.count()
		case "cache_read_input_tokens":
			t.Cached, _ = c.count()
			apart += t.Cached
		case "cache_creation_input_tokens":
			written, _ := c.count()
			apart += written
		case "prompt_tokens_details", "input_tokens_details",
			"completion_tokens_details", "output_tokens_details":
			t.readDetails(c)
		default:
			c.skip()
		}
	}
	if counted {
		t.Prompt += apart
	}
	t.Known = t.Prompt > 0 || t.Completion > 0
}

func (t *Tokens) readDetails(c *cursor) {
	if !c.object() {
		return
	}
	for name, ok := c.member(); ok; name, ok = c.member() {
		switch string(name) {
		case "cached_tokens":
			t.Cached, _ = c.count()
		case "reasoning_tokens":
			t.Reasoning, _ = c.count()
		default:
			c.skip()
		}
	}
}

// readEmbeddings looks for vectors. An empty list is an answer to an empty input.
func (p *part) readEmbeddings(c *cursor, name []byte) {
	switch string(name) {
	case "data", "embeddings", "embedding":
		if c.peek() == '[' {
			p.whole, p.terminal = true, true
		}
		c.skip()
	case "prompt_eval_count":
		if n, ok := c.count(); ok {
			p.usage.Prompt, p.usage.Known = n, true
		}
	default:
		c.skip()
	}
}
