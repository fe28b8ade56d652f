package clients

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"testing"

	ollama "github.com/ollama/ollama/api"
	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
)

const unreachable = "upstream_unreachable"

// TestOpenAINoBackend reads the proxy's own refusal.
func TestOpenAINoBackend(t *testing.T) {
	client := newOpenAI(deadURL)
	for name, ask := range map[string]func(t *testing.T) error{
		"models": func(t *testing.T) error {
			_, err := client.Models.List(t.Context())
			return err
		},
		"chat": func(t *testing.T) error {
			_, err := client.Chat.Completions.New(t.Context(), chatParams(demo))
			return err
		},
		"stream": func(t *testing.T) error {
			stream := client.Chat.Completions.NewStreaming(t.Context(), chatParams(demo))
			defer stream.Close()
			expectCount(t, "events", count(stream.Next), 0)
			return stream.Err()
		},
		"responses": func(t *testing.T) error {
			_, err := client.Responses.New(t.Context(), responseParams(demo))
			return err
		},
		"embeddings": func(t *testing.T) error {
			_, err := client.Embeddings.New(t.Context(), openai.EmbeddingNewParams{
				Model: "demo", Input: openai.EmbeddingNewParamsInputUnion{OfString: openai.String(question)},
			})
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			twice(t, func(t *testing.T) {
				e := expectAPIError(t, ask(t), http.StatusBadGateway, unreachable, "default")
				expectText(t, "type", e.Type, "vega_error")
				expectText(t, "X-Vega-Error", e.Response.Header.Get("X-Vega-Error"), unreachable)
			})
		})
	}
}

func TestOllamaNoBackend(t *testing.T) {
	for name, ask := range map[string]func(ctx context.Context, c *ollama.Client) error{
		"list": func(ctx context.Context, c *ollama.Client) error {
			_, err := c.List(ctx)
			return err
		},
		"chat": func(ctx context.Context, c *ollama.Client) error {
			return c.Chat(ctx, ollamaChatRequest(demo), ignore[ollama.ChatResponse])
		},
		"generate": func(ctx context.Context, c *ollama.Client) error {
			return c.Generate(ctx, ollamaGenerateRequest(demo), ignore[ollama.GenerateResponse])
		},
		"embed": func(ctx context.Context, c *ollama.Client) error {
			_, err := c.Embed(ctx, &ollama.EmbedRequest{Model: "demo", Input: question})
			return err
		},
		"pull": func(ctx context.Context, c *ollama.Client) error {
			return c.Pull(ctx, &ollama.PullRequest{Model: "demo"}, ignore[ollama.ProgressResponse])
		},
	} {
		t.Run(name, func(t *testing.T) {
			twice(t, func(t *testing.T) {
				expectStatusError(t, ask(t.Context(), newOllama(t, deadURL)), http.StatusBadGateway, "default")
			})
		})
	}
}

// TestProxyHeaders reads what the proxy adds to an answer.
func TestProxyHeaders(t *testing.T) {
	twice(t, func(t *testing.T) {
		client := newOpenAI(proxyURL)
		var res *http.Response
		_, err := client.Chat.Completions.New(t.Context(), chatParams(plainModel),
			option.WithHeader("X-Request-Id", t.Name()), option.WithResponseInto(&res))
		if err != nil {
			t.Fatal(err)
		}
		expectText(t, "X-Vega-Request-Id", res.Header.Get("X-Vega-Request-Id"), t.Name())
		for _, name := range []string{"X-Vega-Upstream", "X-Vega-Cache", "Via"} {
			if res.Header.Get(name) == "" {
				t.Errorf("no header %s among %v", name, res.Header)
			}
		}
	})
}

// An abort in mid-stream also shows that events pass as they come: three are
// here while the backend has not finished, and never would.

func TestOpenAIAbort(t *testing.T) {
	client := newOpenAI(proxyURL)
	t.Run("close", func(t *testing.T) {
		twice(t, func(t *testing.T) {
			before := readStats(t)
			stream := client.Chat.Completions.NewStreaming(t.Context(), chatParams(hangModel))
			defer stream.Close()
			for n := range beforeBreak {
				if !stream.Next() {
					t.Fatalf("the stream ended after %d events: %v", n, stream.Err())
				}
			}
			if err := stream.Close(); err != nil {
				t.Error(err)
			}
			expectCancel(t, before)
		})
	})
	t.Run("cancel", func(t *testing.T) {
		twice(t, func(t *testing.T) {
			before := readStats(t)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			stream := client.Responses.NewStreaming(ctx, responseParams(hangModel))
			defer stream.Close()
			for n := range beforeBreak {
				if !stream.Next() {
					t.Fatalf("the stream ended after %d events: %v", n, stream.Err())
				}
			}
			cancel()
			if stream.Next() || !errors.Is(stream.Err(), context.Canceled) {
				t.Errorf("error is %v, want a cancelled context", stream.Err())
			}
			expectCancel(t, before)
		})
	})
	t.Run("before the answer", func(t *testing.T) {
		twice(t, func(t *testing.T) {
			abortWaiting(t, "/v1/chat/completions", func(ctx context.Context) error {
				_, err := client.Chat.Completions.New(ctx, chatParams(slowModel))
				return err
			})
		})
	})
}

func TestOllamaAbort(t *testing.T) {
	t.Run("cancel", func(t *testing.T) {
		twice(t, func(t *testing.T) {
			before := readStats(t)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			lines := 0
			err := newOllama(t, proxyURL).Chat(ctx, ollamaChatRequest(hangModel), func(ollama.ChatResponse) error {
				if lines++; lines == beforeBreak {
					return context.Canceled // ends the call, which closes the connection
				}
				return nil
			})
			if !errors.Is(err, context.Canceled) {
				t.Errorf("error is %v after %d lines, want a cancelled context", err, lines)
			}
			expectCancel(t, before)
		})
	})
	t.Run("before the answer", func(t *testing.T) {
		twice(t, func(t *testing.T) {
			abortWaiting(t, "/api/generate", func(ctx context.Context) error {
				return newOllama(t, proxyURL).Generate(ctx, ollamaGenerateRequest(slowModel), ignore[ollama.GenerateResponse])
			})
		})
	})
}

// abortWaiting leaves while the backend still thinks.
func abortWaiting(t *testing.T, path string, ask func(context.Context) error) {
	t.Helper()
	before := readStats(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	answered := make(chan error, 1)
	go func() { answered <- ask(ctx) }()
	waitFor(t, "the request reaches the backend", func(s stats) bool { return s.Requests[path] > before.Requests[path] })
	cancel()
	if err := <-answered; !errors.Is(err, context.Canceled) {
		t.Errorf("error is %v, want a cancelled context", err)
	}
	expectCancel(t, before)
}

const crowd = 20

// TestCrowd asks for many streams at once. Each must get its own answer.
func TestCrowd(t *testing.T) {
	const paced = "demo?tokens=40&ttft=0s&delay=2ms"
	openAI, native := newOpenAI(proxyURL), newOllama(t, proxyURL)
	for name, ask := range map[string]func(ctx context.Context, prompt string) (string, error){
		"openai": func(ctx context.Context, prompt string) (string, error) {
			p := chatParams(paced)
			p.Messages = []openai.ChatCompletionMessageParamUnion{openai.UserMessage(prompt)}
			got, err := collectChat(ctx, openAI, p)
			return got.text, err
		},
		"ollama": func(ctx context.Context, prompt string) (string, error) {
			req := ollamaChatRequest(paced)
			req.Messages[0].Content = prompt
			got, err := collectOllama(ctx, native, req)
			return got.text, err
		},
	} {
		t.Run(name, func(t *testing.T) {
			twice(t, func(t *testing.T) {
				var wg sync.WaitGroup
				for n := range crowd {
					wg.Go(func() {
						text, err := ask(t.Context(), fmt.Sprintf("question %d %s", n, marker(n)))
						if err != nil {
							t.Errorf("stream %d: %v", n, err)
						}
						expectMarker(t, text, marker(n))
					})
				}
				wg.Wait()
			})
		})
	}
}
