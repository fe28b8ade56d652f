package simllm

import (
	"net/http"
	"strings"
	"testing"
)

func TestKnobsAreRefusedWithASentence(t *testing.T) {
	for _, c := range []struct{ query, want string }{
		{"tokens=-1", `knob tokens="-1": must be a whole number from 0 to 1048576`},
		{"tokens=many", "must be a whole number"},
		{"delay=5", "must be a duration such as 5ms"},
		{"delay=-5s", "must be a duration"},
		{"fail=200", "must be between 400 and 599"},
		{"fail=explode", "must be one of busy, loading"},
		{"fail_rate=2", "must be a number from 0 to 1"},
		{"fail_rate=NaN", "must be a number from 0 to 1"},
		{"like=tgi", "must be one of ollama, llama, vllm"},
		{"comments=often", "must be true or false"},
		{"done=later", "must be one of true, false"},
		{"tokenz=1", `no knob "tokenz"; there are bom, comments,`},
		{"%zz", "invalid URL escape"},
	} {
		err := new(knobs).setQuery(c.query)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.query, err, c.want)
		}
	}
	_, ts := start(t, Config{})
	for _, model := range []string{"demo?nonsense=1", "demo?tokens=x"} {
		if got := send(t, ts, "POST", "/api/chat", strings.Replace(chatBody, "demo", model, 1)); got.status != 400 {
			t.Errorf("model %s: %d %s", model, got.status, got.body)
		}
	}
	if got := send(t, ts, "GET", "/api/tags", "", "X-Sim-Nonsense: 1"); got.status != 400 {
		t.Errorf("header: %d", got.status)
	}
}

// TestNearerKnobsWin holds the precedence: the header, the model's name, the
// server's fault.
func TestNearerKnobsWin(t *testing.T) {
	s, ts := start(t, Config{Tokens: 9})
	if err := s.SetFault("tokens=4"); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		model, header string
		want          int
	}{{"demo", "", 4}, {"demo?tokens=3", "", 3}, {"demo?tokens=3", "X-Sim-Tokens: 2", 2}} {
		got := send(t, ts, "POST", "/v1/chat/completions", strings.Replace(chatBody, "demo", c.model, 1), c.header)
		if n := len(strings.Fields(contentOf(t, got.body))); n != c.want {
			t.Errorf("%s %q: %d words, want %d", c.model, c.header, n, c.want)
		}
	}
	if err := s.SetFault("fail=500"); err != nil {
		t.Fatal(err)
	}
	if got := send(t, ts, "POST", "/api/chat", chatBody, "X-Sim-Fail: none"); got.status != 200 {
		t.Errorf("fail=none does not protect: %d", got.status)
	}
}

func FuzzKnobs(f *testing.F) {
	f.Add("tokens=9&delay=5ms&fail=500&fail_rate=0.5")
	f.Add("fail=none&usage=1&done=false&%")
	f.Fuzz(func(t *testing.T, query string) {
		k := New(Config{}).defaults
		if k.setQuery(query) != nil {
			return
		}
		if k.tokens < 0 || k.tokens > maxTokens || k.size > maxTextBytes || k.delay < 0 || !(k.failRate >= 0 && k.failRate <= 1) {
			t.Errorf("%q is accepted: %+v", query, k)
		}
		if k.status != 0 && http.StatusText(k.status) == "" && (k.status < 400 || k.status > 599) {
			t.Errorf("%q sets status %d", query, k.status)
		}
	})
}
