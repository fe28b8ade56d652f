// Compare measures proxies against each other: it starts the simulator and the
// proxies, runs the same scenarios against each in interleaved rounds (A B C,
// B C A, …), so that a slow spell of the machine falls on all, and prints
// tables of medians and of ratios, with what vega-proxy is held to. It stops
// whatever it started. See ../README.md.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/vega-proxy/vega-proxy/bench/internal/proc"
)

// bench is what all runs share.
type bench struct {
	bin     string // folder of llmsim, llmload and goproxy
	vega    string // vega-proxy's binary
	dir     string // folder for what is not kept
	out     string // folder for results
	rounds  int
	foreign float64 // share of the machine above which a run is repeated
	sim     simulator
}

// simulator is the backend behind all proxies.
type simulator struct {
	addr, url string
	*process
}

func main() {
	log.SetFlags(log.Ltime)
	runtime.LockOSThread() // see startProcess
	if err := measure(); err != nil {
		log.Fatal(err)
	}
}

func measure() (err error) {
	var b bench
	names := flag.String("scenarios", "verify,S1,S3,S4,S5,S6,S7", "comma-separated `names`; S2 (cache hits) is there too")
	proxies := flag.String("proxies", "direct,nginx,goproxy,vega", "comma-separated `names`; goproxy-again shows what equals differ by")
	flag.IntVar(&b.rounds, "rounds", 9, "rounds; a 95 % interval needs 6")
	flag.StringVar(&b.bin, "bin", "bin", "`folder` of llmsim, llmload and goproxy")
	flag.StringVar(&b.vega, "vega", "bin/vega-proxy", "`path` of vega-proxy")
	flag.StringVar(&b.out, "o", "out", "`folder` for the tables and, as JSON, all reports")
	flag.Float64Var(&b.foreign, "max-foreign", 0.15, "repeat a run once if other programs used more than this `share` of the machine meanwhile")
	limit := flag.Duration("timeout", time.Hour, "give up after this time")
	flag.Parse()
	asked := strings.Split(*proxies, ",")
	if err := b.check(*names, asked); err != nil {
		return err
	}

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, *limit)
	defer cancel()
	if b.dir, err = os.MkdirTemp("", "vega-bench"); err != nil {
		return err
	}
	defer os.RemoveAll(b.dir)
	if err := os.Chmod(b.dir, 0o755); err != nil { // see settings
		return err
	}
	if err := b.startSimulator(ctx); err != nil {
		return err
	}
	defer b.sim.stop()

	started := time.Now().UTC()
	file := filepath.Join(b.out, started.Format("20060102T150405Z"))
	tables, err := os.Create(file + ".md")
	if err != nil {
		return err
	}
	defer tables.Close()
	w := io.MultiWriter(os.Stdout, tables)
	fmt.Fprintf(w, "## vega-proxy beside other proxies, %s\n\n%s, %d cores. %s\n",
		started.Format(time.DateTime), runtime.Version(), runtime.NumCPU(), intervals(b.rounds))

	var all []run
	defer func() { err = errors.Join(err, writeResults(file+".json", started, all)) }()
	var bounds strings.Builder
	for name := range strings.SplitSeq(*names, ",") {
		s, rounds, set := scenarios[name], b.rounds, asked
		if s.once {
			rounds = 1
		}
		if s.proxies != nil {
			set = s.proxies
		}
		rs, err := b.runScenario(ctx, name, s, rounds, set)
		all = append(all, rs...)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		s.printTable(w, name, rounds, set, rs)
		s.printBounds(&bounds, name, rounds, rs)
	}
	fmt.Fprint(w, boundsHead, bounds.String())
	log.Printf("tables in %s.md, all reports in %s.json", file, file)
	return nil
}

// check finds what would fail later, and makes paths independent of the
// folder that a process starts in.
func (b *bench) check(names string, proxies []string) (err error) {
	for name := range strings.SplitSeq(names, ",") {
		if _, ok := scenarios[name]; !ok {
			return fmt.Errorf("no scenario %q", name)
		}
	}
	for _, name := range proxies {
		if _, ok := kinds[name]; !ok {
			return fmt.Errorf("no proxy %q", name)
		}
	}
	if b.rounds < 1 {
		return fmt.Errorf("-rounds %d: at least one is needed", b.rounds)
	}
	for _, p := range []*string{&b.bin, &b.vega, &b.out} {
		if *p, err = filepath.Abs(*p); err != nil {
			return err
		}
	}
	return os.MkdirAll(b.out, 0o755)
}

func (b *bench) startSimulator(ctx context.Context) (err error) {
	if b.sim.addr, err = freeAddr(); err != nil {
		return err
	}
	b.sim.url = "http://" + b.sim.addr
	dir := filepath.Join(b.dir, "llmsim")
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	if b.sim.process, err = startProcess(dir, filepath.Join(b.bin, "llmsim"), "-listen", b.sim.addr); err != nil {
		return err
	}
	if err := b.sim.awaitReady(ctx, b.sim.url+"/health"); err != nil {
		b.sim.stop()
		return err
	}
	return nil
}

// runScenario starts the proxies, which run side by side, and measures one at a
// time. Those of other scenarios do not run: an idle proxy works too.
func (b bench) runScenario(ctx context.Context, name string, s scenario, rounds int, set []string) (rs results, err error) {
	proxies := make([]*proxy, len(set))
	defer func() {
		for _, p := range proxies {
			if p != nil {
				p.stop()
			}
		}
	}()
	for i, kind := range set {
		if proxies[i], err = b.startProxy(ctx, kind); err != nil {
			return nil, err
		}
	}
	for round := range rounds {
		for turn := range proxies {
			i := (turn + round) % len(proxies)
			r, err := b.bestOfTwo(ctx, s, &proxies[i], name, round)
			if err != nil {
				return rs, fmt.Errorf("%s, round %d: %w", set[i], round, err)
			}
			rs = append(rs, r)
		}
	}
	return rs, nil
}

// bestOfTwo makes a run, and once more if other programs disturbed it.
func (b bench) bestOfTwo(ctx context.Context, s scenario, p **proxy, name string, round int) (best run, err error) {
	for attempt := range 2 {
		if s.fresh {
			(*p).stop()
			fresh, err := b.startProxy(ctx, (*p).name)
			if err != nil {
				return best, err
			}
			*p = fresh
		}
		r, err := b.load(ctx, s, *p, name, round)
		if err != nil {
			return best, err
		}
		if attempt == 0 || r.foreign() < best.foreign() {
			best = r
		}
		if best.foreign() <= b.foreign {
			break
		}
	}
	return best, nil
}

// load runs llmload, which bounds its own time.
func (b bench) load(ctx context.Context, s scenario, p *proxy, name string, round int) (run, error) {
	awaitQuiet(2 * time.Second)
	args := append(p.loadArgs(), "-sim", b.sim.url)
	cmd := exec.CommandContext(ctx, filepath.Join(b.bin, "llmload"), append(args, s.args...)...)
	cmd.Stderr = os.Stderr
	report, err := cmd.Output()
	if err != nil {
		return run{}, errors.Join(err, context.Cause(ctx))
	}
	return newRun(name, p.name, round, report)
}

// awaitQuiet waits until hardly anything runs on the machine, or for limit:
// what ran before may still be ending.
func awaitQuiet(limit time.Duration) {
	const sample = 200 * time.Millisecond
	for end := time.Now().Add(limit); time.Now().Before(end); {
		before := proc.Busy()
		time.Sleep(sample)
		if proc.Busy()-before <= sample*time.Duration(runtime.NumCPU())/10 {
			return
		}
	}
}

func writeResults(file string, started time.Time, runs []run) error {
	b, err := json.MarshalIndent(map[string]any{
		"started": started, "go": runtime.Version(), "cores": runtime.NumCPU(), "runs": runs,
	}, "", " ")
	if err != nil {
		return err
	}
	return os.WriteFile(file, append(b, '\n'), 0o644)
}
