package simllm

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
)

// ask is a generation request without its dialect's spelling.
type ask struct {
	prompt   string
	sampling string // the parameters that would change a real answer
	tools    []tool // to be called; empty if the request has none or forbids it
	json     bool
	schema   map[string]any // for json; nil allows any object
	think    bool
	limit    int // words; 0 is none
	stop     []string
	logprobs bool
	rivals   int // for logprobs: alternatives to each word
}

type tool struct {
	name   string
	schema map[string]any
}

type call struct {
	id, name string
	args     map[string]any
}

// argsJSON is the arguments as the JSON text that OpenAI's form carries.
func (c call) argsJSON() string {
	b, err := json.Marshal(c.args)
	if err != nil { // the arguments were made from decoded JSON
		return "{}"
	}
	return string(b)
}

// answer is what the model says, before any dialect spells it.
type answer struct {
	thinking     []string
	words        []string
	calls        []call
	cut          bool // by the request's limit
	promptTokens int
	logprobs     []logprob // one a word; nil unless asked for
}

func (a *answer) text() string    { return strings.Join(a.words, "") }
func (a *answer) thought() string { return strings.Join(a.thinking, "") }

// tokens counts the answer's words; a tool call counts as ten.
func (a *answer) tokens() int { return len(a.words) + len(a.thinking) + 10*len(a.calls) }

// maxCalls bounds the tools called at once: an agent may offer a hundred.
const maxCalls = 2

// compose makes the nth answer to a request.
func (x *exchange) compose(q *ask, n int) *answer {
	h := sha256.New()
	fmt.Fprintf(h, "%d\x00%s\x00%s\x00%s\x00%d", x.s.cfg.Seed, bare(x.model), q.prompt, q.sampling, n)
	sum := h.Sum(nil)
	rng := rand.New(rand.NewPCG(binary.LittleEndian.Uint64(sum), binary.LittleEndian.Uint64(sum[8:])))

	mark := marker(q.prompt)
	a := &answer{promptTokens: countTokens(q.prompt)}
	if q.think {
		a.thinking = newProse(rng, &knobs{}).take(x.k.thinkTokens)
	}
	if len(q.tools) > 0 {
		for _, t := range q.tools[:min(len(q.tools), maxCalls)] {
			s := &sampler{rng: rng, root: t.schema, mark: mark}
			a.calls = append(a.calls, call{id: fmt.Sprintf("call_%08x", rng.Uint32()), name: t.name, args: s.object(t.schema, 0)})
		}
		return a
	}
	if q.schema != nil {
		s := &sampler{rng: rng, root: q.schema, mark: mark}
		a.words = pieces(s.value(q.schema, 0))
	} else {
		a.words = x.prose(rng, mark)
		if q.json {
			a.words = pieces(map[string]any{"answer": a.text()})
		}
	}
	a.stopAt(q.stop)
	if q.limit > 0 && len(a.words) > q.limit {
		a.words, a.cut = a.words[:q.limit], true
	}
	if q.logprobs {
		a.logprobs = logprobs(a.words, q.rivals)
	}
	return a
}

// prose is free text of the length that the knobs ask for, the marker first.
func (x *exchange) prose(rng *rand.Rand, mark string) []string {
	p := newProse(rng, &x.k)
	var head []string
	if mark != "" {
		head, p.begun = []string{mark}, true
	}
	if x.k.size > 0 {
		return append(head, p.fill(x.k.size-len(mark))...)
	}
	return append(head, p.take(max(x.k.tokens-len(head), 0))...)
}

// pieces cuts a JSON value's text after each space, into what a model might
// have said word by word.
func pieces(v any) []string {
	b, err := json.Marshal(v)
	if err != nil { // v was made from decoded JSON
		return []string{"null"}
	}
	return strings.SplitAfter(string(b), " ")
}

// stopAt ends the text before the first stop sequence.
func (a *answer) stopAt(stop []string) {
	if len(stop) == 0 {
		return
	}
	text := a.text()
	end := len(text)
	for _, s := range stop {
		if i := strings.Index(text, s); s != "" && i >= 0 {
			end = min(end, i)
		}
	}
	for i, word := range a.words {
		if len(word) >= end {
			a.words[i] = word[:end]
			a.words = a.words[:i+1]
			return
		}
		end -= len(word)
	}
}

// countTokens stands in for a tokenizer: a token is about four bytes.
func countTokens(prompt string) int { return (len(prompt) + 3) / 4 }
