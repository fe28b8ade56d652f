package doctor

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"time"

	"github.com/vega-proxy/vega-proxy/internal/config"
)

func checkPorts(f *facts) (results []Result) {
	for i, l := range listeners(f.cfg) {
		r := skipped("it was not tried in time")
		if p := f.ports[i]; p != nil {
			r = judgePort(p, f.proxy)
		}
		r.Subject = l.setting
		results = append(results, r)
	}
	return results
}

func judgePort(p *port, proxy *running) Result {
	const meaning = "the proxy does not start"
	switch {
	case p.err == nil:
		return ok(p.address + " is free")
	case errors.Is(p.err, syscall.EADDRINUSE) && proxy != nil && proxy.has(p.listener):
		return ok(p.address + " is the running proxy's")
	case errors.Is(p.err, syscall.EADDRINUSE) && proxy != nil && proxy.alive && p.setting == "admin.listen":
		return wrong(p.address+" is taken by a proxy with another data_dir or key", meaning, "end that proxy, or set another address")
	case errors.Is(p.err, syscall.EADDRINUSE):
		return wrong(p.address+" is taken by another process", meaning, fmt.Sprintf("end what uses the address (ss -ltnp shows it), or set another in %s", p.setting))
	case errors.Is(p.err, syscall.EACCES):
		return wrong("this user may not listen on "+p.address, meaning, "take a port from 1024 on, or give the program CAP_NET_BIND_SERVICE")
	case errors.Is(p.err, syscall.EADDRNOTAVAIL):
		return wrong(p.address+" is no address of this machine", meaning, fmt.Sprintf("write one of its own in %s, or 0.0.0.0 for all", p.setting))
	}
	return wrong(fmt.Sprintf("cannot listen on %s: %s", p.address, cause(p.err)), meaning, "correct "+p.setting)
}

// has tells whether an address is the running proxy's. Where its configuration has
// port 0, it is not known which port it has, and nothing speaks against it.
func (p *running) has(l listener) bool {
	theirs := p.listens[l.setting]
	return p.ours && (l.setting == "admin.listen" || theirs == l.address || strings.HasSuffix(theirs, ":0"))
}

func checkRunning(f *facts) []Result {
	switch p := f.proxy; {
	case p == nil:
		return []Result{warning("what is at admin.listen did not answer in time", "a proxy that runs there hangs", "see its log, or restart it")}
	case !p.ours:
		return []Result{skipped("no proxy runs with this data_dir and admin.listen")}
	case len(p.differs) > 0:
		return []Result{warning("the proxy that runs has another configuration: "+strings.Join(p.differs, ", "), "what is said here of the settings is not yet true of it",
			"let it take the new configuration, or restart it; and see that the doctor has the same file, environment and flags")}
	}
	return []Result{ok("the proxy that runs has this configuration")}
}

func checkExposed(f *facts) []Result {
	var results []Result
	for _, l := range listeners(f.cfg) {
		r := ok(l.address + " is reached from this machine only")
		if config.BeyondLoopback(l.address) {
			r = judgeExposed(f.cfg, l)
		}
		r.Subject = l.setting
		results = append(results, r)
	}
	return results
}

func judgeExposed(cfg *config.Config, l listener) Result {
	found := l.address + " is reached from other machines"
	switch {
	case l.setting == "metrics.listen":
		return ok(found + ", and serves metrics and probes only")
	case l.setting == "admin.listen":
		return warning(found+", without encryption", "the admin key and conversations can be read on the way", "listen on 127.0.0.1, or put something with TLS before it; for metrics alone there is metrics.listen")
	case len(cfg.ClientKeys) == 0:
		return warning(found+", and no client_keys are set", "whoever reaches it can use the models, and manage those of Ollama", "set client_keys, close paths with routes, or listen on 127.0.0.1")
	case cfg.TLS.CertFile == "":
		return warning(found+", without encryption", "client keys and prompts can be read on the way", "set tls, or listen on 127.0.0.1")
	}
	return ok(found + ", with client keys and TLS")
}

func checkCertificate(f *facts) []Result {
	t := f.cfg.TLS
	if t.CertFile == "" {
		return []Result{skipped("tls is not set")}
	}
	pair, err := tls.LoadX509KeyPair(t.CertFile, t.KeyFile)
	if err != nil {
		return []Result{wrong(fmt.Sprintf("tls: %v", err), "the proxy does not start", "correct both files")}
	}
	leaf, err := x509.ParseCertificate(pair.Certificate[0])
	if err != nil {
		return []Result{wrong(fmt.Sprintf("tls.cert_file: %v", err), "clients refuse it", "write a certificate into it")}
	}
	ends := leaf.NotAfter.UTC().Format(time.DateOnly)
	switch {
	case time.Now().After(leaf.NotAfter):
		return []Result{wrong("the proxy's certificate ended "+ends, "clients refuse it", "renew it and have the proxy reload")}
	case time.Until(leaf.NotAfter) < soon:
		return []Result{warning("the proxy's certificate ends "+ends, "clients refuse it from then on", "renew it and have the proxy reload")}
	}
	return []Result{ok("the proxy's certificate is valid until " + ends)}
}
