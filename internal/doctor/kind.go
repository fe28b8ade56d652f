package doctor

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
)

// kind is what software answers at an upstream, as far as it can be told.
type kind struct {
	name    string // "" is unknown
	version string
}

func (k kind) String() string { return strings.TrimSpace(k.name + " " + k.version) }

// model is an item of a list of models, in OpenAI's spelling.
type model struct {
	ID      string `json:"id"`
	OwnedBy string `json:"owned_by"`
}

func parseModels(body []byte) []model {
	var list struct {
		Data []model `json:"data"`
	}
	if json.Unmarshal(body, &list) != nil {
		return nil
	}
	return list.Data
}

// owners are what servers put into owned_by of their models.
var owners = map[string]string{
	"library":            "Ollama",
	"vllm":               "vLLM",
	"sglang":             "SGLang",
	"llamacpp":           "llama.cpp",
	"organization_owner": "LM Studio",
	"openai":             "OpenAI",
	"system":             "OpenAI",
}

// identify goes by what the answer to /v1/models shows, and asks further only
// where that says nothing or for a version.
func (b *backend) identify(ctx context.Context) {
	a := b.models
	if a.err != nil {
		return
	}
	b.kind.name = byHeaders(a.header, b.base.Hostname())
	for _, m := range b.listed {
		if b.kind.name == "" {
			b.kind.name = owners[strings.ToLower(m.OwnedBy)]
		}
	}
	switch b.kind.name {
	case "Ollama", "":
		if v := b.text(ctx, "/api/version", "version"); v != "" {
			b.kind = kind{"Ollama", v}
			b.askOllama(ctx)
			return
		}
		if b.kind.name == "" {
			b.guess(ctx)
		}
	case "vLLM":
		b.kind.version = b.text(ctx, "/version", "version")
	}
}

// byHeaders knows servers by the headers that only they send.
func byHeaders(h http.Header, host string) string {
	has := func(name string) bool { return h.Get(name) != "" }
	switch {
	case strings.Contains(h.Get("Via"), "vega-proxy"), has("X-Vega-Request-Id"):
		return "vega-proxy"
	case strings.HasPrefix(h.Get("Server"), "llama.cpp"):
		return "llama.cpp"
	case has("X-Litellm-Version"):
		return "LiteLLM"
	case has("Openai-Version"), host == "api.openai.com":
		return "OpenAI"
	case has("Anthropic-Organization-Id"), host == "api.anthropic.com":
		return "Anthropic"
	}
	return ""
}

// guess asks for what only one kind of server has.
func (b *backend) guess(ctx context.Context) {
	switch {
	case b.text(ctx, "/info", "model_id") != "":
		b.kind = kind{"TGI", b.text(ctx, "/info", "version")}
	case b.get(ctx, b.base, "/api/v0/models").good():
		b.kind.name = "LM Studio"
	case b.get(ctx, b.base, "/props").good():
		b.kind.name = "llama.cpp"
	case b.text(ctx, "/version", "version") != "" && b.models.good():
		b.kind = kind{"vLLM", b.text(ctx, "/version", "version")}
	}
}

// askOllama reads its own lists: of what it has, where it is too old for
// /v1/models, and of what is in memory.
func (b *backend) askOllama(ctx context.Context) {
	type list struct {
		Models []struct {
			Name string `json:"name"`
		} `json:"models"`
	}
	read := func(path string) (names []string, ok bool) {
		var l list
		a := b.get(ctx, b.base, path)
		ok = a.good() && json.Unmarshal(a.body, &l) == nil
		for _, m := range l.Models {
			names = append(names, m.Name)
		}
		return names, ok
	}
	b.loaded, _ = read("/api/ps") // nothing is known to be loaded then
	if b.models.good() {
		return
	}
	if names, ok := read("/api/tags"); ok {
		b.models = &answer{status: http.StatusOK, header: b.models.header, first: b.models.first, at: b.models.at}
		for _, name := range names {
			b.listed = append(b.listed, model{ID: name})
		}
	}
}

// text returns one text of a JSON answer, "" where there is none.
func (b *backend) text(ctx context.Context, path, member string) string {
	a := b.get(ctx, b.base, path)
	if !a.good() {
		return ""
	}
	members := map[string]any{}
	if json.Unmarshal(a.body, &members) != nil {
		return ""
	}
	text, _ := members[member].(string)
	return text
}
