package monitor

import (
	"bufio"
	"bytes"
	"encoding/json"
	"path"
	"runtime/pprof"
	"strconv"
	"strings"
)

// The labels of goroutines: what they are for, and the place of their exchange.
const (
	taskLabel = "task"
	slotLabel = "slot"
)

// group is goroutines that share stack and labels.
type group struct {
	count  int
	labels map[string]string
	frames []string // innermost first, "function file:line"
	root   string   // the function that the goroutine began with
}

// goroutines lists all goroutines. It stops them for a moment.
func goroutines() []group { return profile("goroutine") }

// profile reads a goroutine profile, or returns nil if this build has none of
// that name.
func profile(name string) []group {
	p := pprof.Lookup(name)
	if p == nil {
		return nil
	}
	var buf bytes.Buffer
	if p.WriteTo(&buf, 1) != nil { // never: a buffer takes everything
		return nil
	}
	return parseProfile(buf.Bytes())
}

// parseProfile reads the text form: a line of count and addresses, maybe one of
// labels, one for each frame, and an empty one.
func parseProfile(text []byte) (groups []group) {
	var g *group
	lines := bufio.NewScanner(bytes.NewReader(text))
	lines.Buffer(nil, len(text)+1)
	for lines.Scan() {
		line := lines.Text()
		switch {
		case strings.HasPrefix(line, "# labels: "):
			if g != nil {
				// Labels that are no JSON are none of ours.
				_ = json.Unmarshal([]byte(line[len("# labels: "):]), &g.labels)
			}
		case strings.HasPrefix(line, "#\t"):
			if g != nil {
				g.frame(line)
			}
		default:
			count, _, ok := strings.Cut(line, " @ ")
			if n, err := strconv.Atoi(count); ok && err == nil {
				groups = append(groups, group{count: n})
				g = &groups[len(groups)-1]
			}
		}
	}
	return groups
}

// maxFrames is how deep a stack is kept.
const maxFrames = 32

// frame takes a line "#\t0xADDRESS\tFUNCTION+0xOFFSET\t\tFILE:LINE".
func (g *group) frame(line string) {
	fields := strings.Fields(line)
	if len(fields) < 4 {
		return
	}
	function, _, _ := cutLast(fields[2], "+0x")
	if function == "runtime.goexit" {
		return
	}
	g.root = function
	if len(g.frames) < maxFrames {
		g.frames = append(g.frames, function+" "+path.Base(strings.Join(fields[3:], " ")))
	}
}

func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}

// place is the innermost frame of our own code, as far as there is one.
func (g *group) place() string {
	for _, f := range g.frames {
		if !strings.HasPrefix(f, "runtime.") && !strings.HasPrefix(f, "internal/") && !strings.HasPrefix(f, "sync.") {
			return f
		}
	}
	return g.root
}
