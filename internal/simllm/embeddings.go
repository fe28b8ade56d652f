package simllm

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"hash/fnv"
	"math"
	"math/rand/v2"
	"net/http"
)

type embeddingRequest struct {
	Model          string
	Input          json.RawMessage `json:"input"`
	EncodingFormat string          `json:"encoding_format"`
	Dimensions     int             `json:"dimensions"`
}

type embeddingItem struct {
	Object    string `json:"object"`
	Embedding any    `json:"embedding"`
	Index     int    `json:"index"`
}

type embeddingUsage struct {
	PromptTokens int `json:"prompt_tokens"`
	TotalTokens  int `json:"total_tokens"`
}

func (x *exchange) embeddings() error {
	var req embeddingRequest
	if err := x.decode(&req); err != nil {
		return err
	}
	if err := x.begin(req.Model); err != nil {
		return err
	}
	if !x.s.models.has(x.model) {
		return x.unknownEmbedder()
	}
	inputs, err := embeddingInputs(req.Input)
	if err != nil || len(inputs) == 0 {
		return x.fail(http.StatusBadRequest, "invalid input")
	}
	items, tokens := make([]embeddingItem, len(inputs)), 0
	for i, text := range inputs {
		v := x.vector(text, req.Dimensions)
		items[i] = embeddingItem{"embedding", v, i}
		if req.EncodingFormat == "base64" {
			items[i].Embedding = base64.StdEncoding.EncodeToString(floatBytes(v))
		}
		tokens += countTokens(text)
	}
	return x.json(struct {
		Object string          `json:"object"`
		Data   []embeddingItem `json:"data"`
		Model  string          `json:"model"`
		Usage  embeddingUsage  `json:"usage"`
	}{"list", items, x.model, embeddingUsage{tokens, tokens}}, 1)
}

func (x *exchange) unknownEmbedder() error {
	if x.model == "" {
		return x.fail(http.StatusBadRequest, "model is required")
	}
	return x.fail(http.StatusNotFound, `model "`+x.model+`" not found, try pulling it first`)
}

// embed is /api/embed. Without an input it answers with no embeddings.
func (x *exchange) embed() error {
	var req embeddingRequest
	if err := x.decode(&req); err != nil {
		return err
	}
	if err := x.begin(req.Model); err != nil {
		return err
	}
	if !x.s.models.has(x.model) {
		return x.unknownEmbedder()
	}
	inputs, err := embeddingInputs(req.Input)
	if err != nil {
		return x.fail(http.StatusBadRequest, "invalid input type")
	}
	reply := struct {
		Model           string      `json:"model"`
		Embeddings      [][]float32 `json:"embeddings"`
		TotalDuration   int64       `json:"total_duration,omitempty"`
		LoadDuration    int64       `json:"load_duration,omitempty"`
		PromptEvalCount int         `json:"prompt_eval_count,omitempty"`
	}{Model: x.model, Embeddings: [][]float32{}}
	if len(inputs) == 0 {
		return x.json(reply, 0)
	}
	for _, text := range inputs {
		reply.Embeddings = append(reply.Embeddings, x.vector(text, req.Dimensions))
		reply.PromptEvalCount += countTokens(text)
	}
	reply.TotalDuration = x.since().Nanoseconds()
	reply.LoadDuration = reply.TotalDuration
	return x.json(reply, 1)
}

// embeddingsLegacy is /api/embeddings: one text, doubles, not normalised.
func (x *exchange) embeddingsLegacy() error {
	var req struct{ Model, Prompt string }
	if err := x.decode(&req); err != nil {
		return err
	}
	if err := x.beginModel(req.Model); err != nil {
		return err
	}
	out := []float64{}
	if req.Prompt != "" {
		for _, f := range x.vector(req.Prompt, 0) {
			out = append(out, 8*float64(f))
		}
	}
	return x.json(struct {
		Embedding []float64 `json:"embedding"`
	}{out}, 1)
}

var errInput = errors.New("input is neither a text, nor tokens, nor a list of them")

// maxInputs bounds the memory that one request can ask for.
const maxInputs = 4096

// embeddingInputs reads a text, a list of texts, tokens, or a list of tokens.
func embeddingInputs(raw json.RawMessage) ([]string, error) {
	var v any
	if len(raw) == 0 {
		return nil, nil
	}
	if err := json.Unmarshal(raw, &v); err != nil {
		return nil, err
	}
	switch v := v.(type) {
	case nil:
		return nil, nil
	case string:
		return []string{v}, nil
	case []any:
		if len(v) > maxInputs {
			return nil, errInput
		}
		var out []string
		for _, one := range v {
			switch one := one.(type) {
			case string:
				out = append(out, one)
			case []any:
				b, err := json.Marshal(one)
				if err != nil {
					return nil, err
				}
				out = append(out, string(b))
			case float64:
				return []string{string(raw)}, nil
			default:
				return nil, errInput
			}
		}
		return out, nil
	}
	return nil, errInput
}

// vector is the text's embedding, of length 1. A shorter one is the beginning
// of a longer one, scaled.
func (x *exchange) vector(text string, dims int) []float32 {
	if dims <= 0 || dims > maxDims {
		dims = x.k.dims
	}
	h := fnv.New64a()
	h.Write([]byte(bare(x.model) + "\x00" + text)) // a hash.Hash never fails
	rng := rand.New(rand.NewPCG(h.Sum64(), x.s.cfg.Seed))
	v := make([]float32, dims)
	var sum float64
	for i := range v {
		f := rng.NormFloat64()
		v[i] = float32(f)
		sum += f * f
	}
	scale := float32(1 / math.Sqrt(sum))
	for i := range v {
		v[i] *= scale
	}
	return v
}

func floatBytes(v []float32) []byte {
	b := make([]byte, 0, 4*len(v))
	for _, f := range v {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(f))
	}
	return b
}
