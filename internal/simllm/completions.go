package simllm

import (
	"encoding/json"
	"fmt"
	"net/http"
)

type completionRequest struct {
	Model         string
	Prompt        json.RawMessage `json:"prompt"`
	Suffix        string          `json:"suffix"`
	Stream        bool
	StreamOptions streamOptions   `json:"stream_options"`
	MaxTokens     int             `json:"max_tokens"`
	Temperature   *float64        `json:"temperature"`
	TopP          *float64        `json:"top_p"`
	Seed          json.Number     `json:"seed"`
	Stop          json.RawMessage `json:"stop"`
}

type completionReply struct {
	ID                string             `json:"id"`
	Object            string             `json:"object"`
	Created           int64              `json:"created"`
	Choices           []completionChoice `json:"choices"`
	Model             string             `json:"model"`
	SystemFingerprint string             `json:"system_fingerprint"`
	Usage             *usage             `json:"usage,omitempty"`
}

type completionChoice struct {
	Text         string  `json:"text"`
	Index        int     `json:"index"`
	FinishReason *string `json:"finish_reason"`
}

func (x *exchange) completions() error {
	var req completionRequest
	if err := x.decode(&req); err != nil {
		return err
	}
	if err := x.beginModel(req.Model); err != nil {
		return err
	}
	var prompt string
	if err := json.Unmarshal(req.Prompt, &prompt); err != nil && len(req.Prompt) > 0 {
		if x.k.like == likeOllama {
			return x.fail(http.StatusBadRequest, err.Error())
		}
		prompt = string(req.Prompt) // a list of texts or of tokens
	}
	q := &ask{
		prompt:   prompt + req.Suffix,
		sampling: fmt.Sprint(number(req.Temperature), number(req.TopP), req.Seed),
		limit:    req.MaxTokens,
		stop:     stopWords(req.Stop),
	}
	if err := x.canChat(q, false); err != nil {
		return err
	}
	a := x.compose(q, 0)
	r := completionReply{
		ID: fmt.Sprintf("cmpl-%d", x.id()%999), Object: "text_completion", Created: x.now().Unix(),
		Model: x.model, SystemFingerprint: "fp_ollama",
	}
	total := x.usage([]*answer{a})
	if !req.Stream {
		r.Choices = []completionChoice{{Text: a.text(), FinishReason: new(a.finish())}}
		r.Usage = total
		return x.json(r, a.tokens())
	}
	return x.streamCompletion(a, r, total, x.wantsUsage(req.StreamOptions.IncludeUsage))
}

func (x *exchange) streamCompletion(a *answer, r completionReply, total *usage, withUsage bool) error {
	t, err := x.stream(typeSSE)
	if err != nil {
		return err
	}
	if withUsage {
		r.Usage = &usage{} // zeros in every chunk but the last
	}
	r.Choices = []completionChoice{{Text: holeWord}}
	event, err := newTemplate(r)
	if err != nil {
		return err
	}
	for _, word := range a.words {
		if err := t.token("", event, word); err != nil {
			return err
		}
	}
	r.Choices = []completionChoice{{FinishReason: new(a.finish())}}
	if err := t.event("", r); err != nil {
		return err
	}
	if withUsage {
		r.Choices, r.Usage = []completionChoice{}, total
		if err := t.event("", r); err != nil {
			return err
		}
	}
	return t.done()
}
