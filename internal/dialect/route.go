package dialect

import "strings"

// Dialect is the family of API that a path belongs to. It decides the shape of
// errors and the meaning of bodies.
type Dialect uint8

// The dialects. Opaque paths are passed on unread; errors of our own have
// OpenAI's shape there.
const (
	Opaque Dialect = iota
	OpenAI
	Ollama
	Anthropic
)

// String returns the dialect's name as logs and metrics spell it.
func (d Dialect) String() string {
	switch d {
	case OpenAI:
		return "openai"
	case Ollama:
		return "ollama"
	case Anthropic:
		return "anthropic"
	default:
		return "opaque"
	}
}

// Kind is what an endpoint does. Only generate and embed are parsed, cached,
// coalesced and logged.
type Kind uint8

// The kinds of endpoint.
const (
	KindOpaque   Kind = iota // whatever is not known
	KindGenerate             // a model writes an answer
	KindEmbed                // a model turns text into vectors
	KindRead                 // asks about models or the server, changes nothing
	KindManage               // changes the models a server has
)

// String returns the kind's name as logs and metrics spell it.
func (k Kind) String() string {
	switch k {
	case KindGenerate:
		return "generate"
	case KindEmbed:
		return "embed"
	case KindRead:
		return "read"
	case KindManage:
		return "manage"
	default:
		return "opaque"
	}
}

// Op is one known endpoint.
type Op uint8

// The known endpoints. OpNone stands for all others.
const (
	OpNone             Op = iota
	OpChat                // POST /v1/chat/completions
	OpCompletions         // POST /v1/completions
	OpResponses           // POST /v1/responses
	OpMessages            // POST /v1/messages
	OpOllamaChat          // POST /api/chat
	OpOllamaGenerate      // POST /api/generate
	OpEmbeddings          // POST /v1/embeddings
	OpOllamaEmbed         // POST /api/embed
	OpOllamaEmbeddings    // POST /api/embeddings, the older form
	OpCountTokens         // POST /v1/messages/count_tokens
	OpModels              // GET /v1/models and one of them
	OpTags                // GET /api/tags
	OpShow                // POST /api/show
	OpPs                  // GET /api/ps
	OpVersion             // GET /api/version
	OpPull                // POST /api/pull
	OpPush                // POST /api/push
	OpCreate              // POST /api/create
	OpCopy                // POST /api/copy
	OpDelete              // DELETE /api/delete
	OpBlobs               // POST /api/blobs/{digest}
)

// String returns the endpoint's route template, or "other". There are few of
// them, so that it can label a metric.
func (o Op) String() string {
	switch o {
	case OpChat:
		return "/v1/chat/completions"
	case OpCompletions:
		return "/v1/completions"
	case OpResponses:
		return "/v1/responses"
	case OpMessages:
		return "/v1/messages"
	case OpOllamaChat:
		return "/api/chat"
	case OpOllamaGenerate:
		return "/api/generate"
	case OpEmbeddings:
		return "/v1/embeddings"
	case OpOllamaEmbed:
		return "/api/embed"
	case OpOllamaEmbeddings:
		return "/api/embeddings"
	case OpCountTokens:
		return "/v1/messages/count_tokens"
	case OpModels:
		return "/v1/models"
	case OpTags:
		return "/api/tags"
	case OpShow:
		return "/api/show"
	case OpPs:
		return "/api/ps"
	case OpVersion:
		return "/api/version"
	case OpPull:
		return "/api/pull"
	case OpPush:
		return "/api/push"
	case OpCreate:
		return "/api/create"
	case OpCopy:
		return "/api/copy"
	case OpDelete:
		return "/api/delete"
	case OpBlobs:
		return "/api/blobs"
	default:
		return "other"
	}
}

// Retry says when a request may be sent a second time.
type Retry uint8

// The classes of retry, from the strictest to the most lenient.
const (
	RetryNever Retry = iota // it may have done its work though no answer came
	RetryDial               // only when nothing of it was sent
	RetrySafe               // asking twice is as good as once
)

// Route is what method and path say about a request.
type Route struct {
	Dialect Dialect
	Kind    Kind
	Op      Op
	Retry   Retry

	// StreamDefault is what an absent `stream` member means.
	StreamDefault bool

	// ModelInBody says that the body's model chooses the upstream. See
	// ParseRequest for generate and embed, and ModelOf for the others.
	ModelInBody bool

	// MakesModel says that the body names a model that need not be there yet, so
	// that it chooses no upstream. See ModelOf.
	MakesModel bool
}

// RouteOf finds the endpoint. The caller has decoded and cleaned the path: no
// escapes, no dot segments, no empty segments, no trailing slash. It does not
// allocate.
func RouteOf(method, path string) Route {
	d := dialectOf(path)
	for i := range rows {
		if r := &rows[i]; r.method == method && r.dialect == d && matches(r.path, path) {
			return Route{
				Dialect: d, Kind: r.kind, Op: r.op, Retry: r.retry,
				StreamDefault: r.traits&streams != 0,
				ModelInBody:   r.traits&named != 0,
				MakesModel:    r.traits&makes != 0,
			}
		}
	}
	r := Route{Dialect: d}
	switch method {
	case "GET", "HEAD", "OPTIONS":
		r.Retry = RetrySafe
	case "POST":
		r.Retry = RetryDial
	}
	return r
}

func dialectOf(path string) Dialect {
	switch {
	case matches("/v1/messages", path), matches("/v1/messages/*", path):
		return Anthropic
	case strings.HasPrefix(path, "/v1/"):
		return OpenAI
	case strings.HasPrefix(path, "/api/"):
		return Ollama
	default:
		return Opaque
	}
}

// matches compares a path with a pattern; a pattern that ends in an asterisk
// covers everything below it.
func matches(pattern, path string) bool {
	if below, ok := strings.CutSuffix(pattern, "*"); ok {
		return len(path) > len(below) && strings.HasPrefix(path, below)
	}
	return pattern == path
}
