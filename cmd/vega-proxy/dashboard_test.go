package main

import (
	"bufio"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/vega-proxy/vega-proxy/internal/resilience"
	"github.com/vega-proxy/vega-proxy/internal/simllm"
)

// get asks the admin API and reads the answer.
func (p *process) get(c *http.Client, path string, into any) {
	p.t.Helper()
	r := do(p.t, c, http.MethodGet, p.admin+path, "", "X-API-Key", p.key())
	r.want(p.t, http.StatusOK, "")
	if err := json.Unmarshal([]byte(r.body), into); err != nil {
		p.t.Fatalf("%s: %v\n%s", path, err, r.body)
	}
}

// live opens the events that the dashboard lives on.
func (p *process) live(c *http.Client) *bufio.Reader {
	p.t.Helper()
	resp, err := send(p.t.Context(), c, http.MethodGet, p.admin+"/admin/live", "", "X-API-Key", p.key())
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { resp.Body.Close() })
	return bufio.NewReader(resp.Body)
}

// event waits for the next event of that name.
func event(t *testing.T, events *bufio.Reader, name string, into any) {
	t.Helper()
	for {
		line, err := events.ReadString('\n')
		if err != nil {
			t.Fatalf("no event %s: %v", name, err)
		}
		if line != "event: "+name+"\n" {
			continue
		}
		data, err := events.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal([]byte(strings.TrimPrefix(data, "data: ")), into); err != nil {
			t.Fatalf("%s: %v", data, err)
		}
		return
	}
}

// TestLive sees a stream come, its buffer fill, and the stream go.
func TestLive(t *testing.T) {
	t.Parallel()
	_, backend := simulate(t, simllm.Config{Tokens: 1 << 20, Delay: time.Millisecond})
	p := serve(t, upstreamAt(backend))
	c := newClient(t)
	events := p.live(c)
	var now struct {
		Total   int
		Streams []struct {
			ID    string
			Model string
			Size  int `json:"chunks_produced"`
		}
		Recent []struct {
			EndedBy string `json:"ended_by"`
		}
	}
	event(t, events, "streams", &now)
	openStream(t, c, p.proxy)
	began := time.Now()
	for now.Total == 0 {
		event(t, events, "streams", &now)
	}
	if took := time.Since(began); took > time.Second || now.Streams[0].Model != "demo" {
		t.Errorf("after %v: %+v", took, now)
	}
	for size := now.Streams[0].Size; now.Streams[0].Size <= size; {
		event(t, events, "streams", &now)
	}
	do(t, c, http.MethodPost, p.admin+"/admin/performance/streams/"+now.Streams[0].ID+"/cancel", "", "X-API-Key", p.key()).want(t, http.StatusOK, "")
	for now.Total > 0 {
		event(t, events, "streams", &now)
	}
	if len(now.Recent) != 1 || now.Recent[0].EndedBy != "admin" {
		t.Errorf("ended: %+v", now.Recent)
	}
}

// TestTransitions has what the breakers' timelines are drawn from.
func TestTransitions(t *testing.T) {
	t.Parallel()
	p := serve(t, "breaker: {fail_threshold: 1}\nupstreams: [{name: dead, url: 'http://127.0.0.1:1'}]\n")
	c := newClient(t)
	list := func() (found []map[string]any) {
		p.get(c, "/admin/performance/circuit-breakers/transitions", &struct{ Transitions *[]map[string]any }{&found})
		return found
	}
	if found := list(); found == nil || len(found) > 0 {
		t.Errorf("at first: %v", found)
	}
	do(t, c, http.MethodPost, p.proxy+chatPath, chat).want(t, http.StatusBadGateway, "upstream_unreachable")
	p.breaker(c, "dead", "reset")
	got := list()
	if len(got) != 2 || got[0]["name"] != "dead" || got[0]["from"] != "closed" || got[0]["to"] != "open" || got[0]["open_for_seconds"].(float64) < 1 ||
		got[1]["from"] != "open" || got[1]["to"] != "closed" || got[1]["cause"] != "reset" {
		t.Errorf("got %v", got)
	}
}

func TestTimelineIsBounded(t *testing.T) {
	var l timeline
	for range 3 * mostChanges / 2 {
		l.note(resilience.Transition{Name: "a", To: resilience.Open})
	}
	list := l.list()
	if len(list) != mostChanges {
		t.Errorf("%d are kept", len(list))
	}
	for i := range list[1:] {
		if list[i+1].At.Before(list[i].At) {
			t.Fatalf("%v comes before %v", list[i].At, list[i+1].At)
		}
	}
}

// TestBriefConversations has what a list of them shows, and no more.
func TestBriefConversations(t *testing.T) {
	t.Parallel()
	_, backend := simulate(t, simllm.Config{Tokens: 300})
	p := serve(t, upstreamAt(backend)+quick)
	c := newClient(t)
	long := strings.Repeat("é", 500)
	do(t, c, http.MethodPost, p.proxy+chatPath, strings.Replace(chat, "Tell me about the sea.", long, 1)).want(t, http.StatusOK, "")
	p.flush(c)
	var found struct {
		Conversations []struct {
			Prompt, Answer string
			Messages       json.RawMessage
		}
	}
	p.get(c, "/admin/conversations?brief=true", &found)
	if len(found.Conversations) != 1 || found.Conversations[0].Prompt != long[:2*briefText] || len(found.Conversations[0].Answer) != briefText ||
		string(found.Conversations[0].Messages) != "null" {
		t.Errorf("got %+v", found)
	}
	p.get(c, "/admin/conversations?brief=false", &found)
	if found.Conversations[0].Prompt != long {
		t.Errorf("got %+v", found)
	}
	do(t, c, http.MethodGet, p.admin+"/admin/conversations?brief=1", "", "X-API-Key", p.key()).want(t, http.StatusBadRequest, "")
}

// TestTiming has the parts of an exchange in their order, and nothing of one that
// is not known.
func TestTiming(t *testing.T) {
	t.Parallel()
	_, backend := simulate(t, simllm.Config{Tokens: 3, TTFT: 20 * time.Millisecond, Delay: 10 * time.Millisecond})
	p := serve(t, upstreamAt(backend)+quick)
	c := newClient(t)
	do(t, c, http.MethodPost, p.proxy+chatPath, chatLive).want(t, http.StatusOK, "")
	p.flush(c)
	var found struct{ Conversations []struct{ ID string } }
	p.get(c, "/admin/conversations", &found)
	var got struct{ Timing *timing }
	p.get(c, "/admin/conversations/"+found.Conversations[0].ID+"/timing", &got)
	switch g := got.Timing; {
	case g == nil || g.Head == nil || g.FirstToken == nil:
		t.Errorf("got %+v", g)
	case g.Received <= 0 || g.Connect <= 0 || g.Queued != 0 || g.Attempts != 1 || *g.Head < g.Received+g.Connect ||
		*g.FirstToken < 20 || *g.FirstToken < *g.Head || g.End < *g.FirstToken+10:
		t.Errorf("got %+v, head %v, first token %v", *g, *g.Head, *g.FirstToken)
	}
	p.get(c, "/admin/conversations/019a4411-0000-7000-8000-000000000001/timing", &got)
	if got.Timing != nil {
		t.Errorf("of nothing: %+v", *got.Timing)
	}
}
