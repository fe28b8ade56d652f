package config

import (
	"crypto/tls"
	"crypto/x509"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"path"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/vega-proxy/vega-proxy/internal/trace"
)

// ownHeaders belong to the connection or the framing, so no setting may give them.
var ownHeaders = []string{
	"Host", "Content-Length", "Connection", "Keep-Alive", "Proxy-Connection", "Proxy-Authenticate",
	"Proxy-Authorization", "Te", "Trailer", "Transfer-Encoding", "Upgrade",
}

var (
	headerToken = regexp.MustCompile("^[-!#$%&'*+.^_`|~0-9A-Za-z]+$")
	hostLabel   = regexp.MustCompile(`^[A-Za-z0-9_]([-A-Za-z0-9_.]*[A-Za-z0-9_.])?$`)
)

const maxName = 64

func headerPath(upstream int, name string) string {
	return item("upstreams", upstream) + ".headers." + name
}

// checkListeners checks the listeners' addresses, and that no two are the same.
func (c *Config) checkListeners(ps *Problems) {
	listeners := []struct{ path, address string }{{"listen", c.Listen}, {"admin.listen", c.Admin.Listen}}
	if c.Metrics.Listen != "" {
		listeners = append(listeners, struct{ path, address string }{"metrics.listen", c.Metrics.Listen})
	}
	for i, l := range listeners {
		_, port, err := net.SplitHostPort(l.address)
		n, portErr := strconv.ParseUint(port, 10, 16)
		if err != nil || portErr != nil {
			ps.add(l.path, "is %q, not an address; write HOST:PORT, such as 127.0.0.1:8080 or :8080", l.address)
			continue
		}
		for _, other := range listeners[:i] {
			need(ps, n == 0 || !sameAddress(l.address, other.address), l.path, "is the address of %s too; give each its own port", other.path)
		}
	}
}

func sameAddress(a, b string) bool {
	hostA, portA, errA := net.SplitHostPort(a)
	hostB, portB, errB := net.SplitHostPort(b)
	everywhere := func(host string) bool { return host == "" || host == "0.0.0.0" || host == "::" }
	return errA == nil && errB == nil && portA == portB && (hostA == hostB || everywhere(hostA) || everywhere(hostB))
}

// BeyondLoopback tells whether others than this machine can reach an address.
// An address that is none is not, since it is refused anyway.
func BeyondLoopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return !strings.EqualFold(host, "localhost")
	}
	return !ip.Unmap().IsLoopback()
}

func (c *Config) checkProxy(ps *Problems) {
	checkPair(ps, "tls", c.TLS.CertFile, c.TLS.KeyFile)
	checkHosts(ps, "allowed_hosts", c.AllowedHosts)
	checkHosts(ps, "admin.allowed_hosts", c.Admin.AllowedHosts)
	for i, key := range c.ClientKeys {
		checkKey(ps, item("client_keys", i), key)
	}
	if c.Admin.APIKey != "" {
		checkKey(ps, "admin.api_key", c.Admin.APIKey)
	}
	for _, list := range []struct {
		path  string
		globs []string
	}{{"routes.allow", c.Routes.Allow}, {"routes.deny", c.Routes.Deny}} {
		checkGlobs(ps, list.path, list.globs)
		for i, g := range list.globs {
			need(ps, g == "" || strings.HasPrefix(g, "/") || strings.HasPrefix(g, "*"), item(list.path, i), "is %q and can match no path; begin it with /", g)
		}
	}
}

// checkKey refuses a key that no client could send.
func checkKey(ps *Problems, at, key string) {
	need(ps, key != "" && key == strings.TrimSpace(key) && validHeaderValue(key), at, "is empty, or has blanks around it or control characters in it; write the bare key")
}

func checkHosts(ps *Problems, at string, hosts []string) {
	for i, h := range hosts {
		_, err := netip.ParseAddr(strings.Trim(h, "[]"))
		need(ps, err == nil || hostLabel.MatchString(h), item(at, i), "is %q, not a host name; write it without scheme, port and *", h)
	}
}

func checkGlobs(ps *Problems, at string, globs []string) {
	for i, g := range globs {
		_, err := path.Match(g, "")
		need(ps, g != "" && err == nil, item(at, i), "is %q, not a glob; * stands for any characters, [ needs its ]", g)
	}
}

// checkPair checks a certificate and its key, of which there are both or none.
func checkPair(ps *Problems, at, cert, key string) {
	switch {
	case cert == "" && key == "":
	case cert == "":
		ps.add(at+".cert_file", "is needed with %s.key_file; name both or none", at)
	case key == "":
		ps.add(at+".key_file", "is needed with %s.cert_file; name both or none", at)
	default:
		_, err := tls.LoadX509KeyPair(cert, key)
		need(ps, err == nil, at, "has no usable pair of certificate and key (%v); check both files", err)
	}
}

func (c *Config) checkUpstreams(ps *Problems) {
	need(ps, len(c.Upstreams) > 0, "upstreams", "is empty; name at least one upstream, or remove the setting")
	named := make(map[string]int)
	for i, u := range c.Upstreams {
		at := item("upstreams", i)
		other, taken := named[u.Name]
		switch {
		case taken:
			ps.add(at+".name", "%s is the name of %s too; give each upstream its own", u.Name, item("upstreams", other))
		case u.Name == "" || len(u.Name) > maxName || strings.ContainsFunc(u.Name, func(r rune) bool { return !nameRune(r) }):
			ps.add(at+".name", "is %q; write 1 to %d letters, digits, dots, dashes and underscores", u.Name, maxName)
		}
		named[u.Name] = i
		checkURL(ps, at+".url", u.URL)
		checkGlobs(ps, at+".models", u.Models)
		checkHeaders(ps, i, u.Headers)
		oneOf(ps, at+".on_client_gone", u.OnClientGone, "cancel", "finish")
		checkPair(ps, at+".tls", u.TLS.CertFile, u.TLS.KeyFile)
		checkCA(ps, at+".tls.ca_file", u.TLS.CAFile)
		if !reflect.DeepEqual(u.Breaker, c.Breaker) {
			checkBreaker(ps, at+".breaker", u.Breaker)
		}
		if !reflect.DeepEqual(u.Stream, c.Stream) {
			checkStream(ps, at+".stream", u.Stream)
			need(ps, u.Stream.TotalBufferBytes == c.Stream.TotalBufferBytes, at+".stream.total_buffer_bytes",
				"is one budget for all upstreams together; set stream.total_buffer_bytes instead")
		}
	}
}

// nameRune tells whether a character may stand in an upstream's name, which
// appears in headers, metrics and paths.
func nameRune(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("._-", r)
}

func checkHeaders(ps *Problems, upstream int, headers map[string]string) {
	for _, name := range slices.Sorted(maps.Keys(headers)) {
		at := headerPath(upstream, name)
		switch {
		case !validHeaderName(name):
			ps.add(at, "is not the name of a header; use letters, digits and -")
		case slices.Contains(ownHeaders, http.CanonicalHeaderKey(name)):
			ps.add(at, "is set by the proxy itself for each connection; remove it")
		case !validHeaderValue(headers[name]):
			ps.add(at, "has control characters in its value; write it on one line")
		}
	}
}

func validHeaderName(name string) bool { return headerToken.MatchString(name) }

func validHeaderValue(value string) bool {
	return !strings.ContainsFunc(value, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f })
}

func checkCA(ps *Problems, at, file string) {
	if file == "" {
		return
	}
	pem, err := readBounded(file, mib)
	if err != nil {
		ps.add(at, "%v", err)
		return
	}
	need(ps, x509.NewCertPool().AppendCertsFromPEM(pem), at, "holds no certificate; write PEM certificates into it")
}

// checkURL checks the base URL of a server that is spoken to over HTTP. It
// shows nothing of the URL, which may hold a password.
func checkURL(ps *Problems, at, text string) {
	u, err := url.Parse(text)
	switch {
	case err == nil && !validPort(u.Port()):
		ps.add(at, "has port %s; write 1 to 65535", u.Port())
	case err != nil, u.Scheme != "http" && u.Scheme != "https", u.Hostname() == "":
		ps.add(at, "is not a URL with http or https and a host; write for example http://127.0.0.1:11434")
	case u.User != nil:
		ps.add(at, "holds a user or a password; remove them and set an Authorization header instead")
	case u.RawQuery != "", u.ForceQuery, strings.Contains(text, "#"):
		ps.add(at, "has a query or a fragment; remove everything from ? or # on")
	}
}

func checkTelemetry(ps *Problems, t trace.Config) {
	const at = "telemetry.otlp_endpoint"
	scheme, _, _ := strings.Cut(t.OTLPEndpoint, "://")
	switch {
	case t.OTLPEndpoint == "":
	case scheme != "http" && scheme != "https":
		ps.add(at, "is not a URL with http or https; traces go by OTLP over HTTP, not gRPC: write for example http://127.0.0.1:4318")
	case strings.Contains(t.OTLPEndpoint, "@"):
		ps.add(at, "holds a user or a password; remove them, and have a collector beside the proxy add what the next one wants")
	default:
		checkURL(ps, at, t.OTLPEndpoint)
	}
	need(ps, t.SampleRatio >= 0 && t.SampleRatio <= 1, "telemetry.sample_ratio", "is %v; write 0 to 1", t.SampleRatio)
}

func validPort(port string) bool {
	n, err := strconv.ParseUint(port, 10, 16)
	return port == "" || err == nil && n > 0
}

func checkDatabase(ps *Problems, text string) {
	const at = "batchlog.database"
	file, sqlite := strings.CutPrefix(text, "sqlite:")
	switch {
	case text == "":
	case sqlite:
		need(ps, file != "", at, "names no file; write sqlite:PATH")
	case strings.HasPrefix(text, "postgres://"), strings.HasPrefix(text, "postgresql://"):
		checkPostgresURL(ps, at, text)
	default:
		ps.add(at, "is neither sqlite:PATH nor a postgres:// URL; write one of them, or nothing for a SQLite file in data_dir")
	}
}

// checkPostgresURL shows nothing of the URL either.
func checkPostgresURL(ps *Problems, at, text string) {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" && !u.Query().Has("host") { // a socket's directory
		ps.add(at, "is not a URL with postgres or postgresql and a host; write for example postgres://HOST, and %%-encode special characters of the password")
	}
}
