// Llmload loads an LLM endpoint, usually a proxy before llmsim, and reports
// what a client saw and what the proxy's process spent. See ../README.md.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"net/url"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"time"

	"github.com/vega-proxy/vega-proxy/bench/internal/hist"
	"github.com/vega-proxy/vega-proxy/bench/internal/proc"
)

type config struct {
	name, mode, api  string
	base             *url.URL
	sim              string
	target           proc.Target
	conns            int
	duration, warmup time.Duration
	rate             float64
	promptBytes      int
	hitRatio         float64
	pool             int
	headers          []string
	knobs            []string
	knobVia          string
	stamp            bool
	readRate         int
	cancelAfter      int
	cancels          int
}

// Result is the JSON report. Times are in microseconds, sizes in bytes.
type Result struct {
	Name     string        `json:"name"`
	Mode     string        `json:"mode"`
	Seconds  float64       `json:"seconds"`
	Requests int64         `json:"requests"` // or streams completed
	Errors   int64         `json:"errors"`
	Error    string        `json:"first_error,omitempty"`
	RPS      float64       `json:"rps"`
	Upstream int64         `json:"upstream_requests"` // that reached llmsim, warm-up included
	Foreign  float64       `json:"foreign_cpu_share"` // of the machine, used by what has no part in the run
	Latency  *hist.Summary `json:"latency,omitempty"`

	Tokens    int64         `json:"tokens,omitempty"`
	TPS       float64       `json:"tokens_per_s,omitempty"`
	TTFT      *hist.Summary `json:"ttft,omitempty"`
	Gap       *hist.Summary `json:"gap,omitempty"`
	Transit   *hist.Summary `json:"transit,omitempty"`
	Cancel    *hist.Summary `json:"cancel,omitempty"`
	Uncancel  int64         `json:"never_cancelled"`
	ReadBytes int64         `json:"client_bytes,omitempty"`
	SentBytes int64         `json:"upstream_bytes,omitempty"`

	CPUPerReq   float64 `json:"cpu_us_per_req"`
	CPUPerToken float64 `json:"cpu_us_per_token"`
	SysShare    float64 `json:"sys_share"`
	Cores       float64 `json:"cores"`
	RSSBefore   int64   `json:"rss_before"`
	RSSAfter    int64   `json:"rss_after"`
	RSSPeak     int64   `json:"rss_peak"`
	RSSPerConn  float64 `json:"rss_growth_per_conn"`
}

func main() {
	log.SetFlags(0)
	c, out := parseFlags()
	debug.SetGCPercent(400)
	run, ok := modes[c.mode]
	if !ok {
		log.Fatalf("no mode %q", c.mode)
	}
	// A last resort against a proxy that never answers.
	time.AfterFunc(c.warmup+c.duration+30*time.Second, func() { log.Fatalf("%s: gave up", c.name) })

	before, usage, self, busy, start := readSim(c.sim), c.target.Read(), proc.Self(), proc.Busy(), time.Now()
	rss := usage.RSS
	peak := c.target.Watch()
	r := run(c)
	r.RSSPeak = peak.Stop()
	r.Name, r.Mode, r.RSSBefore = c.name, c.mode, rss
	if r.RSSAfter == 0 {
		r.RSSAfter = c.target.RSS()
	}
	if c.target.PID > 0 {
		r.RSSPerConn = float64(r.RSSPeak-rss) / float64(c.conns)
	}
	after := readSim(c.sim)
	r.Upstream = after.Requests - before.Requests
	ours := c.target.Read().CPU - usage.CPU + proc.Self() - self + after.CPU - before.CPU
	wall := time.Since(start) * time.Duration(runtime.NumCPU())
	r.Foreign = max(0, float64(proc.Busy()-busy-ours)/float64(wall))

	fmt.Fprintln(os.Stderr, r.line())
	b, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		log.Fatal(err)
	}
	b = append(b, '\n')
	if out == "" || out == "-" {
		_, err = os.Stdout.Write(b)
	} else {
		err = os.WriteFile(out, b, 0o644)
	}
	if err != nil {
		log.Fatal(err)
	}
}

func parseFlags() (*config, string) {
	c := &config{}
	modeNames := "closed, open, stream, slow, cancel or verify"
	target := flag.String("url", "http://127.0.0.1:9900", "base `URL` of the proxy, with any path prefix")
	flag.StringVar(&c.name, "name", "", "label of the report")
	flag.StringVar(&c.mode, "mode", "closed", modeNames)
	flag.StringVar(&c.api, "api", "chat", "chat, completions, embeddings, ollama-chat or ollama-generate")
	flag.StringVar(&c.sim, "sim", "http://127.0.0.1:9900", "base `URL` of llmsim, for its counters; empty if there is none")
	flag.IntVar(&c.target.PID, "pid", 0, "process to measure")
	flag.BoolVar(&c.target.Tree, "pid-tree", false, "measure its descendants too")
	flag.IntVar(&c.conns, "c", 32, "connections, or concurrent streams; in open mode the most requests in flight")
	flag.DurationVar(&c.duration, "d", 5*time.Second, "time measured")
	flag.DurationVar(&c.warmup, "warmup", time.Second, "time before, not measured; streams start spread over it")
	flag.Float64Var(&c.rate, "rate", 500, "requests per second (open)")
	flag.IntVar(&c.promptBytes, "prompt-bytes", 1024, "length of the prompt")
	flag.Float64Var(&c.hitRatio, "hit-ratio", 0, "share of requests that repeat a prompt of the pool (closed, open)")
	flag.IntVar(&c.pool, "pool", 100, "prompts that are repeated, each sent once beforehand")
	flag.StringVar(&c.knobVia, "knob-via", "header", "how llmsim's knobs travel: header or model")
	flag.BoolVar(&c.stamp, "stamp", true, "have llmsim stamp tokens, to check their order and measure their transit (stream)")
	flag.IntVar(&c.readRate, "read-rate", 100_000, "bytes a second that each client reads (slow)")
	flag.IntVar(&c.cancelAfter, "cancel-after", 5, "tokens after which the client closes (cancel)")
	flag.IntVar(&c.cancels, "n", 20, "streams cancelled, one after another (cancel)")
	out := flag.String("json", "", "`file` for the report; standard output if empty")
	flag.Func("H", "`header: value` to send (repeatable)", func(s string) error {
		if !strings.Contains(s, ":") {
			return fmt.Errorf("no colon")
		}
		c.headers = append(c.headers, s)
		return nil
	})
	flag.Func("knob", "llmsim knob for every request, as `name=value` (repeatable)", func(s string) error {
		c.knobs = append(c.knobs, s)
		return nil
	})
	flag.Parse()
	u, err := url.Parse(*target)
	if err != nil || u.Host == "" {
		log.Fatalf("bad -url %q", *target)
	}
	c.base = u
	c.sim = strings.TrimSuffix(c.sim, "/")
	if c.name == "" {
		c.name = u.Host
	}
	return c, *out
}

var modes = map[string]func(*config) *Result{
	"closed": runClosed,
	"open":   runOpen,
	"stream": runStream,
	"slow":   runSlow,
	"cancel": runCancel,
	"verify": runVerify,
}

// spend fills in what the target used between two readings.
func (r *Result) spend(before, after proc.Usage) {
	us := float64(after.CPU-before.CPU) / 1e3
	if r.Requests > 0 {
		r.CPUPerReq = us / float64(r.Requests)
	}
	if r.Tokens > 0 {
		r.CPUPerToken = us / float64(r.Tokens)
	}
	if r.Seconds > 0 {
		r.Cores = us / 1e6 / r.Seconds
	}
	if d := after.User + after.Sys - before.User - before.Sys; d > 0 {
		r.SysShare = float64(after.Sys-before.Sys) / float64(d)
	}
}

// line is the one-line summary.
func (r *Result) line() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s:", r.Name, r.Mode)
	if r.Latency != nil {
		fmt.Fprintf(&b, " %.0f req/s, p50 %.0f p99 %.0f p99.9 %.0f us, cpu %.1f us/req (sys %.0f%%)",
			r.RPS, r.Latency.P50, r.Latency.P99, r.Latency.P999, r.CPUPerReq, 100*r.SysShare)
	}
	if r.TTFT != nil {
		fmt.Fprintf(&b, " ttft p50 %.0f p99 %.0f us,", r.TTFT.P50, r.TTFT.P99)
	}
	if r.Gap != nil {
		fmt.Fprintf(&b, " gap p50 %.0f p99 %.0f p99.9 %.0f us, %.0f tok/s, cpu %.2f us/tok",
			r.Gap.P50, r.Gap.P99, r.Gap.P999, r.TPS, r.CPUPerToken)
	}
	if r.Transit != nil {
		fmt.Fprintf(&b, ", transit p50 %.0f p99 %.0f us", r.Transit.P50, r.Transit.P99)
	}
	if r.Mode == "slow" {
		fmt.Fprintf(&b, " client read %d, upstream wrote %d bytes", r.ReadBytes, r.SentBytes)
	}
	if r.Cancel != nil {
		fmt.Fprintf(&b, " upstream told after p50 %.1f max %.1f ms", r.Cancel.P50/1e3, r.Cancel.Max/1e3)
	}
	if r.Uncancel > 0 {
		fmt.Fprintf(&b, ", %d never told", r.Uncancel)
	}
	fmt.Fprintf(&b, ", rss %.1f -> %.1f MB (%.1f KB/conn)", float64(r.RSSBefore)/1e6, float64(r.RSSPeak)/1e6, r.RSSPerConn/1e3)
	fmt.Fprintf(&b, ", %d upstream, foreign cpu %.0f%%", r.Upstream, 100*r.Foreign)
	if r.Errors > 0 {
		fmt.Fprintf(&b, ", %d ERRORS (%s)", r.Errors, r.Error)
	}
	return b.String()
}
