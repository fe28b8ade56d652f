package config

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Every setting can be given by its variable: each in turn is set to something
// other than its default, and nothing else changes.
func TestEverySettingFromTheEnvironment(t *testing.T) {
	cert, key := certificate(t)
	texts := map[string]string{
		"listen": "127.0.0.1:9", "data_dir": "/x", "balance": "least_busy",
		"tls.cert_file": cert, "tls.key_file": key,
		"upstreams[0].name": "other", "upstreams[0].url": "https://h/b", "upstreams[0].on_client_gone": "finish",
		"upstreams[0].tls.ca_file": cert, "upstreams[0].tls.cert_file": cert, "upstreams[0].tls.key_file": key,
		"cache.policy": "off", "cache.l2.url": "redis://h:6379",
		"batchlog.database": "sqlite:/x.db", "batchlog.content": "hashed", "batchlog.spool.fsync": "always",
		"admin.listen": "localhost:9", "admin.api_key": "k", "metrics.listen": ":9",
		"log.level": "warn", "log.format": "text", "telemetry.otlp_endpoint": "http://h:4318",
	}
	// These two are only valid together.
	together := map[string]string{
		"tls.cert_file": "tls.key_file", "tls.key_file": "tls.cert_file",
		"upstreams[0].tls.cert_file": "upstreams[0].tls.key_file", "upstreams[0].tls.key_file": "upstreams[0].tls.cert_file",
	}
	d := Default()
	for _, l := range leaves("", reflect.ValueOf(d)) {
		t.Run(l.path, func(t *testing.T) {
			var environ []string
			name := envName(l.path)
			var want any
			switch v := l.value.Interface().(type) {
			case bool:
				environ, want = []string{name + "=" + strconv.FormatBool(!v)}, !v
			case int:
				environ, want = []string{fmt.Sprint(name, "=", v+1)}, v+1
			case int64:
				environ, want = []string{fmt.Sprint(name, "=", v+1)}, v+1
			case float64:
				environ, want = []string{fmt.Sprint(name, "=", v*0.9)}, v*0.9
			case time.Duration:
				environ, want = []string{fmt.Sprint(name, "=", v+time.Millisecond)}, v+time.Millisecond
			case string:
				text, ok := texts[l.path]
				if !ok {
					t.Fatal("the test has no other value for this setting")
				}
				environ, want = []string{name + "=" + text}, text
			case []string:
				environ, want = []string{name + "=/a, /b", name + "_2=/c", name + "_1=/x"}, []string{"/a", "/x", "/c"}
				if strings.Contains(l.path, "hosts") || strings.Contains(l.path, "headers") {
					environ, want = []string{name + "=a, b", name + "_2=c", name + "_1=x"}, []string{"a", "x", "c"}
				}
			case []int:
				environ, want = []string{name + "=418,429", name + "_1=430"}, []int{418, 430}
			case map[string]string:
				environ, want = []string{name + "_X_TEAM=blue"}, map[string]string{"X-Team": "blue"}
			case map[string]int:
				environ, want = []string{name + "_READ_REQUEST=7"}, map[string]int{"read_request": 7}
			default:
				t.Fatalf("the test knows no %T", v)
			}
			if other := together[l.path]; other != "" {
				environ = append(environ, envName(other)+"="+texts[other])
			}

			if l.path == "upstreams[0].stream.total_buffer_bytes" { // known, and refused as an override
				wantProblems(t, refusals(t, "", environ...), l.path)
				return
			}
			c, warnings, err := Load("", nil, environ)
			if doubted := strings.HasSuffix(l.path, "insecure_skip_verify"); err != nil || (len(warnings) > 0) != doubted {
				t.Fatalf("Load with %q: %v, %v", environ, warnings, err)
			}
			for _, got := range leaves("", reflect.ValueOf(*c)) {
				above, upstream := overridden(got.path)
				follows := upstream != "" && above == l.path
				if got.path == l.path || follows {
					if !reflect.DeepEqual(got.value.Interface(), want) {
						t.Errorf("%s with %q = %v, want %v", got.path, environ, got.value, want)
					}
				}
			}
			if changes := Diff(&d, c); len(changes) == 0 {
				t.Error("nothing changed")
			} else {
				for _, ch := range changes {
					// A renamed upstream is a new one.
					if ch.Path != l.path && ch.Path != together[l.path] && l.path != "upstreams[0].name" {
						t.Errorf("%s changed too: %v", ch.Path, ch)
					}
				}
			}
		})
	}
}

func TestListsFromTheEnvironment(t *testing.T) {
	const two = "upstreams: [{name: a, url: 'http://a:1'}, {name: b, url: 'http://b:1'}]\n"
	c := mustLoad(t, two, "VEGA_UPSTREAMS_1_URL=http://env:2", "VEGA_UPSTREAMS_2_URL=http://c:3", "VEGA_UPSTREAMS_2_NAME=c",
		"VEGA_BREAKER_FAIL_THRESHOLD=8", "VEGA_UPSTREAMS_1_BREAKER_FAIL_THRESHOLD=2", "VEGA_BREAKER_FAILURE_STATUSES_0=429",
		"VEGA_UPSTREAMS_2_HEADERS_AUTHORIZATION=Bearer k")
	if got := fmt.Sprintln(names(c.Upstreams), c.Upstreams[0].URL, c.Upstreams[1].URL, c.Upstreams[2].URL); got != "[a b c] http://a:1 http://env:2 http://c:3\n" {
		t.Errorf("upstreams: %s", got)
	}
	if a, b, n := c.Upstreams[0].Breaker, c.Upstreams[1].Breaker, c.Upstreams[2].Breaker; a.FailThreshold != 8 || b.FailThreshold != 2 || n.FailThreshold != 8 {
		t.Errorf("fail_threshold %d, %d, %d; want 8, 2, 8", a.FailThreshold, b.FailThreshold, n.FailThreshold)
	}
	if got := c.Upstreams[2].Breaker.FailureStatuses; !reflect.DeepEqual(got, []int{429, 502, 503, 504}) {
		t.Errorf("failure_statuses %v", got)
	}
	if got := c.Upstreams[2].SecretHeaders; !reflect.DeepEqual(got, []string{"Authorization"}) {
		t.Errorf("secret headers %v", got)
	}

	// A header of the file is replaced whatever its capitals.
	c = mustLoad(t, "upstreams: [{headers: {x-team: blue, X-Other: o}}]", "VEGA_UPSTREAMS_0_HEADERS_X_TEAM=red")
	if got := c.Upstreams[0].Headers; !reflect.DeepEqual(got, map[string]string{"X-Team": "red", "X-Other": "o"}) {
		t.Errorf("headers %v", got)
	}

	// More than nine items are counted, not spelled.
	var many []string
	for i := range 12 {
		many = append(many, fmt.Sprintf("VEGA_CLIENT_KEYS_%d=k%d", i, i))
	}
	if got := mustLoad(t, "", many...).ClientKeys; len(got) != 12 || got[11] != "k11" || got[2] != "k2" {
		t.Errorf("client_keys %v", got)
	}
	ps := refusals(t, "", "VEGA_CLIENT_KEYS_0=a", "VEGA_CLIENT_KEYS_2=c", "VEGA_UPSTREAMS_5_URL=http://x:1")
	wantProblems(t, ps, "client_keys[2]", "upstreams[5].url")
	wantText(t, ps.Error(), "VEGA_CLIENT_KEYS_2", "leaves a gap", "1 items")
}

func TestWrongVariables(t *testing.T) {
	ps := refusals(t, "", "VEGA_CACHE_MAXSIZE=many", "VEGA_CACHE_MAX_BYTES=1 mile", "VEGA_HTTP2=maybe", "VEGA_RETRY_BASE_BACKOFF=5",
		"VEGA_STREAM_WARNING_THRESHOLD=half", "VEGA_BREAKER_FAILURE_STATUSES=500,x", "VEGA_LOG_LEVEL=loud", "VEGA_CLIENT_KEYS=a,,b")
	wantProblems(t, ps, "cache.maxsize", "cache.max_bytes", "http2", "retry.base_backoff", "stream.warning_threshold",
		"breaker.failure_statuses", "log.level", "client_keys[1]")
	for _, p := range ps {
		wantText(t, p.Message, "(from VEGA_")
	}
	for text, want := range map[string]bool{"1": true, "true": true, "TRUE": true, "0": false, "f": false} {
		if c := mustLoad(t, "", "VEGA_HTTP2="+text); c.HTTP2 != want {
			t.Errorf("VEGA_HTTP2=%s gives %t", text, c.HTTP2)
		}
	}
}

func TestUnknownVariablesOnlyWarn(t *testing.T) {
	for _, tc := range []struct{ variable, says string }{
		{"VEGA_CACHE_MAXSIZ=5", "did you mean VEGA_CACHE_MAXSIZE?"},
		{"VEGA_UPSTREAM_0_URL=http://a:1", "did you mean VEGA_UPSTREAMS_0_URL?"},
		{"VEGA_PROXY_SERVICE_HOST=10.0.0.1", "so it is ignored"},
		{"VEGA_PROXY_PORT=tcp://10.0.0.1:8080", "so it is ignored"},
		{"VEGA_PROXY_PORT_8080_TCP_ADDR=10.0.0.1", "so it is ignored"},
		{"VEGA_LISTEN_X=5", "so it is ignored"},
		{"VEGA_listen=:1", "did you mean VEGA_LISTEN?"},
		{"VEGA_=x", "so it is ignored"},
		{"VEGA_UPSTREAMS_00_URL=http://a:1", "so it is ignored"},
		{"VEGA_UPSTREAMS_-1_URL=http://a:1", "so it is ignored"},
		{"VEGA_CLIENT_KEYS_0_=x", "so it is ignored"},
		{"VEGA_BREAKER=x", "names a whole section, so it is ignored; set its settings one by one, such as VEGA_BREAKER_ENABLED"},
		{"VEGA_UPSTREAMS=http://a:1", "such as VEGA_UPSTREAMS_0_URL"},
		{"VEGA_UPSTREAMS_0=http://a:1", "such as VEGA_UPSTREAMS_0_NAME"},
		{"VEGA_UPSTREAMS_0_HEADERS=x", "names a whole section"},
	} {
		c, warnings, err := Load("", nil, []string{tc.variable, "OTHER=1", "nonsense"})
		if err != nil {
			t.Errorf("%s: %v", tc.variable, err)
			continue
		}
		if d := Default(); !reflect.DeepEqual(*c, d) {
			t.Errorf("%s changed the configuration", tc.variable)
		}
		if len(warnings) != 1 {
			t.Errorf("%s: warnings %q, want one", tc.variable, warnings)
			continue
		}
		name, _, _ := strings.Cut(tc.variable, "=")
		wantText(t, warnings[0], name+": ", tc.says)
	}
}
