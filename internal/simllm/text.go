package simllm

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
)

// conversation flattens messages into the text that the answer depends on. It
// says whether the last one is a tool's result, which is answered in words.
func conversation(messages []chatMessage) (prompt string, toolResult bool, err error) {
	var b strings.Builder
	for _, m := range messages {
		text, err := contentText(m.Content)
		if err != nil {
			return "", false, err
		}
		fmt.Fprintf(&b, "%s: %s%s\n", m.Role, text, m.ToolCalls)
		toolResult = m.Role == "tool" || holdsToolResult(m.Content)
	}
	return b.String(), toolResult, nil
}

// holdsToolResult says whether one of the content's parts is what a tool said,
// as Anthropic's form has it.
func holdsToolResult(content json.RawMessage) bool {
	var parts []struct{ Type string }
	if json.Unmarshal(content, &parts) != nil {
		return false // a text
	}
	for _, p := range parts {
		if p.Type == "tool_result" {
			return true
		}
	}
	return false
}

// contentText is a message's content: a string, null, or a list of parts. Parts
// that are not text stand for themselves.
func contentText(raw json.RawMessage) (string, error) {
	var v any
	if len(raw) == 0 {
		return "", nil
	}
	if err := json.Unmarshal(raw, &v); err != nil {
		return "", err
	}
	switch v := v.(type) {
	case nil:
		return "", nil
	case string:
		return v, nil
	case []any:
		var b strings.Builder
		for _, part := range v {
			m, _ := part.(map[string]any)
			if text, ok := m["text"].(string); ok {
				b.WriteString(text)
				continue
			}
			other, err := json.Marshal(part)
			if err != nil {
				return "", err
			}
			b.Write(other)
		}
		return b.String(), nil
	default:
		return "", fmt.Errorf("invalid message content type: %T", v)
	}
}

// stopWords reads a string or a list of strings; anything else stops nothing.
func stopWords(raw json.RawMessage) []string {
	var one string
	if json.Unmarshal(raw, &one) == nil && one != "" {
		return []string{one}
	}
	var many []string
	if json.Unmarshal(raw, &many) == nil {
		return many
	}
	return nil
}

// number spells an optional number so that absent differs from 0.
func number(f *float64) string {
	if f == nil {
		return "-"
	}
	return strconv.FormatFloat(*f, 'g', -1, 64)
}
