package doctor

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"github.com/vega-proxy/vega-proxy/internal/config"
)

// listener is a setting that names an address to listen on.
type listener struct{ setting, address string }

func listeners(cfg *config.Config) []listener {
	all := []listener{{"listen", cfg.Listen}, {"admin.listen", cfg.Admin.Listen}}
	if cfg.Metrics.Listen != "" {
		all = append(all, listener{"metrics.listen", cfg.Metrics.Listen})
	}
	return all
}

// port is whether one of them can be had.
type port struct {
	listener
	err error
}

// tryPort listens for a moment.
func tryPort(setting, address string) *port {
	p := &port{listener: listener{setting, address}}
	ln, err := net.Listen("tcp", address)
	if err != nil {
		p.err = err
		return p
	}
	p.err = ln.Close()
	return p
}

// running is the proxy that runs at admin.listen, if there is one.
type running struct {
	alive bool // something that looks like a proxy answers
	ours  bool // and it takes our key
	// listens are its own listeners by their setting; differs are the sections in
	// which its configuration is not this one.
	listens map[string]string
	differs []string
}

// findProxy asks who is at admin.listen. The key is shown only where a process
// holds the data directory: to nobody else.
func findProxy(ctx context.Context, cfg *config.Config, base string) *running {
	r := &running{}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	status, body := fetch(ctx, client, base+"/livez", "")
	r.alive = status == http.StatusOK && strings.TrimSpace(string(body)) == `{"status":"ok"}` ||
		status == http.StatusUnauthorized && strings.Contains(string(body), `"error"`)
	key := cfg.Admin.APIKey
	if key == "" {
		text, _ := os.ReadFile(filepath.Join(cfg.DataDir, "admin-key")) // without it nothing is asked
		key = strings.TrimSpace(string(text))
	}
	if !r.alive || key == "" || lockedBy(filepath.Join(cfg.DataDir, "lock")) == 0 {
		return r
	}
	status, body = fetch(ctx, client, base+"/admin/config", key)
	var theirs struct {
		Config map[string]any `json:"config"`
	}
	if r.ours = status == http.StatusOK && json.Unmarshal(body, &theirs) == nil; !r.ours {
		return r
	}
	r.listens = map[string]string{
		"listen": text(theirs.Config, "listen"), "admin.listen": text(theirs.Config, "admin", "listen"), "metrics.listen": text(theirs.Config, "metrics", "listen"),
	}
	r.differs = differing(cfg.Masked(), theirs.Config)
	return r
}

func fetch(ctx context.Context, client *http.Client, url, key string) (status int, body []byte) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, nil
	}
	if key != "" {
		req.Header.Set("X-Api-Key", key)
	}
	res, err := client.Do(req)
	if err != nil {
		return 0, nil
	}
	defer res.Body.Close()
	body, err = io.ReadAll(io.LimitReader(res.Body, maxBody))
	if err != nil {
		return 0, nil
	}
	return res.StatusCode, body
}

// text is a text in nested objects, "" where there is none.
func text(object map[string]any, path ...string) string {
	for _, name := range path[:len(path)-1] {
		object, _ = object[name].(map[string]any)
	}
	s, _ := object[path[len(path)-1]].(string)
	return s
}

// differing names the sections that are not equal, as JSON has them.
func differing(ours, theirs map[string]any) (names []string) {
	written, err := json.Marshal(ours)
	if err != nil {
		return nil
	}
	read := map[string]any{}
	if json.Unmarshal(written, &read) != nil {
		return nil
	}
	for name, value := range read {
		if !reflect.DeepEqual(value, theirs[name]) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}
