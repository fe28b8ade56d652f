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

	exchangeTask = "exchange" // and what exchanges start, and who had one before
	servingTask  = "proxy"
)

// group is goroutines that share stack and labels.
type group struct {
	count  int
	labels map[string]string
	frames []string // innermost first, "function file:line"
	root   string   // the function that the goroutine began with
	// entered tells that the function which was asked for is on the stack.
	entered bool
}

// goroutines lists all goroutines, and which are in the function entry. It stops
// them for a moment.
func goroutines(entry string) []group { return profile("goroutine", entry) }

// profile reads a goroutine profile, or returns nil if this build has none of
// that name.
func profile(name, entry string) []group {
	p := pprof.Lookup(name)
	if p == nil {
		return nil
	}
	var buf bytes.Buffer
	if p.WriteTo(&buf, 1) != nil { // never: a buffer takes everything
		return nil
	}
	return parseProfile(buf.Bytes(), entry)
}

// parseProfile reads the text form: a line of count and addresses, maybe one of
// labels, one for each frame, and an empty one.
func parseProfile(text []byte, entry string) (groups []group) {
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
				g.frame(line, entry)
			}
		default:
			count, _, ok := strings.Cut(line, " @ ")
			if n, err := strconv.Atoi(count); ok && err == nil {
				groups = append(groups, group{count: n, entered: entry == ""})
				g = &groups[len(groups)-1]
			}
		}
	}
	return groups
}

// maxFrames is how deep a stack is kept.
const maxFrames = 32

// frame takes a line "#\t0xADDRESS\tFUNCTION+0xOFFSET\t\tFILE:LINE".
func (g *group) frame(line, entry string) {
	fields := strings.Fields(line)
	if len(fields) < 4 {
		return
	}
	function, _, _ := cutLast(fields[2], "+0x")
	if function == "runtime.goexit" {
		return
	}
	g.root = function
	g.entered = g.entered || function == entry
	if len(g.frames) < maxFrames {
		g.frames = append(g.frames, function+" "+path.Base(strings.Join(fields[3:], " ")))
	}
}

// task is what the goroutine is for: its label, or else the function that it began
// with. An exchange's label says so of the one goroutine that is in the exchange.
func (g *group) task() string {
	switch task := g.labels[taskLabel]; {
	case task == "":
		return g.root
	case task == exchangeTask && !g.entered:
		return servingTask
	default:
		return task
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
