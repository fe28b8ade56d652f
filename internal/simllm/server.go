package simllm

import (
	"cmp"
	"errors"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Config says what the backend is like when no request says otherwise.
// The zero value works.
type Config struct {
	// Models are the installed models' names. A name with "embed" in it only
	// embeds, one with "think" in it thinks before it answers. Default: demo,
	// demo-think, demo-embed.
	Models []string
	// Tokens is how many words an answer has. Default: 48.
	Tokens int
	// Delay is the time between two words, TTFT the time before the first.
	Delay, TTFT time.Duration
	// Seed goes into every answer: another seed, other answers.
	Seed uint64
}

// Server is the backend as an http.Handler. It is safe for concurrent use.
type Server struct {
	cfg      Config
	defaults knobs
	routes   map[string]*route
	models   *registry
	fault    atomic.Pointer[fault]
	spread   atomic.Uint64 // requests that fail_rate decided on
	ids      atomic.Uint64

	inFlight, cancelled, bytes, tokens, faults, uploaded, other atomic.Int64

	mu     sync.Mutex
	taken  map[net.Conn]struct{} // connections that were hijacked
	closed bool
}

// New returns a server with no fault set. It starts nothing.
func New(cfg Config) *Server {
	if len(cfg.Models) == 0 {
		cfg.Models = []string{"demo", "demo-think", "demo-embed"}
	}
	s := &Server{
		cfg: cfg,
		defaults: knobs{
			tokens: cmp.Or(cfg.Tokens, 48), thinkTokens: 8, dims: 64,
			ttft: cfg.TTFT, delay: cfg.Delay,
			like: likeOllama, failRate: 1, retryAfter: 1, slow: 2 * time.Second,
		},
		models: newRegistry(cfg.Models, time.Now()),
		taken:  map[net.Conn]struct{}{},
	}
	s.routes = s.table()
	return s
}

// Close closes the connections that were taken from the HTTP server (upgraded
// ones above all), which http.Server.Close and Shutdown leave open, and refuses
// new ones. Their handlers return soon after; the HTTP server ends the others.
func (s *Server) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for conn := range s.taken {
		conn.Close() // the handler that reads or writes it sees the error
	}
}

// ServeHTTP answers one request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.inFlight.Add(1)
	defer s.inFlight.Add(-1)
	x := &exchange{s: s, w: w, r: r, rc: http.NewResponseController(w), k: s.defaults}
	to, path := s.find(r.URL.Path)
	if to == nil {
		s.other.Add(1)
	} else {
		to.requests.Add(1)
		x.path, x.dialect = path, to.dialect
	}
	err := x.serve(to)
	if x.release != nil {
		x.release()
	}
	switch {
	case err == nil, errors.Is(err, errAnswered):
	case errors.Is(err, errCut):
		// The one way to end a body without its end.
		panic(http.ErrAbortHandler)
	default: // the client left, or takes nothing more
		s.cancelled.Add(1)
		panic(http.ErrAbortHandler)
	}
}

func (x *exchange) serve(to *route) error {
	if x.turnAway() || x.preflight(to) {
		return nil
	}
	if to == nil {
		return x.plain(http.StatusNotFound, "404 page not found")
	}
	handle := to.methods[x.r.Method]
	if handle == nil {
		x.w.Header().Set("Allow", to.allow())
		return x.plain(http.StatusMethodNotAllowed, "405 method not allowed")
	}
	return handle(x)
}

// route is one path with its methods.
type route struct {
	path     string // ends in "/" if what follows is a parameter
	dialect  dialect
	methods  map[string]func(*exchange) error
	requests atomic.Int64
}

func (t *route) allow() string {
	var names []string
	for _, m := range []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodDelete} {
		if t.methods[m] != nil {
			names = append(names, m)
		}
	}
	return strings.Join(names, ", ")
}

// find returns a path's route and its parameter. It does not clean or redirect:
// API clients do not post again.
func (s *Server) find(path string) (*route, string) {
	if t := s.routes[path]; t != nil && !(strings.HasSuffix(path, "/") && path != "/") {
		return t, ""
	}
	for _, prefix := range []string{"/api/blobs/", "/v1/models/"} {
		if rest, ok := strings.CutPrefix(path, prefix); ok && rest != "" {
			return s.routes[prefix], rest
		}
	}
	return nil, ""
}

func (s *Server) table() map[string]*route {
	routes := map[string]*route{}
	add := func(d dialect, methods, path string, handle func(*exchange) error) {
		t := routes[path]
		if t == nil {
			t = &route{path: path, dialect: d, methods: map[string]func(*exchange) error{}}
			routes[path] = t
		}
		for m := range strings.SplitSeq(methods, " ") {
			t.methods[m] = handle
		}
	}
	add(ollama, "GET HEAD", "/", (*exchange).root)
	add(openai, "GET", "/health", (*exchange).health)
	add(ollama, "GET HEAD", "/api/version", (*exchange).version)
	add(ollama, "GET HEAD", "/api/tags", (*exchange).tags)
	add(ollama, "GET", "/api/ps", (*exchange).ps)
	add(ollama, "POST", "/api/show", (*exchange).show)
	add(ollama, "POST", "/api/generate", (*exchange).generate)
	add(ollama, "POST", "/api/chat", (*exchange).chat)
	add(ollama, "POST", "/api/embed", (*exchange).embed)
	add(ollama, "POST", "/api/embeddings", (*exchange).embeddingsLegacy)
	add(ollama, "POST", "/api/pull", (*exchange).pull)
	add(ollama, "POST", "/api/push", (*exchange).push)
	add(ollama, "POST", "/api/create", (*exchange).create)
	add(ollama, "POST", "/api/copy", (*exchange).copyModel)
	add(ollama, "DELETE", "/api/delete", (*exchange).deleteModel)
	add(ollama, "HEAD", "/api/blobs/", (*exchange).blobExists)
	add(ollama, "POST", "/api/blobs/", (*exchange).blobUpload)
	add(openai, "GET", "/v1/models", (*exchange).listModels)
	add(openai, "GET", "/v1/models/", (*exchange).oneModel)
	add(openai, "POST", "/v1/chat/completions", (*exchange).chatCompletions)
	add(openai, "POST", "/v1/completions", (*exchange).completions)
	add(openai, "POST", "/v1/embeddings", (*exchange).embeddings)
	add(openai, "POST", "/v1/responses", (*exchange).responses)
	add(openai, "GET", "/v1/realtime", (*exchange).realtime)
	add(anthropic, "POST", "/v1/messages", (*exchange).messages)
	add(anthropic, "POST", "/v1/messages/count_tokens", (*exchange).countMessageTokens)
	add(ollama, "GET POST DELETE", "/__sim/fault", (*exchange).faultControl)
	add(ollama, "GET", "/__sim/stats", (*exchange).stats)
	return routes
}
