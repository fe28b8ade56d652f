package admin

import (
	"net/http"
	"net/http/pprof"
	runtimepprof "runtime/pprof"
)

// pprofRoutes is mounted by hand: importing net/http/pprof registers it with
// http.DefaultServeMux too, which nothing here serves.
func pprofRoutes() []route {
	return []route{
		{http.MethodGet, "/debug/pprof/", http.HandlerFunc(pprof.Index)},
		{http.MethodGet, "/debug/pprof/cmdline", http.HandlerFunc(pprof.Cmdline)},
		{http.MethodGet, "/debug/pprof/profile", http.HandlerFunc(pprof.Profile)},
		{http.MethodGet, "/debug/pprof/symbol", http.HandlerFunc(pprof.Symbol)},
		{http.MethodGet, "/debug/pprof/trace", http.HandlerFunc(pprof.Trace)},
		{http.MethodGet, "/debug/pprof/{profile}", http.HandlerFunc(namedProfile)},
	}
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
