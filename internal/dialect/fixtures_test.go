package dialect

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write testdata/golden.txt anew; read the difference before believing it")

// fixture is one recorded answer of a real server, with the request it was for.
type fixture struct {
	name    string // folder/case
	route   Route
	request []byte // the request's body
	status  int
	framing Framing
	body    []byte
	cut     bool // the connection ended before the body did
}

// fixtures reads all recordings under testdata.
func fixtures(tb testing.TB) []fixture {
	tb.Helper()
	names, err := filepath.Glob("testdata/*/*.http")
	if err != nil {
		tb.Fatal(err)
	}
	if len(names) < 250 {
		tb.Fatalf("%d recordings found, want all of them", len(names))
	}
	all := make([]fixture, 0, len(names))
	for _, name := range names {
		all = append(all, readFixture(tb, strings.TrimSuffix(name, ".http")))
	}
	return all
}

func readFixture(tb testing.TB, name string) fixture {
	tb.Helper()
	asked, err := os.ReadFile(name + ".request.json")
	if err != nil {
		tb.Fatal(err)
	}
	var request struct {
		Method, Path string
		Body         json.RawMessage
	}
	if err := json.Unmarshal(asked, &request); err != nil {
		tb.Fatalf("%s: %v", name, err)
	}
	body := []byte(request.Body)
	var sent string // a body that is a string was sent as it is
	if json.Unmarshal(request.Body, &sent) == nil {
		body = []byte(sent)
	}
	answer, err := os.ReadFile(name + ".http")
	if err != nil {
		tb.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(answer)), &http.Request{Method: request.Method})
	if err != nil {
		tb.Fatalf("%s: %v", name, err)
	}
	defer resp.Body.Close()
	f := fixture{
		name:    strings.TrimPrefix(filepath.ToSlash(name), "testdata/"),
		route:   RouteOf(request.Method, request.Path),
		request: body,
		status:  resp.StatusCode,
		framing: FramingOf(resp.Header.Get("Content-Type")),
	}
	f.body, err = io.ReadAll(resp.Body)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		tb.Fatalf("%s: %v", name, err)
	}
	f.cut = err != nil
	return f
}

// split cuts a body into events: SSE behind blank lines, NDJSON behind lines.
// What is left over at the end is an event without its end.
func split(f Framing, body []byte) (events [][]byte) {
	sep := []byte("\n")
	if f == FramingSSE {
		sep = []byte("\n\n")
		if bytes.Contains(body, []byte("\r\n\r\n")) {
			sep = []byte("\r\n\r\n")
		}
	}
	for len(body) > 0 {
		end := len(body)
		if i := bytes.Index(body, sep); i >= 0 {
			end = i + len(sep)
		}
		events = append(events, body[:end])
		body = body[end:]
	}
	return events
}

// meter reads the whole answer and returns the signals of each event.
func meter(f fixture) ([]Signal, Summary) {
	var m Meter
	m.Reset(f.route, f.framing)
	if f.framing != FramingSSE && f.framing != FramingNDJSON {
		return []Signal{m.Whole(f.body)}, m.Summary()
	}
	var signals []Signal
	for _, ev := range split(f.framing, f.body) {
		signals = append(signals, m.Event(ev))
	}
	return signals, m.Summary()
}

// spell writes signals as letters, and runs of equal ones as a factor.
func spell(signals []Signal) string {
	var b strings.Builder
	for i := 0; i < len(signals); {
		n := 1
		for i+n < len(signals) && signals[i+n] == signals[i] {
			n++
		}
		if b.Len() > 0 {
			b.WriteByte(' ')
		}
		if n > 1 {
			fmt.Fprintf(&b, "%d*", n)
		}
		b.WriteString(letters(signals[i]))
		i += n
	}
	return b.String()
}

func letters(s Signal) string {
	var text []byte
	for i, letter := range []byte("cTEu") {
		if s&(1<<i) != 0 {
			text = append(text, letter)
		}
	}
	if text == nil {
		return "-"
	}
	return string(text)
}

// describe is a recording's line in the golden file.
func describe(f fixture) string {
	if f.status >= 400 {
		return fmt.Sprintf("%s %d blame=%v", f.name, f.status, BlameOf(f.route.Dialect, f.status, f.body))
	}
	if f.route.Kind != KindGenerate && f.route.Kind != KindEmbed {
		return fmt.Sprintf("%s %d kind=%v", f.name, f.status, f.route.Kind)
	}
	signals, s := meter(f)
	line := fmt.Sprintf("%s %d %v complete=%v finish=%s model=%s content=%d", f.name, f.status, f.route.Op,
		s.Complete, s.FinishReason, s.Model, s.ContentEvents)
	if s.Usage.Known {
		line += fmt.Sprintf(" usage=%d+%d", s.Usage.Prompt, s.Usage.Completion)
	}
	if s.Usage.Cached > 0 {
		line += fmt.Sprintf(" cached=%d", s.Usage.Cached)
	}
	if s.DoneMarker {
		line += " [DONE]"
	}
	if f.cut {
		line += " cut"
	}
	if s.HasError {
		line += fmt.Sprintf(" error=%q", s.Error)
	}
	return line + " | " + spell(signals)
}

// TestGolden holds every recording against testdata/golden.txt. In its lines, an
// event is c for content, T for terminal, E for an error, u for usage, - for
// nothing of it; n*c stands for n such events on end.
func TestGolden(t *testing.T) {
	var got strings.Builder
	for _, f := range fixtures(t) {
		got.WriteString(describe(f) + "\n")
	}
	const file = "testdata/golden.txt"
	if *update {
		if err := os.WriteFile(file, []byte(got.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	gotLines, wantLines := strings.Split(got.String(), "\n"), strings.Split(string(want), "\n")
	for i := range max(len(gotLines), len(wantLines)) {
		var g, w string
		if i < len(gotLines) {
			g = gotLines[i]
		}
		if i < len(wantLines) {
			w = wantLines[i]
		}
		if g != w {
			t.Errorf("line %d:\n got %s\nwant %s", i+1, g, w)
		}
	}
}
