package clients

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"math"
	"slices"
	"testing"

	"github.com/openai/openai-go/v3"
)

func TestOpenAIModels(t *testing.T) {
	twice(t, func(t *testing.T) {
		client := newOpenAI(proxyURL)
		var got []string
		pages := client.Models.ListAutoPaging(t.Context())
		for pages.Next() {
			got = append(got, pages.Current().ID)
		}
		if err := pages.Err(); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"demo:latest", "demo-embed:latest", "demo-think:latest"} {
			if !slices.Contains(got, name) {
				t.Errorf("models are %q, %s is missing", got, name)
			}
		}
		one, err := client.Models.Get(t.Context(), "demo:latest")
		if err != nil {
			t.Fatal(err)
		}
		expectText(t, "model", one.ID, "demo:latest")
	})
}

func completionParams() openai.CompletionNewParams {
	return openai.CompletionNewParams{
		Model:  plainModel,
		Prompt: openai.CompletionNewParamsPromptUnion{OfString: openai.String(question)},
	}
}

func TestOpenAICompletion(t *testing.T) {
	twice(t, func(t *testing.T) {
		client := newOpenAI(proxyURL)
		got, err := client.Completions.New(t.Context(), completionParams())
		if err != nil {
			t.Fatal(err)
		}
		if len(got.Choices) != 1 {
			t.Fatalf("%d choices, want 1", len(got.Choices))
		}
		expectText(t, "answer", got.Choices[0].Text, want.Completion.Text)
		expectCount(t, "completion tokens", got.Usage.CompletionTokens, words)
	})
}

func TestOpenAICompletionStream(t *testing.T) {
	twice(t, func(t *testing.T) {
		client := newOpenAI(proxyURL)
		p := completionParams()
		p.StreamOptions.IncludeUsage = openai.Bool(true)
		stream := client.Completions.NewStreaming(t.Context(), p)
		defer stream.Close()
		text, deltas := "", int64(0)
		var usage openai.CompletionUsage
		for stream.Next() {
			chunk := stream.Current()
			usage = chunk.Usage // the last one counts
			if len(chunk.Choices) > 0 && chunk.Choices[0].Text != "" {
				deltas++
				text += chunk.Choices[0].Text
			}
		}
		if err := stream.Err(); err != nil {
			t.Fatal(err)
		}
		expectText(t, "answer", text, want.Completion.Text)
		expectCount(t, "deltas", deltas, words)
		expectCount(t, "completion tokens", usage.CompletionTokens, words)
	})
}

func embed(t *testing.T, format openai.EmbeddingNewParamsEncodingFormat) []openai.Embedding {
	t.Helper()
	client := newOpenAI(proxyURL)
	got, err := client.Embeddings.New(t.Context(), openai.EmbeddingNewParams{
		Model:          embedModel,
		Input:          openai.EmbeddingNewParamsInputUnion{OfArrayOfStrings: []string{"hello", "world"}},
		EncodingFormat: format,
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Data) != 2 {
		t.Fatalf("%d embeddings, want 2", len(got.Data))
	}
	expectCount(t, "prompt tokens", got.Usage.PromptTokens, 4)
	return got.Data
}

func TestOpenAIEmbeddings(t *testing.T) {
	twice(t, func(t *testing.T) {
		for i, item := range embed(t, openai.EmbeddingNewParamsEncodingFormatFloat) {
			got := make([]float32, len(item.Embedding))
			for j, f := range item.Embedding {
				got[j] = float32(f)
			}
			expectVector(t, got, []string{"hello", "world"}[i])
		}
	})
}

// TestOpenAIEmbeddingsBase64 reads the member itself: this client asks for
// base64 but leaves its decoding to the program.
func TestOpenAIEmbeddingsBase64(t *testing.T) {
	twice(t, func(t *testing.T) {
		for i, item := range embed(t, openai.EmbeddingNewParamsEncodingFormatBase64) {
			var raw struct{ Embedding string }
			if err := json.Unmarshal([]byte(item.RawJSON()), &raw); err != nil {
				t.Fatal(err)
			}
			b, err := base64.StdEncoding.DecodeString(raw.Embedding)
			if err != nil {
				t.Fatal(err)
			}
			got := make([]float32, len(b)/4)
			for j := range got {
				got[j] = math.Float32frombits(binary.LittleEndian.Uint32(b[4*j:]))
			}
			expectVector(t, got, []string{"hello", "world"}[i])
		}
	})
}

func expectVector(t *testing.T, got []float32, text string) {
	t.Helper()
	if !slices.Equal(got, want.Vectors[text]) {
		t.Errorf("vector of %q is %v, want %v", text, got, want.Vectors[text])
	}
}
