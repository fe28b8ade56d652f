package simllm

import (
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
)

const corsHeaders = "Authorization,Content-Type,User-Agent,Accept,X-Requested-With,Openai-Beta,X-Stainless-Arch,X-Stainless-Async,X-Stainless-Custom-Poll-Interval,X-Stainless-Helper-Method,X-Stainless-Lang,X-Stainless-Os,X-Stainless-Package-Version,X-Stainless-Poll-Helper,X-Stainless-Retry-Count,X-Stainless-Runtime,X-Stainless-Runtime-Version,X-Stainless-Timeout"

// turnAway answers 403 as Ollama does: to a page from elsewhere, and on
// loopback to a foreign Host, which is how a rebound DNS name shows.
func (x *exchange) turnAway() bool {
	host := x.r.Host
	origin := x.r.Header.Get("Origin")
	if origin == "http://"+host || origin == "https://"+host {
		origin = ""
	}
	if (origin == "" || localOrigin(origin)) && (!onLoopback(x.r) || localHost(host)) {
		return false
	}
	x.w.WriteHeader(http.StatusForbidden)
	return true
}

// preflight answers OPTIONS and marks the answers that a page may read.
func (x *exchange) preflight(to *route) bool {
	h := x.w.Header()
	origin := x.r.Header.Get("Origin")
	options := x.r.Method == http.MethodOptions
	if origin != "" {
		h.Set("Access-Control-Allow-Origin", origin)
		h.Add("Vary", "Origin")
	}
	if !options {
		return false
	}
	if origin != "" {
		h.Set("Access-Control-Allow-Headers", corsHeaders)
		h.Set("Access-Control-Allow-Methods", "GET,POST,PUT,PATCH,DELETE,HEAD,OPTIONS")
		h.Set("Access-Control-Max-Age", "43200")
		h.Add("Vary", "Access-Control-Request-Method")
		h.Add("Vary", "Access-Control-Request-Headers")
	}
	if to != nil {
		h.Set("Allow", to.allow())
	}
	x.w.WriteHeader(http.StatusNoContent)
	return true
}

func onLoopback(r *http.Request) bool {
	addr, _ := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	if addr == nil {
		return false
	}
	at, err := netip.ParseAddrPort(addr.String())
	return err == nil && at.Addr().Unmap().IsLoopback()
}

func localHost(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.ToLower(strings.Trim(host, "[]"))
	if ip, err := netip.ParseAddr(host); err == nil {
		return ip.IsLoopback() || ip.IsPrivate() || ip.IsUnspecified()
	}
	for _, suffix := range []string{".localhost", ".local", ".internal"} {
		if strings.HasSuffix(host, suffix) {
			return true
		}
	}
	return host == "" || host == "localhost"
}

func localOrigin(origin string) bool {
	u, err := url.Parse(origin)
	if err != nil {
		return false
	}
	switch u.Scheme {
	case "http", "https":
		name := u.Hostname()
		return name == "localhost" || name == "127.0.0.1" || name == "0.0.0.0"
	case "app", "file", "tauri", "vscode-webview", "vscode-file":
		return true
	}
	return false
}
