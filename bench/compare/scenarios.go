package main

// scenario is a run of llmload that every proxy undergoes.
type scenario struct {
	title   string
	args    []string
	fresh   bool     // restart the proxy before each run, since memory is measured
	once    bool     // one round says it all
	proxies []string // instead of those asked for
	mark    string   // the proxy that ratios refer to
	figures []figure
}

// figure is a number taken of each run.
type figure struct {
	title  string
	key    string // in llmload's report
	scale  float64
	digits int

	ofProxy bool // says something of a proxy's process, and nothing of none
	added   bool // what the proxy adds to the direct run of the same round
	bound   *bound
}

// bound is what vega-proxy is held to: its figure, or that figure's ratio to
// the mark's in the same round.
type bound struct {
	ratio     bool
	must, aim float64
}

var (
	rps      = figure{title: "req/s", key: "rps", scale: 1}
	rssPeak  = figure{title: "peak RSS MB", key: "rss_peak", scale: 1e-6, digits: 1, ofProxy: true}
	p50      = figure{title: "p50 µs", key: "latency.p50_us", scale: 1}
	p99      = figure{title: "p99 µs", key: "latency.p99_us", scale: 1}
	cpuReq   = figure{title: "CPU µs/request", key: "cpu_us_per_req", scale: 1, digits: 1, ofProxy: true}
	cpuToken = figure{title: "CPU µs/token", key: "cpu_us_per_token", scale: 1, digits: 2, ofProxy: true}
	transit  = figure{title: "transit p50 µs", key: "transit.p50_us", scale: 1}
	transit9 = figure{title: "transit p99 µs", key: "transit.p99_us", scale: 1}
)

func (f figure) within(ratio bool, must, aim float64) figure {
	f.bound = &bound{ratio, must, aim}
	return f
}

var scenarios = map[string]scenario{
	"verify": {
		title:   "the same requests to the proxy and to the simulator; an error is an answer that differs",
		args:    []string{"-mode", "verify"},
		once:    true,
		figures: []figure{{title: "answers compared", key: "requests", scale: 1}},
	},
	"S1": {
		title:   "whole answers, ~1 KiB prompt and answer, all different, 32 connections",
		args:    []string{"-mode", "closed", "-c", "32", "-warmup", "500ms", "-d", "2500ms"},
		mark:    "goproxy",
		figures: []figure{cpuReq.within(true, 0.50, 0.35), rps, p50, p99, rssPeak},
	},
	"S2": {
		title:   "the same, repeated from 100 prompts: cache hits",
		args:    []string{"-mode", "closed", "-c", "32", "-warmup", "500ms", "-d", "2500ms", "-hit-ratio", "1"},
		proxies: []string{"direct", "nginx-cache", "vega-cache", "vega-all"},
		mark:    "nginx-cache",
		figures: []figure{cpuReq, rps, p50, p99, {title: "upstream requests", key: "upstream_requests", scale: 1}, rssPeak},
	},
	"S3": {
		title:   "50 streams of 200 tokens, one every 5 ms",
		args:    []string{"-mode", "stream", "-c", "50", "-d", "2500ms", "-knob", "tokens=200", "-knob", "delay=5ms"},
		mark:    "goproxy",
		figures: []figure{cpuToken.within(true, 0.95, 0.85), transit, transit9, {title: "added TTFT p50 µs", key: "ttft.p50_us", scale: 1, added: true}},
	},
	"S4": {
		title: "1,000 streams, one token every 100 ms, on a fresh proxy",
		args:  []string{"-mode", "stream", "-c", "1000", "-warmup", "2s", "-d", "4s", "-knob", "tokens=600", "-knob", "delay=100ms"},
		fresh: true,
		mark:  "goproxy",
		figures: []figure{
			figure{title: "RSS KB/stream", key: "rss_growth_per_conn", scale: 1e-3, digits: 1, ofProxy: true}.within(true, 0.70, 0.40),
			rssPeak, cpuToken, transit, transit9,
		},
	},
	"S5": {
		title: "one client reads 100 KB/s of a fast stream of 20 MB for 10 s, on a fresh proxy",
		args:  []string{"-mode", "slow", "-c", "1", "-d", "10s", "-knob", "tokens=20000", "-knob", "token_bytes=1000"},
		fresh: true,
		mark:  "goproxy",
		figures: []figure{
			figure{title: "RSS growth MB", key: "rss_growth_per_conn", scale: 1e-6, digits: 2, ofProxy: true}.within(false, 1, 0.5),
			{title: "upstream wrote MB", key: "upstream_bytes", scale: 1e-6, digits: 2},
			{title: "client read MB", key: "client_bytes", scale: 1e-6, digits: 2},
		},
	},
	"S6": {
		title: "the client closes after 5 tokens, 10 times",
		args:  []string{"-mode", "cancel", "-n", "10", "-knob", "tokens=2000", "-knob", "delay=20ms"},
		mark:  "goproxy",
		figures: []figure{
			figure{title: "upstream told p50 ms", key: "cancel.p50_us", scale: 1e-3, digits: 2}.within(false, 5, 1),
			figure{title: "slowest of 10 ms", key: "cancel.max_us", scale: 1e-3, digits: 2}.within(false, 5, 1),
		},
	},
	"S7": {
		title: "500 whole answers a second, open loop",
		args:  []string{"-mode", "open", "-rate", "500", "-c", "64", "-warmup", "500ms", "-d", "3s"},
		mark:  "goproxy",
		figures: []figure{
			figure{title: "added p50 µs", key: "latency.p50_us", scale: 1, added: true}.within(true, 0.60, 0.40),
			figure{title: "added p99 µs", key: "latency.p99_us", scale: 1, added: true}.within(true, 0.60, 0.40),
			p50, p99, cpuReq,
		},
	},
}
