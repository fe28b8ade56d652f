package simllm

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	maxModels   = 256
	maxBlobs    = 1024
	defaultKeep = 5 * time.Minute
	latest      = ":latest"
)

// registry holds the installed models and uploaded blobs. It is safe for
// concurrent use.
type registry struct {
	mu     sync.Mutex
	models map[string]*model // by bare name
	blobs  map[string]struct{}
}

type model struct {
	name     string // bare
	kind     string // the name it was copied or made from: says what it can do
	modified time.Time
	expires  time.Time // loaded until then; zero if it is not
}

func newRegistry(names []string, at time.Time) *registry {
	g := &registry{models: map[string]*model{}, blobs: map[string]struct{}{}}
	for _, name := range names {
		g.add(name, name, at)
	}
	return g
}

func bare(name string) string { return strings.TrimSuffix(name, latest) }

// full is the name as listings show it.
func (m *model) full() string {
	if strings.Contains(m.name, ":") {
		return m.name
	}
	return m.name + latest
}

func (m *model) embeds() bool { return strings.Contains(m.kind, "embed") }
func (m *model) thinks() bool { return strings.Contains(m.kind, "think") }

func (m *model) digest() string {
	sum := sha256.Sum256([]byte(m.kind))
	return hex.EncodeToString(sum[:])
}

// add installs a model. It returns false if there are too many.
func (g *registry) add(name, kind string, at time.Time) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	name = bare(name)
	if g.models[name] == nil && len(g.models) >= maxModels {
		return false
	}
	if from := g.models[bare(kind)]; from != nil {
		kind = from.kind
	}
	g.models[name] = &model{name: name, kind: bare(kind), modified: at}
	return true
}

func (g *registry) remove(name string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	_, ok := g.models[bare(name)]
	delete(g.models, bare(name))
	return ok
}

func (g *registry) has(name string) bool {
	_, ok := g.get(name)
	return ok
}

func (g *registry) get(name string) (model, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	m := g.models[bare(name)]
	if m == nil {
		return model{}, false
	}
	return *m, true
}

func (g *registry) embeds(name string) bool {
	m, _ := g.get(name)
	return m.embeds()
}

func (g *registry) thinks(name string) bool {
	m, _ := g.get(name)
	return m.thinks()
}

// list returns the models by name.
func (g *registry) list() []model {
	g.mu.Lock()
	defer g.mu.Unlock()
	out := make([]model, 0, len(g.models))
	for _, name := range slices.Sorted(maps.Keys(g.models)) {
		out = append(out, *g.models[name])
	}
	return out
}

// load keeps the model loaded for as long as keep_alive says, and returns
// whether it is loaded then.
func (g *registry) load(name string, keepAlive json.RawMessage, now time.Time) bool {
	keep := keepFor(keepAlive)
	g.mu.Lock()
	defer g.mu.Unlock()
	m := g.models[bare(name)]
	if m == nil {
		return false
	}
	m.expires = now.Add(keep)
	return keep > 0
}

// keepFor reads keep_alive: seconds or a duration such as "5m"; below 0 means
// for ever.
func keepFor(raw json.RawMessage) time.Duration {
	keep := defaultKeep
	var seconds float64
	var text string
	if json.Unmarshal(raw, &seconds) == nil && string(raw) != "null" {
		keep = time.Duration(seconds * float64(time.Second))
	} else if json.Unmarshal(raw, &text) == nil {
		if d, err := time.ParseDuration(text); err == nil {
			keep = d
		}
	}
	if keep < 0 {
		return 100 * 365 * 24 * time.Hour
	}
	return keep
}

func (g *registry) hasBlob(digest string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	_, ok := g.blobs[digest]
	return ok
}

// addBlob remembers a digest. It returns false if there are too many.
func (g *registry) addBlob(digest string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.blobs) >= maxBlobs {
		return false
	}
	g.blobs[digest] = struct{}{}
	return true
}
