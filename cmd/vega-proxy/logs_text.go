package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/vega-proxy/vega-proxy/internal/batchlog"
)

const lineFormat = "%-19s  %-36s  %-20s  %-14s  %11s  %8s  %s\n"

func (l *conversationLog) head() {
	fmt.Fprintf(l.out, lineFormat, "STARTED", "ID", "MODEL", "OUTCOME", "TOKENS", "DURATION", "PROMPT")
}

// line shows a conversation in the columns of head.
func (l *conversationLog) line(c *batchlog.Conversation) error {
	_, err := fmt.Fprintf(l.out, lineFormat, l.time(c.StartedAt), c.ID, short(c.Model, 20), c.Outcome, tokens(c), duration(c.Duration), short(c.Prompt, 60))
	return err
}

func (l *conversationLog) time(t time.Time) string { return t.In(l.zone).Format(time.DateTime) }

func tokens(c *batchlog.Conversation) string {
	if c.PromptTokens == nil && c.CompletionTokens == nil {
		return "-"
	}
	return count(c.PromptTokens) + "+" + count(c.CompletionTokens)
}

func count(n *int64) string {
	if n == nil {
		return "?"
	}
	return strconv.FormatInt(*n, 10)
}

// duration shows milliseconds in three or four digits.
func duration(ms float64) string {
	if ms < 1000 {
		return strconv.FormatFloat(ms, 'f', 0, 64) + "ms"
	}
	return strconv.FormatFloat(ms/1000, 'f', 1, 64) + "s"
}

// short is the beginning of a text, in one line.
func short(s string, most int) string {
	var b strings.Builder
	n := 0
	for word := range strings.FieldsSeq(s) {
		for i, r := range word {
			if i == 0 && n > 0 {
				b.WriteByte(' ')
				n++
			}
			if n >= most-1 {
				return b.String() + "…"
			}
			b.WriteRune(visible(r))
			n++
		}
	}
	return b.String()
}

// visible keeps a text that came from outside from steering the terminal.
func visible(r rune) rune {
	if unicode.IsControl(r) && r != '\n' && r != '\t' || unicode.Is(unicode.Bidi_Control, r) {
		return unicode.ReplacementChar
	}
	return r
}

// chat shows a conversation as what was said, and by whom.
func (l *conversationLog) chat(c *batchlog.Conversation) {
	fact := func(name, value string) {
		if value != "" {
			fmt.Fprintf(l.out, "%-9s  %s\n", name, strings.Map(visible, strings.ReplaceAll(value, "\n", " ")))
		}
	}
	fact("id", c.ID)
	fact("started", l.time(c.StartedAt)+", took "+duration(c.Duration)+firstToken(c))
	fact("request", c.RequestID)
	fact("session", c.SessionID)
	fact("model", c.Model+mention(c.ModelReported != c.Model, "answered as", c.ModelReported)+mention(true, "by", c.Upstream))
	fact("endpoint", c.Endpoint)
	fact("outcome", fmt.Sprintf("%s, status %d, ended by %s, cache %s", c.Outcome, c.HTTPStatus, c.EndedBy, c.CacheStatus)+mention(c.Attempts > 1, "after attempts:", strconv.FormatInt(c.Attempts, 10)))
	fact("error", c.Error)
	fact("tokens", tokens(c)+mention(true, "finished for", c.FinishReason))
	fact("params", string(c.Params))
	for _, flag := range []struct {
		set  bool
		text string
	}{
		{c.Truncated, "the answer has no end"},
		{c.Incomplete, "not all of it was kept"},
		{c.Altered, "not to the byte what was said: something was redacted or replaced"},
	} {
		if flag.set {
			fact("note", flag.text)
		}
	}
	messages := spoken(c.Messages)
	if len(messages) == 0 && c.Prompt != "" {
		messages = []said{{who: "user", text: c.Prompt}}
	}
	for _, m := range messages {
		l.say(m.who, m.text)
	}
	if len(c.Choices) > 0 {
		l.say("assistant, several answers", indented(c.Choices))
		return
	}
	l.say("assistant, thinking", c.Reasoning)
	l.say("assistant", c.Answer)
	for _, call := range toolCalls(c.ToolCalls) {
		l.say("assistant, calling", call)
	}
}

func firstToken(c *batchlog.Conversation) string {
	if c.TimeToFirstToken == nil {
		return ""
	}
	return ", first token after " + duration(*c.TimeToFirstToken)
}

func mention(when bool, word, value string) string {
	if !when || value == "" {
		return ""
	}
	return ", " + word + " " + value
}

func (l *conversationLog) say(who, text string) {
	if text == "" {
		return
	}
	fmt.Fprintf(l.out, "\n%s:\n", strings.Map(visible, short(who, 60)))
	for line := range strings.SplitSeq(strings.Map(visible, strings.TrimRight(text, "\n")), "\n") {
		io.WriteString(l.out, "  "+line+"\n") // the flush tells of errors
	}
}

type said struct{ who, text string }

// spoken reads the messages of a conversation, whatever API they are of. What it
// does not know it shows as it is.
func spoken(messages json.RawMessage) (all []said) {
	var list []json.RawMessage
	if json.Unmarshal(messages, &list) != nil {
		if len(messages) > 0 {
			all = append(all, said{"messages", indented(messages)})
		}
		return all
	}
	for _, raw := range list {
		var m struct {
			Role, Type, Name string
			Content          json.RawMessage
			ToolCalls        json.RawMessage `json:"tool_calls"`
		}
		if json.Unmarshal(raw, &m) != nil || len(m.Content) == 0 && len(m.ToolCalls) == 0 {
			all = append(all, said{cmp.Or(m.Role, m.Type, "message"), plain(raw)})
			continue
		}
		who := cmp.Or(m.Role, m.Type) + mention(true, "named", m.Name)
		if text := plain(m.Content); text != "" {
			all = append(all, said{who, text})
		}
		for _, call := range toolCalls(m.ToolCalls) {
			all = append(all, said{who + ", calling", call})
		}
	}
	return all
}

// plain is a text, or the texts of parts; other parts stand as JSON.
func plain(content json.RawMessage) string {
	var text string
	if json.Unmarshal(content, &text) == nil {
		return text
	}
	var parts []json.RawMessage
	if json.Unmarshal(content, &parts) != nil {
		return string(content)
	}
	var lines []string
	for _, raw := range parts {
		var p struct{ Text string }
		if json.Unmarshal(raw, &p) != nil || p.Text == "" {
			p.Text = string(raw)
		}
		lines = append(lines, p.Text)
	}
	return strings.Join(lines, "\n")
}

// toolCalls shows calls as NAME(ARGUMENTS), of a request or of an answer.
func toolCalls(calls json.RawMessage) (all []string) {
	type call struct {
		Name      string
		Arguments json.RawMessage
	}
	var list []struct {
		call
		Function call
	}
	if json.Unmarshal(calls, &list) != nil {
		if len(calls) > 0 {
			all = append(all, string(calls))
		}
		return all
	}
	for _, c := range list {
		if c.Function.Name != "" {
			c.call = c.Function
		}
		all = append(all, c.Name+"("+plain(c.Arguments)+")")
	}
	return all
}

func indented(value json.RawMessage) string {
	var b bytes.Buffer
	if json.Indent(&b, value, "", "  ") != nil {
		return string(value)
	}
	return b.String()
}
