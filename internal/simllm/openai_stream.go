package simllm

import (
	"time"
	"unicode/utf8"
)

// chatStream sends the deltas of a chat.completion.chunk stream.
type chatStream struct {
	*stream
	base chatReply
}

func (x *exchange) streamChat(answers []*answer, withUsage bool) error {
	t, err := x.stream(typeSSE)
	if err != nil {
		return err
	}
	c := &chatStream{stream: t, base: x.newChatReply("chat.completion.chunk")}
	lost := c.base
	lost.Model, lost.Choices = "", []chatChoice{{Delta: &chatDelta{Role: "assistant", Content: ""}}}
	t.lostEvent = lost

	if err := c.roles(len(answers)); err != nil {
		return err
	}
	if err := c.text(answers, func(a *answer) []string { return a.thinking }, x.reasoningDelta()); err != nil {
		return err
	}
	if answers[0].logprobs != nil {
		err = c.textWithLogprobs(answers)
	} else {
		err = c.text(answers, func(a *answer) []string { return a.words }, x.delta(chatDelta{Content: holeWord}))
	}
	if err != nil {
		return err
	}
	for i, a := range answers {
		if err := c.calls(i, a.calls); err != nil {
			return err
		}
	}
	for i, a := range answers {
		end := chatChoice{Index: i, Delta: &chatDelta{}, FinishReason: new(a.finish())}
		if x.k.like == likeOllama {
			end.Delta = &chatDelta{Role: "assistant", Content: ""}
		}
		r := c.base
		r.Choices = []chatChoice{end}
		if i == len(answers)-1 && !withUsage {
			r.Timings = x.timings(answers)
		}
		if err := c.event("", r); err != nil {
			return err
		}
	}
	if withUsage {
		r := c.base
		r.Choices, r.Usage, r.Timings = []chatChoice{}, x.usage(answers), x.timings(answers)
		if err := c.event("", r); err != nil {
			return err
		}
	}
	return c.done()
}

// delta adds the role, which Ollama repeats in every delta.
func (x *exchange) delta(d chatDelta) chatDelta {
	if x.k.like == likeOllama {
		d.Role = "assistant"
	}
	return d
}

func (x *exchange) reasoningDelta() chatDelta {
	d := x.delta(chatDelta{})
	if x.k.like == likeOllama {
		d.Content = ""
	}
	x.setReasoning(&d, holeWord)
	return d
}

// roles sends the first chunk of servers that begin with the role alone.
func (c *chatStream) roles(n int) error {
	if c.x.k.like == likeOllama {
		return nil
	}
	for i := range n {
		d := &chatDelta{Role: "assistant", Content: ""}
		if c.x.k.like == likeLlama {
			d.Content = (*string)(nil)
		}
		if err := c.choice(chatChoice{Index: i, Delta: d}, false); err != nil {
			return err
		}
	}
	return nil
}

func (c *chatStream) choice(choice chatChoice, paced bool) error {
	r := c.base
	r.Choices = []chatChoice{choice}
	if paced {
		return c.paced("", r)
	}
	return c.event("", r)
}

// text sends the answers' words, a word of each in turn.
func (c *chatStream) text(answers []*answer, words func(*answer) []string, d chatDelta) error {
	templates := make([]template, len(answers))
	most := 0
	for i, a := range answers {
		r := c.base
		r.Choices = []chatChoice{{Index: i, Delta: &d}}
		t, err := newTemplate(r)
		if err != nil {
			return err
		}
		templates[i] = t
		most = max(most, len(words(a)))
	}
	for at := range most {
		for i, a := range answers {
			if w := words(a); at < len(w) {
				if err := c.token("", templates[i], w[at]); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// textWithLogprobs sends the answers' words one answer after the other.
func (c *chatStream) textWithLogprobs(answers []*answer) error {
	for i, a := range answers {
		for j, word := range a.words {
			d := c.x.delta(chatDelta{Content: word})
			if err := c.choice(chatChoice{Index: i, Delta: &d, Logprobs: &chatLogprobs{a.logprobs[j : j+1]}}, true); err != nil {
				return err
			}
		}
	}
	return nil
}

// calls sends tool calls: Ollama each in one delta, the others the arguments in
// pieces, with the id and the name only in the first.
func (c *chatStream) calls(choice int, calls []call) error {
	for j, one := range calls {
		args := one.argsJSON()
		if c.x.k.like == likeOllama {
			d := c.x.delta(chatDelta{Content: "", ToolCalls: []chatCall{{one.id, &j, "function", chatFunction{one.name, args}}}})
			if err := c.choice(chatChoice{Index: choice, Delta: &d}, true); err != nil {
				return err
			}
			continue
		}
		d := chatDelta{ToolCalls: []chatCall{{one.id, &j, "function", chatFunction{Name: one.name}}}}
		if err := c.choice(chatChoice{Index: choice, Delta: &d}, true); err != nil {
			return err
		}
		for len(args) > 0 {
			n := min(argumentPiece, len(args))
			for n < len(args) && !utf8.RuneStart(args[n]) {
				n++
			}
			d := chatDelta{ToolCalls: []chatCall{{Index: &j, Function: chatFunction{Arguments: args[:n]}}}}
			if err := c.choice(chatChoice{Index: choice, Delta: &d}, true); err != nil {
				return err
			}
			args = args[n:]
		}
	}
	return nil
}

// argumentPiece is how many bytes of arguments come at once, at least.
const argumentPiece = 6

// timings is what llama.cpp says about its own speed.
type timings struct {
	CacheN             int     `json:"cache_n"`
	PromptN            int     `json:"prompt_n"`
	PromptMS           float64 `json:"prompt_ms"`
	PromptPerTokenMS   float64 `json:"prompt_per_token_ms"`
	PromptPerSecond    float64 `json:"prompt_per_second"`
	PredictedN         int     `json:"predicted_n"`
	PredictedMS        float64 `json:"predicted_ms"`
	PredictedPerToken  float64 `json:"predicted_per_token_ms"`
	PredictedPerSecond float64 `json:"predicted_per_second"`
}

func (x *exchange) timings(answers []*answer) *timings {
	if x.k.like != likeLlama {
		return nil
	}
	u := x.usage(answers)
	ms := float64(x.since()) / float64(time.Millisecond)
	prompt, predicted := float64(max(u.PromptTokens, 1)), float64(max(u.CompletionTokens, 1))
	return &timings{
		PromptN: u.PromptTokens, PromptMS: ms, PromptPerTokenMS: ms / prompt, PromptPerSecond: 1000 * prompt / ms,
		PredictedN: u.CompletionTokens, PredictedMS: ms, PredictedPerToken: ms / predicted, PredictedPerSecond: 1000 * predicted / ms,
	}
}
