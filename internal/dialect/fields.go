package dialect

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// Fields is what a request asked, for the conversation log. What the request
// does not say stays empty: a default is the server's, and differs by server.
type Fields struct {
	Model string

	// Prompt is the last text that the user wrote; of completions and generate
	// the prompt, of embeddings the input. A list of texts is joined by line feeds.
	Prompt string

	System string // system prompt or instructions that stand beside the messages
	Suffix string

	// Messages is the conversation as JSON, as given: messages, or the input of
	// responses if it is a list. Nil if there is none. It is a part of the body.
	Messages []byte

	// Input is what is to be embedded, as JSON, as given. Nil if there is none. It
	// is a part of the body.
	Input []byte

	// Params is a JSON object of the parameters, by one set of names for all
	// dialects: temperature, top_p, max_tokens, stop and reasoning, and the other
	// parameters by their own names, with the values as given. It holds no content
	// but stop texts. Nil if there are none.
	Params []byte
}

// ReadFields reads the body of a generate or embed request. Of members given
// twice the last counts, in any case of letters, as Ollama has it. It fails on a
// body that is not a JSON object, and is not meant for the request path.
func ReadFields(rt Route, body []byte) (Fields, error) {
	if rt.Kind != KindGenerate && rt.Kind != KindEmbed {
		return Fields{}, fmt.Errorf("read the fields of a request: %v is not generate or embed", rt.Op)
	}
	text := jsontext.Value(body)
	if !text.IsValid(jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true)) || text.Kind() != '{' {
		return Fields{}, errors.New("read the fields of a request: the body is not one JSON object")
	}
	var f Fields
	var p params
	c := cursor{b: body}
	c.object()
	for {
		spelled, ok := c.member()
		if !ok {
			break
		}
		name := strings.ToLower(unquote(spelled))
		f.read(&c, rt, name, &p)
	}
	f.Params = p.object()
	return f, nil
}

func (f *Fields) read(c *cursor, rt Route, name string, p *params) {
	switch name {
	case "model":
		f.Model = clip(unquote(c.str()), maxModel)
	case "suffix":
		f.Suffix = unquote(c.str())
	case "system":
		f.System = textOf(c)
	case "instructions":
		f.System = textOf(c)
	case "messages":
		f.Messages = c.value()
		if rt.Op != OpOllamaGenerate {
			f.Prompt = lastUserText(f.Messages)
		}
	case "prompt":
		if rt.Op == OpResponses {
			c.skip() // a stored prompt's id
			return
		}
		value := c.value()
		if rt.Kind == KindEmbed {
			f.Input = value
		}
		if rt.Op != OpOllamaChat && rt.Op != OpChat {
			f.Prompt = plainText(value)
		}
	case "input":
		value := c.value()
		switch {
		case rt.Kind == KindEmbed:
			f.Input = value
			f.Prompt = plainText(value)
		case bytes.HasPrefix(value, []byte("[")):
			f.Messages = value
			f.Prompt = lastUserText(value)
		default:
			f.Prompt = plainText(value)
		}
	case "options":
		p.readNested(c)
	default:
		p.read(c, name)
	}
}

// plainText turns a prompt into text: a text, a list of texts, or, if it is made
// of tokens, its JSON.
func plainText(value []byte) string {
	c := cursor{b: value}
	switch c.peek() {
	case '"':
		return unquote(c.quoted())
	case '[':
		var texts []string
		c.i++
		for c.element() {
			if c.peek() != '"' {
				return string(value)
			}
			texts = append(texts, unquote(c.quoted()))
		}
		return strings.Join(texts, "\n")
	case 'n':
		return ""
	default:
		return string(value)
	}
}

// lastUserText finds the last text of a user in a list of messages or items.
// Tool results, which Anthropic's form sends as the user, are no text.
func lastUserText(list []byte) (last string) {
	c := cursor{b: list}
	if !c.array() {
		return ""
	}
	for c.element() {
		if c.peek() == '"' {
			last = unquote(c.quoted())
			continue
		}
		if !c.object() {
			continue
		}
		var role, text string
		for name, ok := c.member(); ok; name, ok = c.member() {
			switch strings.ToLower(string(name)) {
			case "role":
				role = unquote(c.str())
			case "content":
				text = textOf(&c)
			default:
				c.skip()
			}
		}
		if role == "user" && text != "" {
			last = text
		}
	}
	return last
}

// textOf reads content: a text, or parts of which those that are text are joined
// by line feeds.
func textOf(c *cursor) string {
	if c.peek() == '"' {
		return unquote(c.quoted())
	}
	if !c.array() {
		return ""
	}
	var texts []string
	for c.element() {
		if c.peek() == '"' {
			texts = append(texts, unquote(c.quoted()))
			continue
		}
		if !c.object() {
			continue
		}
		for name, ok := c.member(); ok; name, ok = c.member() {
			if string(name) == "text" && c.peek() == '"' {
				texts = append(texts, unquote(c.quoted()))
			} else {
				c.skip()
			}
		}
	}
	return strings.Join(texts, "\n")
}
