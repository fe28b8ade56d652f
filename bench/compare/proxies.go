package main

import (
	"context"
	"embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"text/template"
	"time"
)

//go:embed conf
var confFiles embed.FS

var confs = template.Must(template.ParseFS(confFiles, "conf/*"))

// A kind is how one of the proxies is started. A kind without a program is no
// proxy: the client asks the simulator itself.
type kind struct {
	program func(b bench) (string, error)
	conf    string // template of its file, which args name as {conf}
	args    func(s settings) []string
	tree    bool // the work is done by its children
}

// settings fill in a proxy's configuration and command line.
type settings struct {
	Listen, Admin string
	Upstream      string // host:port of the simulator
	Dir           string // its own folder
	Conf          string // the file made from its template
	Files         uint64 // files it may open
}

var kinds = map[string]kind{
	"direct":        {},
	"nginx":         {nginx, "nginx.conf", nginxArgs, true},
	"nginx-cache":   {nginx, "nginx-cache.conf", nginxArgs, true},
	"goproxy":       {goproxy, "", goproxyArgs, false},
	"goproxy-again": {goproxy, "", goproxyArgs, false}, // what the measurement itself varies by
	"vega":          {vega, "vega.yaml", vegaArgs, false},
	"vega-log":      {vega, "vega-log.yaml", vegaArgs, false},
	"vega-cache":    {vega, "vega-cache.yaml", vegaArgs, false},
	"vega-all":      {vega, "vega-all.yaml", vegaArgs, false},
}

func nginx(bench) (string, error) {
	if path, err := exec.LookPath("nginx"); err == nil {
		return path, nil
	}
	return exec.LookPath("/usr/sbin/nginx") // not on everybody's PATH in Debian
}

func nginxArgs(s settings) []string { return []string{"-p", s.Dir, "-e", "stderr", "-c", s.Conf} }

func goproxy(b bench) (string, error) { return filepath.Join(b.bin, "goproxy"), nil }

func goproxyArgs(s settings) []string {
	return []string{"-listen", s.Listen, "-upstream", "http://" + s.Upstream}
}

func vega(b bench) (string, error) { return b.vega, nil }

func vegaArgs(s settings) []string { return []string{"serve", "--config", s.Conf} }

// proxy is a started kind.
type proxy struct {
	name string
	url  string
	*process
	tree bool
}

// settle lets a proxy finish its start, so that its memory is read at rest.
const settle = 500 * time.Millisecond

// startProxy starts a proxy in a new folder and waits until it forwards.
func (b bench) startProxy(ctx context.Context, name string) (*proxy, error) {
	k := kinds[name]
	if k.program == nil {
		return &proxy{name: name, url: b.sim.url}, nil
	}
	s, err := b.settings(name)
	if err != nil {
		return nil, err
	}
	if k.conf != "" {
		if err := s.write(k.conf); err != nil {
			return nil, err
		}
	}
	program, err := k.program(b)
	if err != nil {
		return nil, err
	}
	p, err := startProcess(s.Dir, program, k.args(s)...)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	url := "http://" + s.Listen
	if err := p.awaitReady(ctx, url+"/health"); err != nil {
		p.stop()
		return nil, err
	}
	time.Sleep(settle)
	return &proxy{name: name, url: url, process: p, tree: k.tree}, nil
}

func (b bench) settings(name string) (s settings, err error) {
	s = settings{Upstream: b.sim.addr, Files: openFiles()}
	if s.Dir, err = os.MkdirTemp(b.dir, name+"-"); err != nil {
		return s, err
	}
	// nginx's workers are another user than its master.
	if err = os.Chmod(s.Dir, 0o755); err != nil {
		return s, err
	}
	s.Conf = filepath.Join(s.Dir, "conf")
	if s.Listen, err = freeAddr(); err != nil {
		return s, err
	}
	s.Admin, err = freeAddr()
	return s, err
}

func (s settings) write(conf string) error {
	f, err := os.Create(s.Conf)
	if err != nil {
		return err
	}
	defer f.Close()
	return confs.ExecuteTemplate(f, conf, s)
}

// openFiles is how many files a process may open at most; thousands of streams
// need twice as many.
func openFiles() uint64 {
	var l syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l); err != nil {
		return 1024
	}
	return min(l.Max, 1<<16)
}

func (p *proxy) stop() {
	if p.process != nil {
		p.process.stop()
	}
}

// loadArgs are llmload's flags that name the proxy.
func (p *proxy) loadArgs() []string {
	args := []string{"-name", p.name, "-url", p.url}
	if p.process != nil {
		args = append(args, "-pid", p.pid())
	}
	if p.tree {
		args = append(args, "-pid-tree")
	}
	return args
}
