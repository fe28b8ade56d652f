package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// curl does what the documentation's examples ask of curl, so that they can be
// run where there is none. It is reached by starting the tests' own binary under
// that name.
func curl(args []string, stdout, stderr io.Writer) int {
	method, url, body, show := "", "", "", false
	header := http.Header{}
	for i := 0; i < len(args); i++ {
		value := func() string {
			if i++; i < len(args) {
				return args[i]
			}
			return ""
		}
		switch a := args[i]; a {
		case "-N", "-s", "-sN", "-sg":
		case "-i":
			show = true
		case "-X":
			method = value()
		case "-d":
			body = value()
		case "-H":
			name, v, _ := strings.Cut(value(), ":")
			header.Set(name, strings.TrimSpace(v))
		default:
			if strings.HasPrefix(a, "-") || url != "" {
				fmt.Fprintf(stderr, "curl: %q is not understood here\n", a)
				return 2
			}
			url = a
		}
	}
	if method == "" {
		method = http.MethodGet
		if body != "" {
			method = http.MethodPost
		}
	}
	if !strings.Contains(url, "://") {
		url = "http://" + url
	}
	req, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		fmt.Fprintln(stderr, "curl:", err)
		return 3
	}
	req.Header = header
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		fmt.Fprintln(stderr, "curl:", err)
		return 7
	}
	defer res.Body.Close()
	if show {
		fmt.Fprintf(stdout, "%s %s\r\n", res.Proto, res.Status)
		res.Header.Write(stdout)
		fmt.Fprint(stdout, "\r\n")
	}
	if _, err := io.Copy(stdout, res.Body); err != nil {
		fmt.Fprintln(stderr, "curl:", err)
		return 18
	}
	return 0
}

// pathWithCurl returns a PATH on which curl is the one above.
func pathWithCurl(t *testing.T) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.Symlink(self, filepath.Join(dir, "curl")); err != nil {
		t.Fatal(err)
	}
	return "PATH=" + dir + string(os.PathListSeparator) + os.Getenv("PATH")
}
