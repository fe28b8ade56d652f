package batchlog

import (
	"encoding/json"
	"time"
)

// Conversation is what an exchange meant: a row of the table `conversations`,
// and a line of an export. docs/log.md says where each column comes from. An
// empty text stands for NULL.
type Conversation struct {
	ID               string          `json:"id"`
	RequestID        string          `json:"request_id"`
	SessionID        string          `json:"session_id"`
	StartedAt        time.Time       `json:"started_at"`
	Dialect          string          `json:"dialect"`
	Endpoint         string          `json:"endpoint"`
	Upstream         string          `json:"upstream"`
	Model            string          `json:"model"`
	ModelReported    string          `json:"model_reported"`
	Prompt           string          `json:"prompt"`
	Messages         json.RawMessage `json:"messages"`
	Params           json.RawMessage `json:"params"`
	Answer           string          `json:"answer"`
	Reasoning        string          `json:"reasoning"`
	ToolCalls        json.RawMessage `json:"tool_calls"`
	Choices          json.RawMessage `json:"choices"`
	FinishReason     string          `json:"finish_reason"`
	PromptTokens     *int64          `json:"prompt_tokens"`
	CompletionTokens *int64          `json:"completion_tokens"`
	TokensEstimated  bool            `json:"tokens_estimated"`
	TimeToFirstToken *float64        `json:"time_to_first_token_ms"`
	Duration         float64         `json:"duration_ms"`
	CacheStatus      string          `json:"cache_status"`
	HTTPStatus       int64           `json:"http_status"`
	Attempts         int64           `json:"attempts"`
	Outcome          string          `json:"outcome"`
	EndedBy          string          `json:"ended_by"`
	Error            string          `json:"error"`
	Streamed         bool            `json:"streamed"`
	Truncated        bool            `json:"truncated"`
	Incomplete       bool            `json:"incomplete"`
	Altered          bool            `json:"altered"`
	Dropped          int64           `json:"dropped"`
	Revision         int64           `json:"revision"`
	Instance         string          `json:"instance"`
	BytesIn          int64           `json:"bytes_in"`
	BytesOut         int64           `json:"bytes_out"`
	Tenant           string          `json:"tenant"`
}

// columns are the table's columns in the order of Conversation.fields.
var columns = [...]column{
	{"id", isID},
	{"request_id", isFact}, {"session_id", isFact}, {"started_at", isFact}, {"dialect", isFact}, {"endpoint", isFact},
	{"upstream", isFact}, {"model", isFact}, {"model_reported", isContent},
	{"prompt", isContent}, {"messages", isContent}, {"params", isContent},
	{"answer", isContent}, {"reasoning", isContent}, {"tool_calls", isContent}, {"choices", isContent},
	{"finish_reason", isContent}, {"prompt_tokens", isContent}, {"completion_tokens", isContent},
	{"tokens_estimated", isFact}, {"time_to_first_token_ms", isContent}, {"duration_ms", isFact},
	{"cache_status", isFact}, {"http_status", isFact}, {"attempts", isFact},
	{"outcome", isFact}, {"ended_by", isFact}, {"error", isContent},
	{"streamed", isFact}, {"truncated", isFact}, {"incomplete", isMark}, {"altered", isMark}, {"dropped", isFact},
	{"revision", isFact}, {"instance", isFact}, {"bytes_in", isFact}, {"bytes_out", isFact}, {"tenant", isFact},
}

type column struct {
	name string
	role role
}

// role says what an amending record does to a column.
type role uint8

const (
	isID      role = iota
	isFact         // is replaced
	isContent      // is replaced by what is not NULL
	isMark         // once true, it stays true
)

// fields are pointers to all fields in the order of columns: *string,
// *json.RawMessage, *time.Time, *int64, **int64, *float64, **float64 or *bool.
func (c *Conversation) fields() [len(columns)]any {
	return [...]any{
		&c.ID, &c.RequestID, &c.SessionID, &c.StartedAt, &c.Dialect, &c.Endpoint,
		&c.Upstream, &c.Model, &c.ModelReported,
		&c.Prompt, &c.Messages, &c.Params,
		&c.Answer, &c.Reasoning, &c.ToolCalls, &c.Choices,
		&c.FinishReason, &c.PromptTokens, &c.CompletionTokens,
		&c.TokensEstimated, &c.TimeToFirstToken, &c.Duration,
		&c.CacheStatus, &c.HTTPStatus, &c.Attempts,
		&c.Outcome, &c.EndedBy, &c.Error,
		&c.Streamed, &c.Truncated, &c.Incomplete, &c.Altered, &c.Dropped,
		&c.Revision, &c.Instance, &c.BytesIn, &c.BytesOut, &c.Tenant,
	}
}

// amend applies a later record of the same exchange, as the sinks do it.
func (c *Conversation) amend(later *Conversation) {
	if later.Revision <= c.Revision {
		return
	}
	merged := *later
	to, from := merged.fields(), c.fields()
	for i, col := range columns {
		switch {
		case col.role == isContent && absent(to[i]):
			assign(to[i], from[i])
		case col.role == isMark:
			*to[i].(*bool) = *to[i].(*bool) || *from[i].(*bool)
		}
	}
	*c = merged
}

// absent tells what is NULL in the table.
func absent(field any) bool {
	switch f := field.(type) {
	case *string:
		return *f == ""
	case *json.RawMessage:
		return len(*f) == 0
	case **int64:
		return *f == nil
	case **float64:
		return *f == nil
	}
	return false
}

func assign(to, from any) {
	switch to := to.(type) {
	case *string:
		*to = *from.(*string)
	case *json.RawMessage:
		*to = *from.(*json.RawMessage)
	case **int64:
		*to = *from.(**int64)
	case **float64:
		*to = *from.(**float64)
	}
}
