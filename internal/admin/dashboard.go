package admin

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"io/fs"
	"mime"
	"net/http"
	"path"
	"strconv"
	"strings"
	"sync"

	"github.com/go-chi/chi/v5"
)

// The dashboard: a page, its modules and its style, as they are in the folder. It
// holds no data, so it needs no key; what it shows it asks the API for, with the
// key that its user gives it.
//
//go:embed dashboard
var dashboardFolder embed.FS

// pagePolicy lets the page have what comes from this server, as files: no inline
// script or style, no other host, no form's target, no string that becomes markup.
const pagePolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"

func pageRoutes() []route {
	return []route{
		{http.MethodGet, "/", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Security-Policy", pagePolicy)
			w.Header().Set("Cross-Origin-Opener-Policy", "same-origin")
			dashboardFiles()["index.html"].serve(w, r)
		})},
		{http.MethodGet, "/assets/{name}", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			file, ok := dashboardFiles()[chi.URLParam(r, "name")]
			if !ok {
				notFound(w, r)
				return
			}
			file.serve(w, r)
		})},
	}
}

// asset is one file of the dashboard.
type asset struct {
	body, packed []byte // packed with gzip
	contentType  string
	etag         string
}

// dashboardFiles are all files by their name, packed once: when somebody asks for the
// first, since it would be a good part of a start's work.
var dashboardFiles = sync.OnceValue(func() map[string]*asset {
	all := map[string]*asset{}
	z := gzip.NewWriter(nil) // one for all: it takes the better part of a megabyte
	err := fs.WalkDir(dashboardFolder, "dashboard", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		body, err := dashboardFolder.ReadFile(name)
		if err != nil {
			return err
		}
		var packed bytes.Buffer
		z.Reset(&packed)
		z.Write(body) // to memory, which takes all
		z.Close()
		sum := sha256.Sum256(body)
		all[path.Base(name)] = &asset{body, packed.Bytes(), contentType(name), `"` + hex.EncodeToString(sum[:8]) + `"`}
		return nil
	})
	if err != nil {
		panic(err) // the files are in the program
	}
	return all
})

// contentType does not ask the system's tables, which differ.
func contentType(name string) string {
	switch path.Ext(name) {
	case ".html":
		return "text/html; charset=utf-8"
	case ".css":
		return "text/css; charset=utf-8"
	case ".js":
		return "text/javascript; charset=utf-8"
	case ".svg":
		return "image/svg+xml"
	}
	return mime.FormatMediaType("text/plain", map[string]string{"charset": "utf-8"})
}

func (a *asset) serve(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Cache-Control", "no-cache") // kept, but asked about each time
	h.Set("ETag", a.etag)
	h.Set("Vary", "Accept-Encoding")
	if r.Header.Get("If-None-Match") == a.etag {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	body := a.body
	if strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
		h.Set("Content-Encoding", "gzip")
		body = a.packed
	}
	h.Set("Content-Type", a.contentType)
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.Write(body) // an error means that the client left
}
