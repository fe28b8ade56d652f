package admin

import (
	"bytes"
	"compress/gzip"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"
)

// maxPage is how much the whole dashboard may take on its way.
const maxPage = 60 << 10

func TestDashboardIsSmall(t *testing.T) {
	total := 0
	for _, file := range dashboardFiles() {
		total += len(file.packed)
	}
	if total > maxPage {
		t.Errorf("the dashboard takes %d bytes, packed; at most %d", total, maxPage)
	}
}

func TestDashboardNeedsNoKeyAndTellsNothing(t *testing.T) {
	f := newFixture(t, allOn(), allParts())
	w := f.ask("GET", "/", "", noKey)
	if got := w.Header().Get("Content-Type"); w.Code != 200 || got != "text/html; charset=utf-8" {
		t.Fatalf("got %d %s", w.Code, got)
	}
	for name, want := range map[string]string{
		"Content-Security-Policy":      pagePolicy,
		"Cross-Origin-Opener-Policy":   "same-origin",
		"Cross-Origin-Resource-Policy": "same-origin",
		"Referrer-Policy":              "no-referrer",
		"X-Content-Type-Options":       "nosniff",
		"X-Frame-Options":              "DENY",
	} {
		if got := w.Header().Get(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	for _, word := range []string{"unsafe", "http:", "*", "data:"} {
		if strings.Contains(pagePolicy, word) {
			t.Errorf("the policy allows %s", word)
		}
	}
	if strings.Contains(w.Body.String(), testKey) {
		t.Error("the page holds the key")
	}
}

// Everything that the page and its modules name is there, from here alone.
func TestDashboardIsWhole(t *testing.T) {
	f := newFixture(t, allOn(), allParts())
	seen := map[string]bool{}
	named := regexp.MustCompile(`(?:src|href)="([^"#][^"]*)"|from "([^"]+)"`)
	var visit func(path string)
	visit = func(path string) {
		if seen[path] {
			return
		}
		seen[path] = true
		w := f.ask("GET", path, "", noKey)
		if w.Code != 200 || w.Header().Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: got %d %v", path, w.Code, w.Header())
			return
		}
		for _, m := range named.FindAllStringSubmatch(w.Body.String(), -1) {
			next := strings.Replace(m[1]+m[2], "./", "/assets/", 1)
			if !strings.HasPrefix(next, "/") || strings.HasPrefix(next, "//") {
				t.Errorf("%s names %s", path, next)
				continue
			}
			visit(next)
		}
	}
	visit("/")
	for name := range dashboardFiles() {
		if !seen["/assets/"+name] && name != "index.html" && name != "uPlot.LICENSE" {
			t.Errorf("%s is not used", name)
		}
	}
	if w := f.ask("GET", "/assets/..%2findex.html", "", noKey); w.Code != 404 {
		t.Errorf("got %d", w.Code)
	}
}

// No inline script, style or handler: the policy would refuse them.
func TestDashboardKeepsItsPolicy(t *testing.T) {
	page := string(dashboardFiles()["index.html"].body)
	for _, wrong := range []string{`<script>`, `<style`, ` style="`, ` onclick=`, ` onload=`, `javascript:`} {
		if strings.Contains(page, wrong) {
			t.Errorf("the page has %s", wrong)
		}
	}
	for name, file := range dashboardFiles() {
		for _, sink := range []string{"innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function", "DOMParser", "localStorage", "document.cookie"} {
			if bytes.Contains(file.body, []byte(sink)) {
				t.Errorf("%s has %s", name, sink)
			}
		}
	}
}

func TestAssetsArePackedAndKept(t *testing.T) {
	f := newFixture(t, allOn(), allParts())
	plain := f.ask("GET", "/assets/app.js", "", noKey)
	packed := f.ask("GET", "/assets/app.js", "", noKey, header("Accept-Encoding", "br, gzip"))
	z, err := gzip.NewReader(packed.Body)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(z)
	if err != nil || !bytes.Equal(body, plain.Body.Bytes()) || plain.Header().Get("Content-Encoding") != "" {
		t.Errorf("%d bytes packed, %d plain, %v", len(body), plain.Body.Len(), err)
	}
	for _, w := range []interface{ Header() http.Header }{plain, packed} {
		if h := w.Header(); h.Get("Cache-Control") != "no-cache" || h.Get("Vary") != "Accept-Encoding" || h.Get("ETag") == "" {
			t.Errorf("got %v", h)
		}
	}
	again := f.ask("GET", "/assets/app.js", "", noKey, header("If-None-Match", plain.Header().Get("ETag")))
	if again.Code != http.StatusNotModified || again.Body.Len() > 0 {
		t.Errorf("got %d with %d bytes", again.Code, again.Body.Len())
	}
}
