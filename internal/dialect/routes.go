package dialect

// row is one line of the table of endpoints. The first that fits counts. What
// is in no row is opaque, and its method decides about retries.
type row struct {
	dialect Dialect
	method  string
	path    string
	kind    Kind
	op      Op
	retry   Retry
	traits  trait
}

type trait uint8

const (
	streams trait = 1 << iota // streams unless told not to
	named                     // the body names the model
	makes                     // the body names a model that comes of it
)

// rows is read only. A generation is never safe to repeat once it was sent: it
// costs GPU time, and the answer may differ.
var rows = [...]row{
	{OpenAI, "POST", "/v1/chat/completions", KindGenerate, OpChat, RetryDial, named},
	{OpenAI, "POST", "/v1/completions", KindGenerate, OpCompletions, RetryDial, named},
	{OpenAI, "POST", "/v1/responses", KindGenerate, OpResponses, RetryDial, named},
	{OpenAI, "POST", "/v1/embeddings", KindEmbed, OpEmbeddings, RetryDial, named},
	{OpenAI, "GET", "/v1/models", KindRead, OpModels, RetrySafe, 0},
	{OpenAI, "GET", "/v1/models/*", KindRead, OpModels, RetrySafe, 0},
	{OpenAI, "GET", "/v1/health", KindRead, OpNone, RetrySafe, 0},
	{OpenAI, "GET", "/v1/responses", KindOpaque, OpNone, RetryNever, 0}, // WebSocket
	{OpenAI, "POST", "/v1/responses/compact", KindOpaque, OpNone, RetryDial, 0},
	{OpenAI, "POST", "/v1/responses/input_tokens", KindOpaque, OpNone, RetryDial, 0},
	{OpenAI, "POST", "/v1/responses/*", KindOpaque, OpNone, RetryNever, 0},
	{OpenAI, "POST", "/v1/chat/completions/*", KindOpaque, OpNone, RetryNever, 0},
	{OpenAI, "GET", "/v1/realtime", KindOpaque, OpNone, RetryNever, 0}, // WebSocket
	{OpenAI, "POST", "/v1/realtime/*", KindOpaque, OpNone, RetryNever, 0},
	{OpenAI, "GET", "/v1/stream/*", KindOpaque, OpNone, RetryNever, 0},
	{OpenAI, "GET", "/v1/streams", KindOpaque, OpNone, RetryNever, 0},
	{OpenAI, "POST", "/v1/files", KindOpaque, OpNone, RetryNever, 0},
	{OpenAI, "POST", "/v1/files/*", KindOpaque, OpNone, RetryNever, 0},
	{OpenAI, "POST", "/v1/uploads", KindOpaque, OpNone, RetryNever, 0},
	{OpenAI, "POST", "/v1/uploads/*", KindOpaque, OpNone, RetryNever, 0},
	{OpenAI, "POST", "/v1/batches", KindOpaque, OpNone, RetryNever, 0},
	{OpenAI, "POST", "/v1/batches/*", KindOpaque, OpNone, RetryNever, 0},
	{OpenAI, "POST", "/v1/fine_tuning/*", KindOpaque, OpNone, RetryNever, 0},
	{OpenAI, "POST", "/v1/vector_stores", KindOpaque, OpNone, RetryNever, 0},
	{OpenAI, "POST", "/v1/vector_stores/*", KindOpaque, OpNone, RetryNever, 0},
	{OpenAI, "POST", "/v1/assistants", KindOpaque, OpNone, RetryNever, 0},
	{OpenAI, "POST", "/v1/assistants/*", KindOpaque, OpNone, RetryNever, 0},
	{OpenAI, "POST", "/v1/threads", KindOpaque, OpNone, RetryNever, 0},
	{OpenAI, "POST", "/v1/threads/*", KindOpaque, OpNone, RetryNever, 0},
	{OpenAI, "POST", "/v1/conversations", KindOpaque, OpNone, RetryNever, 0},
	{OpenAI, "POST", "/v1/conversations/*", KindOpaque, OpNone, RetryNever, 0},
	{OpenAI, "POST", "/v1/containers", KindOpaque, OpNone, RetryNever, 0},
	{OpenAI, "POST", "/v1/containers/*", KindOpaque, OpNone, RetryNever, 0},
	{OpenAI, "POST", "/v1/videos", KindOpaque, OpNone, RetryNever, 0},
	{OpenAI, "POST", "/v1/videos/*", KindOpaque, OpNone, RetryNever, 0},

	{Anthropic, "POST", "/v1/messages", KindGenerate, OpMessages, RetryDial, named},
	{Anthropic, "POST", "/v1/messages/count_tokens", KindRead, OpCountTokens, RetrySafe, named},
	{Anthropic, "POST", "/v1/messages/batches", KindOpaque, OpNone, RetryNever, 0},
	{Anthropic, "POST", "/v1/messages/batches/*", KindOpaque, OpNone, RetryNever, 0},

	{Ollama, "POST", "/api/chat", KindGenerate, OpOllamaChat, RetryDial, named | streams},
	{Ollama, "POST", "/api/generate", KindGenerate, OpOllamaGenerate, RetryDial, named | streams},
	{Ollama, "POST", "/api/embed", KindEmbed, OpOllamaEmbed, RetryDial, named},
	{Ollama, "POST", "/api/embeddings", KindEmbed, OpOllamaEmbeddings, RetryDial, named},
	{Ollama, "GET", "/api/tags", KindRead, OpTags, RetrySafe, 0},
	{Ollama, "POST", "/api/show", KindRead, OpShow, RetrySafe, named},
	{Ollama, "GET", "/api/ps", KindRead, OpPs, RetrySafe, 0},
	{Ollama, "GET", "/api/version", KindRead, OpVersion, RetrySafe, 0},
	{Ollama, "GET", "/api/status", KindRead, OpNone, RetrySafe, 0},
	{Ollama, "POST", "/api/pull", KindManage, OpPull, RetryNever, named | streams},
	{Ollama, "POST", "/api/push", KindManage, OpPush, RetryNever, named | streams},
	{Ollama, "POST", "/api/create", KindManage, OpCreate, RetryNever, makes | streams},
	{Ollama, "POST", "/api/copy", KindManage, OpCopy, RetryNever, makes},
	{Ollama, "DELETE", "/api/delete", KindManage, OpDelete, RetryNever, named},
	{Ollama, "POST", "/api/blobs/*", KindManage, OpBlobs, RetryNever, 0},
	{Ollama, "POST", "/api/me", KindOpaque, OpNone, RetryNever, 0},
	{Ollama, "POST", "/api/signout", KindOpaque, OpNone, RetryNever, 0},
	{Ollama, "GET", "/api/v0/models", KindRead, OpNone, RetrySafe, 0},   // LM Studio
	{Ollama, "GET", "/api/v0/models/*", KindRead, OpNone, RetrySafe, 0}, // LM Studio
	{Ollama, "GET", "/api/v1/models", KindRead, OpNone, RetrySafe, 0},   // LM Studio
	{Ollama, "POST", "/api/v1/models/*", KindManage, OpNone, RetryNever, 0},

	{Opaque, "GET", "/", KindRead, OpNone, RetrySafe, 0},
	{Opaque, "GET", "/health", KindRead, OpNone, RetrySafe, 0},
	{Opaque, "GET", "/ping", KindRead, OpNone, RetrySafe, 0},
	{Opaque, "GET", "/version", KindRead, OpNone, RetrySafe, 0},
	{Opaque, "GET", "/models", KindRead, OpNone, RetrySafe, 0},
	{Opaque, "POST", "/models/load", KindManage, OpNone, RetryNever, 0},
	{Opaque, "POST", "/models/unload", KindManage, OpNone, RetryNever, 0},
	{Opaque, "POST", "/tokenize", KindOpaque, OpNone, RetrySafe, 0},
	{Opaque, "POST", "/detokenize", KindOpaque, OpNone, RetrySafe, 0},
	{Opaque, "POST", "/apply-template", KindOpaque, OpNone, RetrySafe, 0},
	{Opaque, "POST", "/slots/*", KindOpaque, OpNone, RetryNever, 0},
	{Opaque, "POST", "/props", KindOpaque, OpNone, RetryNever, 0},
	{Opaque, "POST", "/lora-adapters", KindOpaque, OpNone, RetryNever, 0},
	{Opaque, "POST", "/tools", KindOpaque, OpNone, RetryNever, 0},
	{Opaque, "POST", "/invocations", KindOpaque, OpNone, RetryNever, 0},
	{Opaque, "POST", "/inference/v1/generate", KindOpaque, OpNone, RetryNever, 0},
	{Opaque, "POST", "/pause", KindOpaque, OpNone, RetryNever, 0},
	{Opaque, "POST", "/resume", KindOpaque, OpNone, RetryNever, 0},
	{Opaque, "POST", "/abort_requests", KindOpaque, OpNone, RetryNever, 0},
	{Opaque, "POST", "/sleep", KindOpaque, OpNone, RetryNever, 0},
	{Opaque, "POST", "/wake_up", KindOpaque, OpNone, RetryNever, 0},
	{Opaque, "POST", "/reset_prefix_cache", KindOpaque, OpNone, RetryNever, 0},
	{Opaque, "POST", "/collective_rpc", KindOpaque, OpNone, RetryNever, 0},
	{Opaque, "POST", "/update_weights", KindOpaque, OpNone, RetryNever, 0},
}
