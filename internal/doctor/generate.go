package doctor

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// generated is how a few words of a model came.
type generated struct {
	model  string
	err    error
	status int
	text   string // of an answer that is no stream
	first  time.Duration
	total  time.Duration
	events int
	// widest is the longest time between two events.
	widest time.Duration
	ended  bool // with a finish reason
}

// words is how many tokens are asked for: enough to see a rhythm.
const words = 12

// apart is how far two events are apart where they were not sent as one block.
const apart = time.Millisecond

// generate asks the first candidate for a few words. OpenAI's chat is what all
// kinds of servers speak.
func (b *backend) generate(ctx context.Context) *generated {
	g := &generated{model: b.candidates()[0]}
	body, err := json.Marshal(map[string]any{
		"model": g.model, "stream": true, "max_tokens": words,
		"messages": []map[string]string{{"role": "user", "content": "Count from one to ten, in words."}},
	})
	if err != nil {
		g.err = err
		return g
	}
	req, err := b.request(ctx, http.MethodPost, b.base, "/v1/chat/completions", string(body))
	if err != nil {
		g.err = err
		return g
	}
	defer b.client.CloseIdleConnections()
	start := time.Now()
	defer func() { g.total = time.Since(start) }()
	res, err := b.client.Do(req)
	if err != nil {
		g.err = err
		return g
	}
	defer res.Body.Close()
	g.status = res.StatusCode
	if res.StatusCode != http.StatusOK || !strings.HasPrefix(res.Header.Get("Content-Type"), "text/event-stream") {
		text, _ := io.ReadAll(io.LimitReader(res.Body, 1<<10)) // what came of it says enough
		g.text = res.Header.Get("Content-Type") + " " + string(bytes.TrimSpace(text))
		return g
	}
	g.read(res.Body, start)
	return g
}

func (g *generated) read(r io.Reader, start time.Time) {
	var last time.Time
	lines := bufio.NewScanner(io.LimitReader(r, maxBody))
	lines.Buffer(nil, maxBody)
	for lines.Scan() {
		data, ok := bytes.CutPrefix(lines.Bytes(), []byte("data:"))
		if !ok {
			continue
		}
		now := time.Now()
		if g.events++; g.events == 1 {
			g.first = now.Sub(start)
		} else {
			g.widest = max(g.widest, now.Sub(last))
		}
		last = now
		g.ended = g.ended || bytes.Contains(data, []byte(`"finish_reason":"`)) || bytes.Contains(data, []byte(`"finish_reason": "`))
	}
	g.err = lines.Err()
}

// checkStream: words must come one by one.
func checkStream(b *backend, asked bool) Result {
	switch {
	case !asked:
		return skipped("no model was asked: add --generate to have one write a few words")
	case !b.usable():
		return skipped("there is no model to ask")
	case b.stream == nil:
		return slowModel(b.candidates()[0])
	}
	g := b.stream
	switch {
	case g.err != nil && g.events == 0 && g.status == 0 && g.total >= generation-time.Second:
		return slowModel(g.model)
	case g.err != nil:
		return wrong(fmt.Sprintf("%s: the stream broke off after %d events: %v", g.model, g.events, g.err),
			"answers are cut for clients, and the circuit breaker counts them as failures",
			"look into the backend's own log")
	case g.status != http.StatusOK:
		return wrong(fmt.Sprintf("%s: status %d to a short chat: %.200s", g.model, g.status, g.text),
			"clients get the same answer", "try another model; the answer's text and the backend's log say why")
	case g.events == 0:
		return wrong(fmt.Sprintf("%s: no events but %.100s", g.model, g.text),
			"a client that asks for a stream gets none", "turn streaming on in the backend, or in what stands before it")
	case g.events > 2 && g.widest < apart && g.total > 50*time.Millisecond:
		return wrong(fmt.Sprintf("%s: %d events came as one block after %s", g.model, g.events, short(g.first)),
			"clients see nothing until the answer is complete: something between here and the model holds it back",
			"turn buffering off in what stands before the model (nginx: proxy_buffering off)")
	case !g.ended:
		return warning(fmt.Sprintf("%s: %d events came, and none with a finish reason", g.model, g.events),
			"such answers count as broken: they are not cached, and open the circuit breaker",
			"see whether the backend, or what stands before it, cuts answers")
	}
	return ok(fmt.Sprintf("%s: %d events, the first after %s, one by one", g.model, g.events, short(g.first)))
}

func slowModel(name string) Result {
	return warning(fmt.Sprintf("%s: nothing came within %s", name, generation),
		"it is busy, or takes that long to load; clients wait up to first_byte_timeout", "try again; load the model beforehand, or take a smaller one")
}

// short is a duration as people say it.
func short(d time.Duration) string {
	switch {
	case d >= time.Second:
		return d.Round(100 * time.Millisecond).String()
	case d >= time.Millisecond:
		return d.Round(time.Millisecond).String()
	}
	return "less than 1ms"
}
