package config

import (
	"fmt"
	"strings"
	"testing"
)

// Each rule in both directions: what it must accept and what it must refuse,
// with the path that the refusal names.
func TestValues(t *testing.T) {
	cert, key := certificate(t)
	_, otherKey := certificate(t)
	for _, tc := range []struct {
		path     string
		setting  string // with %s for the value
		accepted []string
		refused  []string
	}{
		{"listen", "listen: %s", []string{"':8080'", "127.0.0.1:0", "'[::1]:80'", "localhost:65535", "example.com:1"},
			[]string{"''", "8080", "'8080'", "127.0.0.1", "':65536'", "':http'", "':-1'", "'::1:80'", "5.5"}},
		{"admin.listen", "admin: {listen: %s}", []string{"127.0.0.2:1", "localhost:0"}, []string{"''", "x", "127.0.0.1:8080"}},
		{"metrics.listen", "metrics: {listen: %s}", []string{"''", "':9090'", "0.0.0.0:9"}, []string{"x", "':8080'", "127.0.0.1:8081"}},
		{"data_dir", "data_dir: %s", []string{"/x", "."}, []string{"''", "5"}},
		{"http2", "http2: %s", []string{"true", "false"}, []string{"'true'", "yes", "1", "on", "[]"}},
		{"tls", "tls: {cert_file: " + cert + ", key_file: %s}", []string{key}, []string{otherKey, "/nowhere"}},
		{"tls.key_file", "tls: {cert_file: " + cert + ", key_file: %s}", []string{key}, []string{"''"}},
		{"tls.cert_file", "tls: {key_file: " + key + ", cert_file: %s}", []string{cert}, []string{"''"}},
		{"allowed_hosts[0]", "allowed_hosts: [%s]", []string{"vega", "vega.example.com", "10.0.0.1", "'::1'", "'[::1]'", "a_b"},
			[]string{"''", "'http://vega'", "'vega:8080'", "'*.example.com'", "a b", "'-a'", "1"}},
		{"admin.allowed_hosts[0]", "admin: {allowed_hosts: [%s]}", []string{"vega"}, []string{"''", "a/b"}},
		{"client_keys[0]", "client_keys: [%s]", []string{"k", "'123'", "a.b-c"}, []string{"''", "123", "' k'", `"k\n"`, `"a\0b"`, "true"}},
		{"routes.allow[0]", "routes: {allow: [%s]}", []string{"/v1/*", "/**", "'*'", "'/[ab]'"}, []string{"''", "v1", "'/[a'"}},
		{"routes.deny[0]", "routes: {deny: [%s]}", []string{"/api/pull"}, []string{"api/pull", "'/['"}},
		{"balance", "balance: %s", []string{"first", "least_busy"}, []string{"''", "random", "First"}},

		{"limits.max_body_bytes", "limits: {max_body_bytes: %s}", []string{"1", "64MiB", "10MB", "'5 KiB'", "1GiB"},
			[]string{"0", "-1", "1.5", "64mib", "MiB", "true", "'0'", "99999999999GiB", "1e3"}},
		{"limits.max_header_bytes", "limits: {max_header_bytes: %s}", []string{"64KiB"}, []string{"0"}},
		{"limits.read_header_timeout", "limits: {read_header_timeout: %s}", []string{"10s", "1h30m"}, []string{"0", "0s", "10", "10.5", "-1s", "'10'", "1d", "true"}},
		{"limits.idle_timeout", "limits: {idle_timeout: %s}", []string{"0", "0s", "'0'", "0.0", "1ms"}, []string{"1", "-0.1s", "x"}},
		{"limits.max_connections", "limits: {max_connections: %s}", []string{"0", "1"}, []string{"-1", "1.0", "'5'", "3000000000", "5k"}},

		{"upstreams", "upstreams: %s", []string{"[{}]"}, []string{"[]", "{}", "http://a:1", "5"}},
		{"upstreams[0]", "upstreams: [%s]", []string{"{}"}, []string{"x", "5", "[]", "null"}},
		{"upstreams[0].name", "upstreams: [{name: %s}]", []string{"a", "A.b_c-9", strings.Repeat("a", 64)},
			[]string{"a b", "a/b", "é", strings.Repeat("a", 65), "5", "'a:1'"}},
		{"upstreams[1].name", "upstreams: [{name: a}, {name: %s}]", []string{"b", "A"}, []string{"a"}},
		{"upstreams[1].url", "upstreams: [{}, {name: b, url: %s}]",
			[]string{"http://a", "https://a.b/v1", "'http://[::1]:80'", "http://a/", "HTTP://a"},
			[]string{"''", "a:1", "ftp://a", "http://", "http:///x", "'http://a?x=1'", "'http://a?'", "'http://a#f'", "'http://a#'", "http://u:p@a", "http://u@a", "'http://a b'", "http://a:99999", "http://a:0", "'http://a:x'"}},
		{"upstreams[0].models[0]", "upstreams: [{models: [%s]}]", []string{"'*'", "llama3*", "'qwen2.5:7b'"}, []string{"''", "'[a'", "5"}},
		{"upstreams[0].connect_timeout", "upstreams: [{connect_timeout: %s}]", []string{"1s"}, []string{"0", "5"}},
		{"upstreams[0].first_byte_timeout", "upstreams: [{first_byte_timeout: %s}]", []string{"1s"}, []string{"0"}},
		{"upstreams[0].idle_timeout", "upstreams: [{idle_timeout: %s}]", []string{"0", "1s"}, []string{"1"}},
		{"upstreams[0].on_client_gone", "upstreams: [{on_client_gone: %s}]", []string{"cancel", "finish"}, []string{"''", "abort"}},
		{"upstreams[0].forward_credentials", "upstreams: [{forward_credentials: %s}]", []string{"true"}, []string{"'true'"}},
		{"upstreams[0].max_in_flight", "upstreams: [{max_in_flight: %s}]", []string{"0", "4"}, []string{"-4"}},
		{"upstreams[0].queue", "upstreams: [{queue: %s}]", []string{"0", "4"}, []string{"-4"}},
		{"upstreams[0].queue_timeout", "upstreams: [{queue_timeout: %s}]", []string{"0", "4s"}, []string{"-4s"}},
		{"upstreams[0].tls", "upstreams: [{tls: {key_file: " + key + ", cert_file: %s}}]", []string{cert}, []string{key}},
		{"upstreams[0].tls.cert_file", "upstreams: [{tls: {key_file: " + key + ", cert_file: %s}}]", []string{cert}, []string{"''"}},
		{"upstreams[0].tls.ca_file", "upstreams: [{tls: {ca_file: %s}}]", []string{"''", cert}, []string{key, "/nowhere"}},

		{"breaker.fail_threshold", "breaker: {fail_threshold: %s}", []string{"1"}, []string{"0", "-1"}},
		{"breaker.base_timeout", "breaker: {base_timeout: %s}", []string{"1s", "300s"}, []string{"0", "1"}},
		{"breaker.max_timeout", "breaker: {max_timeout: %s}", []string{"30s"}, []string{"29s"}},
		{"breaker.half_open_test_count", "breaker: {half_open_test_count: %s}", []string{"1"}, []string{"0"}},
		{"breaker.probe_timeout", "breaker: {probe_timeout: %s}", []string{"1s"}, []string{"0"}},
		{"breaker.failure_statuses[1]", "breaker: {failure_statuses: [500, %s]}", []string{"100", "599"}, []string{"99", "600", "'500'", "0"}},
		{"breaker.neutral_statuses[0]", "breaker: {neutral_statuses: [%s]}", []string{"429"}, []string{"1000"}},
		{"upstreams[1].breaker.fail_threshold", "upstreams: [{}, {name: b, breaker: {fail_threshold: %s}}]", []string{"1"}, []string{"0", "x"}},
		{"upstreams[0].breaker.max_timeout", "upstreams: [{breaker: {base_timeout: 10m, max_timeout: %s}}]", []string{"10m"}, []string{"5m"}},

		{"retry.max_attempts", "retry: {max_attempts: %s}", []string{"1"}, []string{"0"}},
		{"retry.base_backoff", "retry: {base_backoff: %s}", []string{"1ms", "2s"}, []string{"0"}},
		{"retry.max_backoff", "retry: {max_backoff: %s}", []string{"50ms"}, []string{"49ms"}},
		{"retry.budget_percent", "retry: {budget_percent: %s}", []string{"0", "100"}, []string{"101", "-1", "20%"}},

		{"cache.policy", "cache: {policy: %s}", []string{"all", "deterministic", "off"}, []string{"''", "none", "false"}},
		{"cache.maxsize", "cache: {maxsize: %s}", []string{"1"}, []string{"0"}},
		{"cache.max_bytes", "cache: {max_bytes: %s}", []string{"1"}, []string{"-1", "1 mile"}},
		{"cache.max_entry_bytes", "cache: {max_entry_bytes: %s}", []string{"65MiB"}, []string{"0"}},
		{"cache.ttl_seconds", "cache: {ttl_seconds: %s}", []string{"1"}, []string{"0", "300s", "'300'"}},
		{"cache.stale_if_error", "cache: {stale_if_error: %s}", []string{"0", "1h"}, []string{"60"}},
		{"cache.l2.url", "cache: {l2: {url: %s}}", []string{"''", "redis://h", "'rediss://u:p@h:6379/0'", "'redis://h/'"},
			[]string{"h:6379", "http://h", "redis://", "'redis://u:p w@h'", "redis://h/x", "redis://h/-1", "redis://h/0/1", "'redis://h/0?db=1'", "'redis://h:0'", "'redis://h:99999'", "'redis://h#x'"}},
		{"cache.l2.timeout", "cache: {l2: {timeout: %s}}", []string{"1ms"}, []string{"0", "20"}},

		{"stream.buffer_size", "stream: {buffer_size: %s}", []string{"1"}, []string{"0"}},
		{"stream.buffer_bytes", "stream: {buffer_bytes: %s}", []string{"1"}, []string{"0"}},
		{"stream.warning_threshold", "stream: {warning_threshold: %s}", []string{"0.1", "0.899"}, []string{"0", "0.9", "-0.1", ".nan", "'0.5'"}},
		{"stream.throttle_threshold", "stream: {throttle_threshold: %s}", []string{"1", "0.71"}, []string{"1.01", ".inf"}},
		{"stream.chunk_delay_ms", "stream: {chunk_delay_ms: %s}", []string{"0", "5"}, []string{"-5", "5ms"}},
		{"stream.write_stall_timeout", "stream: {write_stall_timeout: %s}", []string{"1s"}, []string{"0"}},
		{"stream.heartbeat_interval", "stream: {heartbeat_interval: %s}", []string{"0", "15s"}, []string{"15"}},
		{"stream.max_event_bytes", "stream: {max_event_bytes: %s}", []string{"1"}, []string{"0"}},
		{"stream.total_buffer_bytes", "stream: {total_buffer_bytes: %s}", []string{"1"}, []string{"0"}},
		{"stream.adaptive.min", "stream: {adaptive: {min: %s}}", []string{"1", "50"}, []string{"0", "51"}},
		{"stream.adaptive.max", "stream: {adaptive: {max: %s}}", []string{"50"}, []string{"49"}},
		{"upstreams[0].stream.buffer_size", "upstreams: [{stream: {buffer_size: %s}}]", []string{"1"}, []string{"0", "-1"}},
		{"upstreams[0].stream.warning_threshold", "upstreams: [{stream: {warning_threshold: %s}}]", []string{"0.5"}, []string{"0.95"}},
		{"upstreams[0].stream.total_buffer_bytes", "upstreams: [{stream: {total_buffer_bytes: %s}}]", []string{"256MiB"}, []string{"1MiB"}},

		{"batchlog.database", "batchlog: {database: %s}", []string{"''", "sqlite:x", "postgres://u:p@h/db", "postgresql://h", "'postgres://u@h1:1,h2:2/db'", "'postgres:///db?host=/run'"},
			[]string{"'sqlite:'", "mysql://h", "x.db", "postgres://", "'postgres://u:p w@h/db'"}},
		{"batchlog.batch_size", "batchlog: {batch_size: %s}", []string{"1"}, []string{"0"}},
		{"batchlog.flush_interval", "batchlog: {flush_interval: %s}", []string{"1ms"}, []string{"0"}},
		{"batchlog.max_queue_size", "batchlog: {max_queue_size: %s}", []string{"1"}, []string{"0"}},
		{"batchlog.content", "batchlog: {content: %s}", []string{"full", "hashed", "off"}, []string{"none"}},
		{"batchlog.redact[0]", "batchlog: {redact: [%s]}", []string{"builtin", "'\\d+'"}, []string{"''", "'('", "'(?=a)'"}},
		{"batchlog.max_held_bytes", "batchlog: {max_held_bytes: %s}", []string{"1"}, []string{"0"}},
		{"batchlog.max_record_bytes", "batchlog: {max_record_bytes: %s}", []string{"1"}, []string{"0"}},
		{"batchlog.retention.max_age", "batchlog: {retention: {max_age: %s}}", []string{"0", "720h"}, []string{"30d", "30"}},
		{"batchlog.retention.max_bytes", "batchlog: {retention: {max_bytes: %s}}", []string{"0", "1GiB"}, []string{"-1"}},
		{"batchlog.spool.max_bytes", "batchlog: {spool: {max_bytes: %s}}", []string{"1"}, []string{"0"}},
		{"batchlog.spool.fsync", "batchlog: {spool: {fsync: %s}}", []string{"always", "1s"}, []string{"never", "0s", "'0'", "-1s", "1", "''"}},
		{"batchlog.session_headers[0]", "batchlog: {session_headers: [%s]}", []string{"X-S"}, []string{"''", "a b"}},

		{"monitor.check_interval", "monitor: {check_interval: %s}", []string{"1s"}, []string{"0"}},
		{"monitor.slow_threshold_ms", "monitor: {slow_threshold_ms: %s}", []string{"1"}, []string{"0", "100ms"}},
		{"monitor.thresholds.dispatch", "monitor: {thresholds: {dispatch: %s}}", []string{"1"}, []string{"0", "1.5", "'1'", "null"}},
		{"monitor.high_pending_tasks", "monitor: {high_pending_tasks: %s}", []string{"1"}, []string{"0"}},
		{"monitor.leak_check_interval", "monitor: {leak_check_interval: %s}", []string{"1s"}, []string{"0"}},
		{"monitor.leak_threshold", "monitor: {leak_threshold: %s}", []string{"1s"}, []string{"0"}},
		{"monitor.flight_recorder.window", "monitor: {flight_recorder: {window: %s}}", []string{"1s"}, []string{"0"}},
		{"monitor.flight_recorder.max_files", "monitor: {flight_recorder: {max_files: %s}}", []string{"1"}, []string{"0"}},

		{"log.level", "log: {level: %s}", []string{"debug", "info", "warn", "error"}, []string{"warning", "''", "INFO"}},
		{"log.format", "log: {format: %s}", []string{"json", "text"}, []string{"xml"}},
		{"telemetry.otlp_endpoint", "telemetry: {otlp_endpoint: %s}", []string{"''", "http://h:4318"}, []string{"h:4318", "grpc://h"}},
		{"telemetry.sample_ratio", "telemetry: {sample_ratio: %s}", []string{"0", "1", "0.01"}, []string{"1.1", "-0.1", ".nan", "'1'"}},
		{"shutdown.drain_delay", "shutdown: {drain_delay: %s}", []string{"0", "5s"}, []string{"-5s", "5"}},
		{"shutdown.drain_timeout", "shutdown: {drain_timeout: %s}", []string{"0", "5s"}, []string{"5"}},
		{"cache", "cache: %s", []string{"{}", "null"}, []string{"5", "[]", "off", "true"}},
		{"upstreams[0].headers", "upstreams: [{headers: %s}]", []string{"{}", "null"}, []string{"[]", "x"}},
		{"upstreams[0].models", "upstreams: [{models: %s}]", []string{"[]", "null"}, []string{"x", "{}"}},
	} {
		t.Run(tc.path, func(t *testing.T) {
			for _, value := range tc.accepted {
				if _, _, err := load(t, fmt.Sprintf(tc.setting, value)); err != nil {
					t.Errorf("%s is refused: %v", fmt.Sprintf(tc.setting, value), err)
				}
			}
			for _, value := range tc.refused {
				t.Run(value, func(t *testing.T) {
					wantProblems(t, refusals(t, fmt.Sprintf(tc.setting, value)), tc.path)
				})
			}
		})
	}
}

// A refusal says what to do.
func TestAdvice(t *testing.T) {
	for _, tc := range []struct{ yaml, want string }{
		{"limits: {idle_timeout: 30}", "limits.idle_timeout: 30 has no unit; write 30s if you mean seconds"},
		{"cache: {ttl_secnods: 5}", "cache.ttl_secnods: is not a setting; did you mean cache.ttl_seconds?"},
		{"upstreams: [{}, {urll: x, name: b}]", "upstreams[1].urll: is not a setting; did you mean upstreams[1].url?"},
		{"upstreams: [{breaker: {fail_treshold: 1}}]", "upstreams[0].breaker.fail_treshold: is not a setting; did you mean upstreams[0].breaker.fail_threshold?"},
		{"Listen: ':1'", "Listen: is not a setting; did you mean listen?"},
		{"monitor: {thresholds: {dispach: 5}}", "monitor.thresholds.dispach: is not a step; did you mean monitor.thresholds.dispatch?"},
		{"monitor: {thresholds: {everything_else: 5}}", "monitor.thresholds.everything_else: is not a step; the steps are admit, read_request, consult_cache, dispatch, replay, pass_head, record, settle, account, log, scheduler"},
		{"maxsize: 5", "maxsize: is not a setting; did you mean cache.maxsize?"},
		{"colour: red", "colour: is not a setting; remove it"},
		{"cache: {policy: of}", `cache.policy: is "of", not one of all, deterministic, off; did you mean off?`},
		{"cache: {maxsize: 0}", "cache.maxsize: is 0; cache.policy: off turns the cache off"},
		{"retry: {max_attempts: 0}", "retry.max_attempts: is 0; 1 turns retries off"},
		{"upstreams: [{url: 'http://me:secret@h'}]", "upstreams[0].url: holds a user or a password; remove them and set an Authorization header instead"},
		{"upstreams: [{headers: {X-Version: 2}}]", "upstreams[0].headers.X-Version: is a number, not text; put it in quotes"},
		{"data_dir: 2024-01-02", "data_dir: is a date, not text; put it in quotes"},
		{"http2: yes", "http2: is text, not true or false; write true or false without quotes"},
		{"breaker: {fail_threshold: 0}\nupstreams: [{}, {name: b}]", "breaker.fail_threshold: is 0; breaker.enabled: false turns the breaker off"},
	} {
		if got := refusals(t, tc.yaml).Error(); got != tc.want {
			t.Errorf("%s:\n got %s\nwant %s", tc.yaml, got, tc.want)
		}
	}
}

func TestAllProblemsAtOnce(t *testing.T) {
	ps := refusals(t, `
listen: 5
listn: x
http2: "true"
upstreams:
  - url: ftp://a
    idle_timeout: 5
    headers: {Host: x}
  - name: default
    models: [1]
cache: {policy: none, ttl: 5}
cache: {maxsize: 0}
stream: {warning_threshold: 2}
5: five
`, "VEGA_RETRY_MAX_ATTEMPTS=0", "VEGA_LOG_LEVEL=loud")
	wantProblems(t, ps, "listen", "listn", "http2", "upstreams[0].url", "upstreams[0].idle_timeout", "upstreams[0].headers.Host",
		"upstreams[1].name", "upstreams[1].models[0]", "cache.policy", "cache.ttl", "cache", "stream.warning_threshold", "5",
		"retry.max_attempts", "log.level")
	if got := strings.Count(ps.Error(), "\n") + 1; got != len(ps) {
		t.Errorf("%d problems on %d lines", len(ps), got)
	}
}

func TestKeysGivenTwice(t *testing.T) {
	for _, tc := range []struct {
		yaml  string
		paths []string
	}{
		{"listen: ':1'\nlisten: ':1'", []string{"listen"}},
		{"listen: ':1'\nListen: ':1'", []string{"Listen"}},
		{"cache: {maxsize: 1, maxsize: 2}", []string{"cache.maxsize"}},
		{"upstreams: [{}, {name: b, name: c}]", []string{"upstreams[1].name"}},
		{"upstreams: [{headers: {X-A: a, x-a: a}}]", []string{"upstreams[0].headers.x-a"}},
		{"monitor: {thresholds: {a: 1, A: 1}}", []string{"monitor.thresholds.A", "monitor.thresholds.a"}},
		{"monitor: {thresholds: {'a::b': 1, '': 2}}", []string{"monitor.thresholds.a::b", "monitor.thresholds."}},
		{"true: x\n? [a]\n: b\n", []string{"true", ""}},
	} {
		wantProblems(t, refusals(t, tc.yaml), tc.paths...)
	}
	// Anchors, aliases and merges are YAML's own way not to repeat oneself.
	c := mustLoad(t, "upstreams:\n  - &a {url: 'http://a:1', queue: 3}\n  - {<<: *a, name: b, queue: 4}\n")
	if u := c.Upstreams[1]; u.URL != "http://a:1" || u.Queue != 4 || u.Name != "b" {
		t.Errorf("merged upstream %+v", u)
	}
}

func TestHeaders(t *testing.T) {
	c := mustLoad(t, "upstreams: [{headers: {x-team: blue, X.Dotted: d, OpenAI-Organization: o}}]")
	for name, want := range map[string]string{"X-Team": "blue", "X.dotted": "d", "Openai-Organization": "o"} {
		if got := c.Upstreams[0].Headers[name]; got != want {
			t.Errorf("header %s = %q, want %q", name, got, want)
		}
	}
	for _, name := range []string{"Host", "content-length", "CONNECTION", "Transfer-Encoding", "te", "Trailer", "Upgrade", "Keep-Alive", "Proxy-Connection"} {
		wantText(t, refusals(t, "upstreams: [{headers: {"+name+": x}}]").Error(), "is set by the proxy itself")
	}
	for _, name := range []string{"'a b'", "''", "'a:b'", `"a\nb"`, "é"} {
		wantText(t, refusals(t, "upstreams: [{headers: {"+name+": x}}]").Error(), "is not the name of a header")
	}
	for _, value := range []string{`"a\r\nB: c"`, `"a\0"`, `"a\n"`, `"\x7f"`} {
		wantText(t, refusals(t, "upstreams: [{headers: {X: "+value+"}}]").Error(), "upstreams[0].headers.X: has control characters")
	}
	for _, value := range []string{"''", `"a\tb"`, "grüße"} {
		mustLoad(t, "upstreams: [{headers: {X: "+value+"}}]")
	}
}

func TestGuards(t *testing.T) {
	const secret = "upstreams: [{name: open, headers: {Authorization: Bearer k}}]\n"
	for _, tc := range []struct {
		name, yaml string
		refused    string
	}{
		{"secret on loopback", secret, ""},
		{"secret on localhost", secret + "listen: localhost:1", ""},
		{"secret on ::1", secret + "listen: '[::1]:1'", ""},
		{"secret on 127.9.9.9", secret + "listen: 127.9.9.9:1", ""},
		{"secret on mapped loopback", secret + "listen: '[::ffff:127.0.0.1]:1'", ""},
		{"secret on every address", secret + "listen: ':1'", "client_keys"},
		{"secret on 0.0.0.0", secret + "listen: 0.0.0.0:1", "client_keys"},
		{"secret on ::", secret + "listen: '[::]:1'", "client_keys"},
		{"secret on a name", secret + "listen: vega.example.com:1", "client_keys"},
		{"secret behind keys", secret + "listen: ':1'\nclient_keys: [k]", ""},
		{"no secret on every address", "listen: ':1'", ""},
		{"admin on loopback", "admin: {listen: '127.0.0.1:1'}", ""},
		{"admin on every address", "admin: {listen: ':1'}", "admin.api_key"},
		{"admin on an address", "admin: {listen: '10.0.0.1:1'}", "admin.api_key"},
		{"admin behind a key", "admin: {listen: ':1', api_key: k}", ""},
		{"metrics on every address", "metrics: {listen: ':1'}", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if tc.refused == "" {
				mustLoad(t, tc.yaml)
				return
			}
			wantProblems(t, refusals(t, tc.yaml), tc.refused)
		})
	}
	wantText(t, refusals(t, secret+"listen: ':1'").Error(), "listen (:1) is beyond loopback while upstream open sends a secret header")
}

func TestDoubtsAreWarnings(t *testing.T) {
	_, warnings, err := load(t, "upstreams: [{}, {name: b, tls: {insecure_skip_verify: true}}]")
	if err != nil || len(warnings) != 1 {
		t.Fatalf("Load = %q, %v", warnings, err)
	}
	wantText(t, warnings[0], "upstreams[1].tls.insecure_skip_verify", "upstream b")
}
