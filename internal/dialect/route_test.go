package dialect

import "testing"

func TestRouteOf(t *testing.T) {
	tests := []struct {
		method, path string
		dialect      Dialect
		kind         Kind
		op           Op
		retry        Retry
		stream       bool
		modelInBody  bool
	}{
		// Ollama's own API.
		{"POST", "/api/generate", Ollama, KindGenerate, OpOllamaGenerate, RetryDial, true, true},
		{"POST", "/api/chat", Ollama, KindGenerate, OpOllamaChat, RetryDial, true, true},
		{"POST", "/api/embed", Ollama, KindEmbed, OpOllamaEmbed, RetryDial, false, true},
		{"POST", "/api/embeddings", Ollama, KindEmbed, OpOllamaEmbeddings, RetryDial, false, true},
		{"GET", "/api/tags", Ollama, KindRead, OpTags, RetrySafe, false, false},
		{"HEAD", "/api/tags", Ollama, KindOpaque, OpNone, RetrySafe, false, false},
		{"POST", "/api/show", Ollama, KindRead, OpShow, RetrySafe, false, true},
		{"GET", "/api/ps", Ollama, KindRead, OpPs, RetrySafe, false, false},
		{"GET", "/api/version", Ollama, KindRead, OpVersion, RetrySafe, false, false},
		{"HEAD", "/api/version", Ollama, KindOpaque, OpNone, RetrySafe, false, false},
		{"GET", "/api/status", Ollama, KindRead, OpNone, RetrySafe, false, false},
		{"POST", "/api/pull", Ollama, KindManage, OpPull, RetryNever, true, true},
		{"POST", "/api/push", Ollama, KindManage, OpPush, RetryNever, true, true},
		{"POST", "/api/create", Ollama, KindManage, OpCreate, RetryNever, true, false},
		{"POST", "/api/copy", Ollama, KindManage, OpCopy, RetryNever, false, false},
		{"DELETE", "/api/delete", Ollama, KindManage, OpDelete, RetryNever, false, true},
		{"HEAD", "/api/blobs/sha256:00", Ollama, KindOpaque, OpNone, RetrySafe, false, false},
		{"POST", "/api/blobs/sha256:00", Ollama, KindManage, OpBlobs, RetryNever, false, false},
		{"POST", "/api/me", Ollama, KindOpaque, OpNone, RetryNever, false, false},
		{"POST", "/api/signout", Ollama, KindOpaque, OpNone, RetryNever, false, false},
		{"DELETE", "/api/user/keys/k", Ollama, KindOpaque, OpNone, RetryNever, false, false},
		{"POST", "/api/experimental/web_search", Ollama, KindOpaque, OpNone, RetryDial, false, false},
		{"POST", "/api/experimental/web_fetch", Ollama, KindOpaque, OpNone, RetryDial, false, false},
		{"GET", "/", Opaque, KindRead, OpNone, RetrySafe, false, false},
		{"HEAD", "/", Opaque, KindOpaque, OpNone, RetrySafe, false, false},
		{"GET", "/api/chat", Ollama, KindOpaque, OpNone, RetrySafe, false, false},
		{"OPTIONS", "/api/chat", Ollama, KindOpaque, OpNone, RetrySafe, false, false},

		// OpenAI's API and what others add to it.
		{"POST", "/v1/chat/completions", OpenAI, KindGenerate, OpChat, RetryDial, false, true},
		{"POST", "/v1/completions", OpenAI, KindGenerate, OpCompletions, RetryDial, false, true},
		{"POST", "/v1/responses", OpenAI, KindGenerate, OpResponses, RetryDial, false, true},
		{"GET", "/v1/responses/resp_1", OpenAI, KindOpaque, OpNone, RetrySafe, false, false},
		{"GET", "/v1/responses/resp_1/input_items", OpenAI, KindOpaque, OpNone, RetrySafe, false, false},
		{"DELETE", "/v1/responses/resp_1", OpenAI, KindOpaque, OpNone, RetryNever, false, false},
		{"POST", "/v1/responses/resp_1/cancel", OpenAI, KindOpaque, OpNone, RetryNever, false, false},
		{"POST", "/v1/responses/compact", OpenAI, KindOpaque, OpNone, RetryDial, false, false},
		{"POST", "/v1/responses/input_tokens", OpenAI, KindOpaque, OpNone, RetryDial, false, false},
		{"GET", "/v1/responses", OpenAI, KindOpaque, OpNone, RetryNever, false, false},
		{"POST", "/v1/messages", Anthropic, KindGenerate, OpMessages, RetryDial, false, true},
		{"POST", "/v1/messages/count_tokens", Anthropic, KindRead, OpCountTokens, RetrySafe, false, true},
		{"POST", "/v1/messages/batches", Anthropic, KindOpaque, OpNone, RetryNever, false, false},
		{"GET", "/v1/messages/batches/b", Anthropic, KindOpaque, OpNone, RetrySafe, false, false},
		{"GET", "/v1/messages", Anthropic, KindOpaque, OpNone, RetrySafe, false, false},
		{"POST", "/v1/messagesx", OpenAI, KindOpaque, OpNone, RetryDial, false, false},
		{"POST", "/v1/embeddings", OpenAI, KindEmbed, OpEmbeddings, RetryDial, false, true},
		{"GET", "/v1/models", OpenAI, KindRead, OpModels, RetrySafe, false, false},
		{"GET", "/v1/models/org/name:tag", OpenAI, KindRead, OpModels, RetrySafe, false, false},
		{"DELETE", "/v1/models/m", OpenAI, KindOpaque, OpNone, RetryNever, false, false},
		{"POST", "/v1/audio/transcriptions", OpenAI, KindOpaque, OpNone, RetryDial, false, false},
		{"POST", "/v1/audio/translations", OpenAI, KindOpaque, OpNone, RetryDial, false, false},
		{"POST", "/v1/audio/speech", OpenAI, KindOpaque, OpNone, RetryDial, false, false},
		{"POST", "/v1/images/generations", OpenAI, KindOpaque, OpNone, RetryDial, false, false},
		{"POST", "/v1/images/edits", OpenAI, KindOpaque, OpNone, RetryDial, false, false},
		{"POST", "/v1/files", OpenAI, KindOpaque, OpNone, RetryNever, false, false},
		{"POST", "/v1/uploads/u/parts", OpenAI, KindOpaque, OpNone, RetryNever, false, false},
		{"POST", "/v1/batches", OpenAI, KindOpaque, OpNone, RetryNever, false, false},
		{"GET", "/v1/batches", OpenAI, KindOpaque, OpNone, RetrySafe, false, false},
		{"POST", "/v1/fine_tuning/jobs", OpenAI, KindOpaque, OpNone, RetryNever, false, false},
		{"POST", "/v1/vector_stores", OpenAI, KindOpaque, OpNone, RetryNever, false, false},
		{"POST", "/v1/assistants", OpenAI, KindOpaque, OpNone, RetryNever, false, false},
		{"POST", "/v1/threads/t/runs", OpenAI, KindOpaque, OpNone, RetryNever, false, false},
		{"POST", "/v1/conversations", OpenAI, KindOpaque, OpNone, RetryNever, false, false},
		{"POST", "/v1/containers", OpenAI, KindOpaque, OpNone, RetryNever, false, false},
		{"POST", "/v1/videos", OpenAI, KindOpaque, OpNone, RetryNever, false, false},
		{"GET", "/v1/realtime", OpenAI, KindOpaque, OpNone, RetryNever, false, false},
		{"POST", "/v1/realtime/sessions", OpenAI, KindOpaque, OpNone, RetryNever, false, false},
		{"POST", "/v1/moderations", OpenAI, KindOpaque, OpNone, RetryDial, false, false},
		{"POST", "/v1/chat/completions/control", OpenAI, KindOpaque, OpNone, RetryNever, false, false},
		{"GET", "/v1/stream/c", OpenAI, KindOpaque, OpNone, RetryNever, false, false},
		{"GET", "/v1/streams", OpenAI, KindOpaque, OpNone, RetryNever, false, false},
		{"DELETE", "/v1/stream/c", OpenAI, KindOpaque, OpNone, RetryNever, false, false},
		{"POST", "/v1/rerank", OpenAI, KindOpaque, OpNone, RetryDial, false, false},
		{"POST", "/v1/score", OpenAI, KindOpaque, OpNone, RetryDial, false, false},
		{"GET", "/v1/chat/completions", OpenAI, KindOpaque, OpNone, RetrySafe, false, false},
		{"HEAD", "/v1/models", OpenAI, KindOpaque, OpNone, RetrySafe, false, false},
		{"OPTIONS", "/v1/chat/completions", OpenAI, KindOpaque, OpNone, RetrySafe, false, false},
		{"POST", "/v1/no/such/path", OpenAI, KindOpaque, OpNone, RetryDial, false, false},
		{"GET", "/v1/health", OpenAI, KindRead, OpNone, RetrySafe, false, false},

		// Elsewhere.
		{"POST", "/rerank", Opaque, KindOpaque, OpNone, RetryDial, false, false},
		{"POST", "/v2/rerank", Opaque, KindOpaque, OpNone, RetryDial, false, false},
		{"POST", "/score", Opaque, KindOpaque, OpNone, RetryDial, false, false},
		{"POST", "/tokenize", Opaque, KindOpaque, OpNone, RetrySafe, false, false},
		{"POST", "/detokenize", Opaque, KindOpaque, OpNone, RetrySafe, false, false},
		{"POST", "/apply-template", Opaque, KindOpaque, OpNone, RetrySafe, false, false},
		{"POST", "/completion", Opaque, KindOpaque, OpNone, RetryDial, false, false},
		{"POST", "/infill", Opaque, KindOpaque, OpNone, RetryDial, false, false},
		{"POST", "/embedding", Opaque, KindOpaque, OpNone, RetryDial, false, false},
		{"POST", "/embeddings", Opaque, KindOpaque, OpNone, RetryDial, false, false},
		{"POST", "/generate", Opaque, KindOpaque, OpNone, RetryDial, false, false},
		{"POST", "/generate_stream", Opaque, KindOpaque, OpNone, RetryDial, false, false},
		{"POST", "/", Opaque, KindOpaque, OpNone, RetryDial, false, false},
		{"POST", "/chat_tokenize", Opaque, KindOpaque, OpNone, RetryDial, false, false},
		{"GET", "/info", Opaque, KindOpaque, OpNone, RetrySafe, false, false},
		{"GET", "/api/v0/models", Ollama, KindRead, OpNone, RetrySafe, false, false},
		{"GET", "/api/v1/models", Ollama, KindRead, OpNone, RetrySafe, false, false},
		{"POST", "/api/v1/models/load", Ollama, KindManage, OpNone, RetryNever, false, false},
		{"POST", "/api/v1/models/unload", Ollama, KindManage, OpNone, RetryNever, false, false},
		{"POST", "/api/v1/chat", Ollama, KindOpaque, OpNone, RetryDial, false, false},
		{"GET", "/health", Opaque, KindRead, OpNone, RetrySafe, false, false},
		{"GET", "/ping", Opaque, KindRead, OpNone, RetrySafe, false, false},
		{"GET", "/version", Opaque, KindRead, OpNone, RetrySafe, false, false},
		{"GET", "/load", Opaque, KindOpaque, OpNone, RetrySafe, false, false},
		{"GET", "/metrics", Opaque, KindOpaque, OpNone, RetrySafe, false, false},
		{"GET", "/slots", Opaque, KindOpaque, OpNone, RetrySafe, false, false},
		{"GET", "/props", Opaque, KindOpaque, OpNone, RetrySafe, false, false},
		{"GET", "/models", Opaque, KindRead, OpNone, RetrySafe, false, false},
		{"GET", "/models/sse", Opaque, KindOpaque, OpNone, RetrySafe, false, false},
		{"POST", "/slots/0", Opaque, KindOpaque, OpNone, RetryNever, false, false},
		{"POST", "/props", Opaque, KindOpaque, OpNone, RetryNever, false, false},
		{"POST", "/lora-adapters", Opaque, KindOpaque, OpNone, RetryNever, false, false},
		{"POST", "/models/load", Opaque, KindManage, OpNone, RetryNever, false, false},
		{"POST", "/models/unload", Opaque, KindManage, OpNone, RetryNever, false, false},
		{"POST", "/tools", Opaque, KindOpaque, OpNone, RetryNever, false, false},
		{"POST", "/invocations", Opaque, KindOpaque, OpNone, RetryNever, false, false},
		{"POST", "/inference/v1/generate", Opaque, KindOpaque, OpNone, RetryNever, false, false},
		{"POST", "/pause", Opaque, KindOpaque, OpNone, RetryNever, false, false},
		{"POST", "/update_weights", Opaque, KindOpaque, OpNone, RetryNever, false, false},

		// What nobody expects.
		{"PUT", "/v1/chat/completions", OpenAI, KindOpaque, OpNone, RetryNever, false, false},
		{"PATCH", "/api/chat", Ollama, KindOpaque, OpNone, RetryNever, false, false},
		{"post", "/api/chat", Ollama, KindOpaque, OpNone, RetryNever, false, false},
		{"GET", "/api", Opaque, KindOpaque, OpNone, RetrySafe, false, false},
		{"GET", "/v1", Opaque, KindOpaque, OpNone, RetrySafe, false, false},
		{"POST", "", Opaque, KindOpaque, OpNone, RetryDial, false, false},
		{"POST", "/v1/files/", OpenAI, KindOpaque, OpNone, RetryDial, false, false},
	}
	for _, tt := range tests {
		makes := tt.op == OpCreate || tt.op == OpCopy
		want := Route{tt.dialect, tt.kind, tt.op, tt.retry, tt.stream, tt.modelInBody, makes}
		if got := RouteOf(tt.method, tt.path); got != want {
			t.Errorf("%s %s: got %+v, want %+v", tt.method, tt.path, got, want)
		}
	}
}

func TestRouteOfDoesNotAllocate(t *testing.T) {
	paths := []string{"/api/chat", "/v1/chat/completions", "/v1/messages/batches/1", "/no/such/path"}
	if n := testing.AllocsPerRun(100, func() {
		for _, path := range paths {
			RouteOf("POST", path)
		}
	}); n != 0 {
		t.Errorf("%v allocations, want none", n)
	}
}

// TestRowsAreReachable: the first row that fits counts, so that a row behind one
// that covers it would be dead.
func TestRowsAreReachable(t *testing.T) {
	for _, r := range rows {
		path := r.path
		if path[len(path)-1] == '*' {
			path += "x"
		}
		got := RouteOf(r.method, path)
		want := Route{r.dialect, r.kind, r.op, r.retry, r.traits&streams != 0, r.traits&named != 0, r.traits&makes != 0}
		if got != want {
			t.Errorf("%s %s: got %+v, want %+v", r.method, r.path, got, want)
		}
	}
}

func TestNames(t *testing.T) {
	for d, want := range map[Dialect]string{Opaque: "opaque", OpenAI: "openai", Ollama: "ollama", Anthropic: "anthropic", 99: "opaque"} {
		if d.String() != want {
			t.Errorf("dialect %d: got %q, want %q", d, d, want)
		}
	}
	for k, want := range map[Kind]string{KindOpaque: "opaque", KindGenerate: "generate", KindEmbed: "embed", KindRead: "read", KindManage: "manage"} {
		if k.String() != want {
			t.Errorf("kind %d: got %q, want %q", k, k, want)
		}
	}
	// A known endpoint is labelled by its route.
	for _, r := range rows {
		want := "other"
		if r.op != OpNone {
			want = r.path
			if r.op == OpBlobs {
				want = "/api/blobs"
			}
			if r.op == OpModels {
				want = "/v1/models"
			}
		}
		if r.op.String() != want {
			t.Errorf("%s: got label %q, want %q", r.path, r.op, want)
		}
	}
	for b, want := range map[Blame]string{BlameUpstream: "upstream", BlameClient: "client", BlameBusy: "busy", BlameLoading: "loading"} {
		if b.String() != want {
			t.Errorf("blame %d: got %q, want %q", b, b, want)
		}
	}
}

func TestFramingOf(t *testing.T) {
	for contentType, want := range map[string]Framing{
		"text/event-stream":                FramingSSE,
		"Text/Event-Stream; charset=utf-8": FramingSSE,
		"application/x-ndjson":             FramingNDJSON,
		"application/ndjson":               FramingNDJSON,
		"application/jsonl":                FramingNDJSON,
		" application/json ;charset=utf-8": FramingJSON,
		"application/json; charset=utf-8":  FramingJSON,
		"text/plain":                       FramingNone,
		"application/jsonp":                FramingNone,
		"":                                 FramingNone,
		";application/json":                FramingNone,
	} {
		if got := FramingOf(contentType); got != want {
			t.Errorf("%q: got %d, want %d", contentType, got, want)
		}
	}
}
