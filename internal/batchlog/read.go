package batchlog

import (
	"bytes"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/vega-proxy/vega-proxy/internal/dialect"
)

// readRecord reads what an exchange said. It never fails: what cannot be read is
// absent, and a request that is no JSON object is kept as text. The record's
// tenant is a hash already.
func readRecord(r *Record, instance string) *Conversation {
	c := &Conversation{
		ID:          r.ID.String(),
		StartedAt:   r.StartedAt.UTC().Truncate(time.Microsecond),
		Dialect:     r.Route.Dialect.String(),
		Duration:    milliseconds(r.Duration),
		CacheStatus: r.CacheStatus,
		HTTPStatus:  int64(r.HTTPStatus),
		Attempts:    int64(r.Attempts),
		Outcome:     string(r.Outcome),
		EndedBy:     r.EndedBy,
		Streamed:    r.Streamed,
		Truncated:   r.Truncated,
		Incomplete:  r.Incomplete,
		Dropped:     int64(r.Dropped),
		Revision:    int64(r.Revision),
		Instance:    instance,
		BytesIn:     r.BytesIn,
		BytesOut:    r.BytesOut,
		Tenant:      r.Tenant,
	}
	if r.TTFT > 0 {
		ms := milliseconds(r.TTFT)
		c.TimeToFirstToken = &ms
	}
	cl := cleaner{}
	c.RequestID = cl.text(r.RequestID)
	c.SessionID = cl.text(r.SessionID)
	c.Endpoint = cl.text(r.Endpoint)
	c.Upstream = cl.text(r.Upstream)
	c.Model = cl.text(r.Model)
	if len(r.RequestBody) > 0 {
		c.readRequest(&cl, r.Route, r.RequestBody)
	}
	if body := joined(r.Answer); len(body) > 0 {
		c.readAnswer(&cl, dialect.ReadAnswer(r.Route, r.Framing, body), r.Route.Kind)
		cl.read(body, c.Answer, c.Reasoning, c.Error)
		if c.Error == "" && r.HTTPStatus >= http.StatusBadRequest {
			c.Error = beginning(body)
		}
	}
	if r.Error != "" {
		c.Error = r.Error
	}
	c.Error = readableError(&cl, c.Error)
	c.Altered = cl.altered
	return c
}

// readableError takes credentials out of an error: an upstream may have put the
// key that it refused into it.
func readableError(cl *cleaner, text string) string {
	if text == "" {
		return ""
	}
	text, _ = builtin.text(cl.text(text))
	return text
}

// beginning is what an error says that has none of the known shapes: the first 500
// bytes of it.
func beginning(body []byte) string {
	body = bytes.TrimSpace(body)
	n := min(len(body), 500)
	for n > 0 && n < len(body) && !utf8.RuneStart(body[n]) {
		n--
	}
	return string(body[:n])
}

func (c *Conversation) readRequest(cl *cleaner, rt dialect.Route, body []byte) {
	f, err := dialect.ReadFields(rt, body)
	if err != nil {
		c.Prompt = cl.text(string(body))
		return
	}
	if c.Model == "" {
		c.Model = cl.text(f.Model)
	}
	c.Prompt = cl.text(f.Prompt)
	cl.read(body, c.Prompt, f.System, f.Suffix)
	c.Params = cl.json(f.Params)
	messages := cl.json(f.Messages)
	if f.System != "" || f.Suffix != "" {
		messages = withRoles(messages, cl.text(f.System), c.Prompt, cl.text(f.Suffix))
	}
	c.Messages = messages
	if f.Messages == nil && f.Input != nil {
		c.Messages = cl.json(f.Input)
	}
}

// withRoles puts what stands beside the messages among them: the system prompt
// first, what is to follow the answer last. Without messages the prompt is one.
func withRoles(messages []byte, system, prompt, suffix string) []byte {
	dst := []byte{'['}
	if system != "" {
		dst = appendMessage(dst, "system", system)
	}
	inner := bytes.TrimSpace(messages)
	if bytes.HasPrefix(inner, []byte("[")) {
		inner = bytes.TrimSpace(inner[1 : len(inner)-1])
	} else if inner = nil; prompt != "" {
		inner = appendMessage(nil, "user", prompt)
	}
	if len(inner) > 0 {
		dst = append(comma(dst), inner...)
	}
	if suffix != "" {
		dst = appendMessage(comma(dst), "suffix", suffix)
	}
	return append(dst, ']')
}

func comma(dst []byte) []byte {
	if len(dst) > 1 {
		dst = append(dst, ',')
	}
	return dst
}

func appendMessage(dst []byte, role, text string) []byte {
	dst = append(append(append(dst, `{"role":"`...), role...), `","content":`...)
	return append(appendString(dst, text), '}')
}

// appendString writes text, which is clean, as a JSON string.
func appendString(dst []byte, text string) []byte {
	// It fails on nothing but invalid UTF-8, which it replaces.
	dst, _ = jsontext.AppendQuote(dst, text)
	return dst
}

func (c *Conversation) readAnswer(cl *cleaner, a dialect.Answer, kind dialect.Kind) {
	c.ModelReported = cl.text(a.Model)
	c.Answer = cl.text(a.Text)
	c.Reasoning = cl.text(a.Reasoning)
	c.ToolCalls = cl.json(a.ToolCalls)
	c.Choices = cl.json(a.Choices)
	c.FinishReason = cl.text(a.FinishReason)
	c.Error = a.Error
	if !a.Usage.Known {
		return
	}
	if a.Usage.Prompt > 0 { // Ollama leaves out a count of 0, which may also mean that it did not count
		c.PromptTokens = new(a.Usage.Prompt)
	}
	if kind == dialect.KindGenerate {
		c.CompletionTokens = new(a.Usage.Completion)
	}
}

// joined is the pieces in one.
func joined(pieces [][]byte) []byte {
	if len(pieces) == 1 {
		return pieces[0]
	}
	return slices.Concat(pieces...)
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// plainParams keeps, of a request's parameters, those that cannot hold content.
func plainParams(params json.RawMessage) json.RawMessage {
	var all map[string]json.RawMessage
	if json.Unmarshal(params, &all) != nil {
		return nil
	}
	for name, value := range all {
		if strings.IndexByte(`-0123456789tf`, value[0]) < 0 {
			delete(all, name)
		}
	}
	if len(all) == 0 {
		return nil
	}
	plain, err := json.Marshal(all)
	if err != nil {
		return nil
	}
	return plain
}
