package dialect

import "github.com/go-json-experiment/json/jsontext"

// ErrorBody words an error of our own as application/json in the dialect's
// shape, so that the caller's SDK shows the message. The code is one of the
// codes that X-Vega-Error has; Ollama's shape has no place for it.
func ErrorBody(d Dialect, status int, code, message string) []byte {
	switch d {
	case Ollama:
		return ollamaError(code, message)
	case Anthropic:
		kind := "api_error"
		if status == 503 {
			kind = "overloaded_error"
		}
		return anthropicError(kind, code, message)
	default:
		return append(openAIError([]byte("{"), code, message), '}')
	}
}

// ErrorEvent words an error of our own as an event that may stand at a boundary
// between events of a stream that is about to be cut. It is nil where the
// framing has no events. It never looks like the end of an answer.
func ErrorEvent(rt Route, f Framing, code, message string) []byte {
	switch {
	case f == FramingNDJSON:
		return append(ollamaError(code, message), '\n')
	case f != FramingSSE:
		return nil
	case rt.Dialect == Anthropic:
		return event("event: error\ndata: ", anthropicError("api_error", code, message))
	case rt.Op == OpResponses:
		// The API's own error event is flat. OpenAI's SDKs, however, raise only
		// on a member called error, so there are both.
		body := []byte(`{"type":"error","code":`)
		body = appendText(body, code)
		body = append(body, `,"message":`...)
		body = appendText(body, message)
		body = append(body, `,"param":null,`...)
		return event("event: error\ndata: ", append(openAIError(body, code, message), '}'))
	case rt.Dialect == Ollama:
		return event("data: ", ollamaError(code, message))
	default:
		return event("data: ", append(openAIError([]byte("{"), code, message), '}'))
	}
}

func event(prefix string, data []byte) []byte {
	ev := make([]byte, 0, len(prefix)+len(data)+2)
	return append(append(append(ev, prefix...), data...), "\n\n"...)
}

// openAIError appends the member that OpenAI's SDKs look for.
func openAIError(dst []byte, code, message string) []byte {
	dst = append(dst, `"error":{"message":`...)
	dst = appendText(dst, message)
	dst = append(dst, `,"type":"vega_error","param":null,"code":`...)
	dst = appendText(dst, code)
	return append(dst, '}')
}

func anthropicError(kind, code, message string) []byte {
	dst := append([]byte(`{"type":"error","error":{"type":"`), kind...)
	dst = append(dst, `","message":`...)
	dst = appendText(dst, message)
	dst = append(dst, `,"code":`...)
	dst = appendText(dst, code)
	return append(dst, "}}"...)
}

// ollamaError never has an empty text: Ollama's clients take that for none.
func ollamaError(code, message string) []byte {
	if message == "" {
		message = code
	}
	if message == "" {
		message = "error"
	}
	return append(appendText([]byte(`{"error":`), message), '}')
}

// appendText appends text as a JSON string, whatever it is.
func appendText(dst []byte, text string) []byte {
	// It can fail only on what is no UTF-8.
	dst, _ = jsontext.AppendQuote(dst, valid(text))
	return dst
}
