// Package clients holds tests that drive a running vega-proxy with the official
// Go clients of OpenAI and Ollama. What they share with the tests in ../node is
// the answers in ../expected.json. scripts/test-clients.sh starts the proxies.
package clients

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	ollama "github.com/ollama/ollama/api"
	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
)

var (
	proxyURL = os.Getenv("CLIENTS_PROXY_URL") // before the simulated backend
	deadURL  = os.Getenv("CLIENTS_DEAD_URL")  // before a port where nobody listens
	want     expectations
	ran      atomic.Int64
)

// expectations are the simulated backend's answers to the question.
type expectations struct {
	Chat           answers
	Completion     answers
	Responses      answers
	OllamaChat     answers              `json:"ollama_chat"`
	OllamaGenerate answers              `json:"ollama_generate"`
	Vectors        map[string][]float32 // by text
}

type answers struct {
	Text         string
	Thought      string
	AfterThought string         `json:"after_thought"`
	CallID       string         `json:"call_id"`
	Arguments    map[string]any // of the call
	Object       map[string]any // for the schema
}

// The models' names carry the simulator's knobs, so that these tests do not
// depend on its defaults. Words and thoughts are as many as the answers have.
const (
	question = "hello"
	words    = 12
	thoughts = 4

	atOnce     = "ttft=0s&delay=0s"
	demo       = "demo?" + atOnce
	plainModel = demo + "&tokens=12"
	thinkModel = "demo-think?tokens=12&think_tokens=4&" + atOnce
	embedModel = "demo-embed?dims=4&" + atOnce
	// hangModel says three things and then nothing more, until the client leaves.
	hangModel = plainModel + "&fail=hang&fail_after=3"
	// slowModel does not say anything within a test's time.
	slowModel = "demo?ttft=10m"
)

func TestMain(m *testing.M) {
	if err := prepare(); err != nil {
		fmt.Fprintln(os.Stderr, "go clients:", err)
		os.Exit(1)
	}
	code := m.Run()
	fmt.Printf("go clients: %d tests ran\n", ran.Load())
	os.Exit(code)
}

func prepare() error {
	if proxyURL == "" || deadURL == "" {
		return fmt.Errorf("CLIENTS_PROXY_URL and CLIENTS_DEAD_URL are not set: run scripts/test-clients.sh, which starts what these tests need")
	}
	b, err := os.ReadFile("../expected.json")
	if err != nil {
		return err
	}
	return json.Unmarshal(b, &want)
}

// twice runs a test and runs it again: a client must get the same, whether the
// backend answers or what the proxy remembers.
func twice(t *testing.T, test func(t *testing.T)) {
	t.Helper()
	for _, name := range []string{"first", "again"} {
		t.Run(name, func(t *testing.T) {
			ran.Add(1)
			test(t)
		})
	}
}

// newOpenAI is a client that does not retry, so that it hides no failure.
func newOpenAI(base string) openai.Client {
	return openai.NewClient(option.WithBaseURL(base+"/v1"), option.WithAPIKey("test-go"), option.WithMaxRetries(0))
}

func newOllama(t *testing.T, base string) *ollama.Client {
	t.Helper()
	u, err := url.Parse(base)
	if err != nil {
		t.Fatal(err)
	}
	return ollama.NewClient(u, http.DefaultClient)
}

// stats are the simulated backend's own counters.
type stats struct {
	Requests  map[string]int64
	Cancelled int64
}

func readStats(t *testing.T) stats {
	t.Helper()
	var s stats
	simulator(t, http.MethodGet, "/__sim/stats", &s)
	return s
}

// simulator asks the backend for what no client knows, through the proxy.
func simulator(t *testing.T, method, path string, into any) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, proxyURL+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		t.Fatalf("%s %s: %s", method, path, res.Status)
	}
	if into == nil {
		return
	}
	if err := json.NewDecoder(res.Body).Decode(into); err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
}

// waitFor polls the backend's counters until they are as they should be.
func waitFor(t *testing.T, what string, ok func(stats) bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		s := readStats(t)
		if ok(s) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: not after 10 s; the backend counts %+v", what, s)
		}
	}
}

// expectCancel waits until the backend has noticed that a client left.
func expectCancel(t *testing.T, before stats) {
	t.Helper()
	waitFor(t, "the backend learns that the client left", func(s stats) bool { return s.Cancelled > before.Cancelled })
}

// marker is the nth of twenty texts that an answer must repeat.
func marker(n int) string { return fmt.Sprintf("[[p:%016x]]", 0xfeed0000+n) }

// expectMarker checks that an answer repeats its own marker and nobody else's.
func expectMarker(t *testing.T, text, own string) {
	t.Helper()
	if !strings.HasPrefix(text, own) || strings.Count(text, "[[p:") != 1 {
		t.Errorf("answer is %q, should begin with %s and have no other marker", text, own)
	}
}

func expectText(t *testing.T, what, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("%s is %q, want %q", what, got, want)
	}
}

// cached tells that the proxy answers from its cache. An answer that was first
// asked for as a whole may then be streamed in fewer pieces: it is a document
// that was turned into a stream.
var cached = os.Getenv("CLIENTS_CACHE") == "all"

func expectCount(t *testing.T, what string, got, want int64) {
	t.Helper()
	if cached && got >= 1 && got <= want {
		return
	}
	if got != want {
		t.Errorf("%s: %d, want %d", what, got, want)
	}
}
