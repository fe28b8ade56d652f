package dialect

import "bytes"

// readResponses reads an event of responses, or a response.
func (a *assembly) readResponses(c *cursor) {
	var kind, delta, item, output []byte
	var slot int64
	c.object()
	for name, ok := c.member(); ok; name, ok = c.member() {
		switch string(name) {
		case "type":
			kind = c.str()
		case "delta":
			delta = c.str()
		case "output_index":
			slot, _ = c.count()
		case "item":
			item = c.value()
		case "output":
			output = c.value()
		case "response":
			if found := outputOf(c); len(found) > 2 {
				a.whole = found
			}
		default:
			c.skip()
		}
	}
	v := a.voice(0)
	switch string(kind) {
	case "": // a response that is not streamed
		v.readOutput(output)
	case "response.output_text.delta", "response.refusal.delta":
		v.text = append(v.text, delta...)
	case "response.reasoning_text.delta", "response.reasoning_summary_text.delta":
		v.reasoning = append(v.reasoning, delta...)
	case "response.function_call_arguments.delta", "response.custom_tool_call_input.delta":
		k := v.call(slot)
		k.spelled = append(k.spelled, delta...)
	case "response.output_item.added", "response.output_item.done":
		v.readItemCall(item, slot)
	}
}

// outputOf returns the output of the response that an event carries.
func outputOf(c *cursor) (output []byte) {
	if !c.object() {
		return nil
	}
	for name, ok := c.member(); ok; name, ok = c.member() {
		if string(name) == "output" {
			output = c.value()
		} else {
			c.skip()
		}
	}
	return output
}

// readOutput reads the items of a whole response.
func (v *voice) readOutput(output []byte) {
	c := cursor{b: output}
	if !c.array() {
		return
	}
	for slot := int64(0); c.element(); slot++ {
		item := c.value()
		v.readItemText(item)
		v.readItemCall(item, slot)
	}
}

// readItemText reads what an item says: a message's content, or the summary or
// content of reasoning.
func (v *voice) readItemText(item []byte) {
	c := cursor{b: item}
	if !c.object() {
		return
	}
	var kind, content, summary []byte
	for name, ok := c.member(); ok; name, ok = c.member() {
		switch string(name) {
		case "type":
			kind = c.str()
		case "content":
			content = saying(&c, nil)
		case "summary":
			summary = saying(&c, nil)
		default:
			c.skip()
		}
	}
	switch string(kind) {
	case "message":
		v.text = append(v.text, content...)
	case "reasoning":
		v.reasoning = append(append(v.reasoning, content...), summary...)
	}
}

// readItemCall reads an item that calls a tool. When the item is done it holds
// all arguments, so that they replace the pieces that came before.
func (v *voice) readItemCall(item []byte, slot int64) {
	c := cursor{b: item}
	if !c.object() {
		return
	}
	var kind, id, callID, tool []byte
	var arguments call
	for name, ok := c.member(); ok; name, ok = c.member() {
		switch string(name) {
		case "type":
			kind = c.str()
		case "id":
			id = c.str()
		case "call_id":
			callID = c.str()
		case "name":
			tool = c.str()
		case "arguments", "input", "action":
			arguments.argue(&c)
		default:
			c.skip()
		}
	}
	if !bytes.HasSuffix(kind, []byte("_call")) {
		return
	}
	if len(callID) == 0 {
		callID = id
	}
	if len(tool) == 0 {
		tool = kind
	}
	k := v.call(slot)
	k.id, k.name = callID, tool
	if len(arguments.spelled) > 0 {
		k.spelled = arguments.spelled
	}
	if len(arguments.arguments) > 0 {
		k.arguments = arguments.arguments
	}
}
