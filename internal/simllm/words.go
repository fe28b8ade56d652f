package simllm

import (
	"math/rand/v2"
	"strings"
)

const (
	markOpen = "[[p:"
	markLen  = 16
)

// marker returns the last "[[p:" with the 16 characters after it (and "]]", if
// it follows), or "": in a conversation the last one is the present question.
func marker(prompt string) string {
	i := strings.LastIndex(prompt, markOpen)
	if i < 0 || len(prompt) < i+len(markOpen)+markLen {
		return ""
	}
	end := i + len(markOpen) + markLen
	if strings.HasPrefix(prompt[end:], "]]") {
		end += 2
	}
	return prompt[i:end]
}

// Kinds of words, in the order in which a sentence uses them.
const (
	opener = iota
	adjective
	noun
	verb
	preposition
	article
)

var vocabulary = [...][]string{
	opener:      {"The", "A", "Every", "This", "One", "That", "Another", "Each"},
	adjective:   {" quiet", " old", " small", " bright", " slow", " warm", " distant", " careful", " patient", " new"},
	noun:        {" harbour", " boat", " keeper", " road", " clock", " window", " river", " teacher", " garden", " letter", " station", " storm", " map", " bridge", " lamp", " market", " captain", " child", " wind", " stone"},
	verb:        {" waits", " turns", " sleeps", " returns", " moves", " stands", " grows", " rests", " changes", " sings"},
	preposition: {" near", " under", " behind", " with", " over", " before", " beside", " without"},
	article:     {" the", " a", " every", " that"},
}

var sentences = [...][]int{
	{opener, noun, verb, preposition, article, noun},
	{opener, adjective, noun, verb, preposition, article, noun},
	{opener, noun, verb, preposition, article, adjective, noun},
	{opener, noun, preposition, article, noun, verb},
}

var foreign = []string{"海", "は静", "か。", "船が", "港で", "待つ", "🚢", "风", "吹过", "桥。", "👩‍🚀", "été ", "Straße ", "마을", "에 ", "🌊🌊"}

// prose yields the words of one text, each with the space before it.
type prose struct {
	rng   *rand.Rand
	left  []int // of the present sentence
	begun bool
	cjk   bool

	bytes  int               // of each word; 0 is natural
	fitted map[string]string // words at that length
}

func newProse(rng *rand.Rand, k *knobs) *prose {
	p := &prose{rng: rng, cjk: k.cjk}
	if k.tokenBytes > 0 && !k.cjk {
		p.bytes, p.fitted = k.tokenBytes, map[string]string{}
	}
	return p
}

func (p *prose) next() string {
	if p.cjk {
		return foreign[p.rng.IntN(len(foreign))]
	}
	if len(p.left) == 0 {
		p.left = sentences[p.rng.IntN(len(sentences))]
	}
	kind := p.left[0]
	p.left = p.left[1:]
	words := vocabulary[kind]
	word := words[p.rng.IntN(len(words))]
	if kind == opener && p.begun {
		word = " " + word
	}
	if len(p.left) == 0 {
		word += "."
	}
	p.begun = true
	if p.bytes == 0 {
		return word
	}
	fit, ok := p.fitted[word]
	if !ok {
		fit = word + strings.Repeat("x", max(0, p.bytes-len(word)))
		fit = fit[:p.bytes]
		p.fitted[word] = fit
	}
	return fit
}

// take returns n words. Their bytes stay within maxTextBytes.
func (p *prose) take(n int) []string {
	words := make([]string, 0, n)
	for total := 0; len(words) < n; {
		word := p.next()
		if total += len(word); total > maxTextBytes {
			break
		}
		words = append(words, word)
	}
	return words
}

// fill returns words that are size bytes together.
func (p *prose) fill(size int) []string {
	var words []string
	for size > 0 {
		word := p.next()
		if len(word) > size {
			word = strings.Repeat(".", size)
		}
		words = append(words, word)
		size -= len(word)
	}
	return words
}
