package simllm

import "hash/fnv"

// logprob is a word's probability, with its rivals' if asked for.
type logprob struct {
	Token       string    `json:"token"`
	Logprob     float64   `json:"logprob"`
	Bytes       []int     `json:"bytes"`
	TopLogprobs []logprob `json:"top_logprobs,omitempty"`
}

type chatLogprobs struct {
	Content []logprob `json:"content"`
}

// maxRivals is OpenAI's own limit on top_logprobs.
const maxRivals = 20

// logprobs makes up a probability for each word; the first rival is the word
// itself.
func logprobs(words []string, rivals int) []logprob {
	out := make([]logprob, len(words))
	for i, word := range words {
		p := oneLogprob(word)
		for j := range min(rivals, maxRivals) {
			rival := word
			if j > 0 {
				rival = vocabulary[noun][(i+j)%len(vocabulary[noun])]
			}
			r := oneLogprob(rival)
			r.Logprob = p.Logprob - float64(j)
			p.TopLogprobs = append(p.TopLogprobs, r)
		}
		out[i] = p
	}
	return out
}

func oneLogprob(word string) logprob {
	h := fnv.New32a()
	h.Write([]byte(word)) // a hash.Hash never fails
	p := logprob{Token: word, Logprob: -float64(h.Sum32()%4096) / 1024, Bytes: make([]int, len(word))}
	for i := range len(word) {
		p.Bytes[i] = int(word[i])
	}
	return p
}
