package admin

import (
	"io"
	"net/http"
	"net/http/pprof"
	runtimepprof "runtime/pprof"
	"time"
)

// pprofRoutes is mounted by hand: importing net/http/pprof registers it with
// http.DefaultServeMux too, which nothing here serves.
func pprofRoutes() []route {
	return []route{
		{http.MethodGet, "/debug/pprof/", http.HandlerFunc(pprof.Index)},
		{http.MethodGet, "/debug/pprof/cmdline", http.HandlerFunc(pprof.Cmdline)},
		{http.MethodGet, "/debug/pprof/profile", http.HandlerFunc(cpuProfile)},
		{http.MethodGet, "/debug/pprof/symbol", http.HandlerFunc(pprof.Symbol)},
		{http.MethodGet, "/debug/pprof/trace", http.HandlerFunc(pprof.Trace)},
		{http.MethodGet, "/debug/pprof/{profile}", http.HandlerFunc(namedProfile)},
	}
}

// profileWait is longer than the monitor's own profile of a late scheduler takes.
const profileWait = time.Second

// cpuProfile waits for that to end: a process has one at a time, and both are
// wanted when it is slow.
func cpuProfile(w http.ResponseWriter, r *http.Request) {
	for end := time.Now().Add(profileWait); runtimepprof.StartCPUProfile(io.Discard) != nil; {
		if time.Now().After(end) {
			refuse(w, &refusal{status: http.StatusServiceUnavailable, code: "profile_failed",
				message: "another CPU profile is being taken; try again when it has ended"})
			return
		}
		select {
		case <-time.After(profileWait / 20):
		case <-r.Context().Done():
			return
		}
	}
	runtimepprof.StopCPUProfile()
	pprof.Profile(w, r)
}

func namedProfile(w http.ResponseWriter, r *http.Request) {
	name := pathParam(r, "profile")
	if runtimepprof.Lookup(name) == nil {
		refuse(w, &refusal{status: http.StatusNotFound, code: "unknown_profile",
			message: "there is no such profile; GET /admin/debug/pprof/ lists them"})
		return
	}
	pprof.Handler(name).ServeHTTP(w, r)
}
