package dialect

import (
	"strings"
	"testing"
)

func TestBlameOf(t *testing.T) {
	tests := []struct {
		name    string
		dialect Dialect
		status  int
		body    string
		want    Blame
	}{
		{"ollama option", Ollama, 500, `{"error":"option \"temperature\" must be of type float32"}`, BlameClient},
		{"ollama format", Ollama, 500, `{"error":"invalid format: \"\\\"yaml\\\"\"; expected \"json\" or a valid JSON Schema object"}`, BlameClient},
		{"the same by /v1", OpenAI, 500, `{"error":{"message":"option \"temperature\" must be of type float32","type":"api_error"}}`, BlameClient},
		{"ollama hands llama.cpp's error on", Ollama, 500, `{"error":"{\"error\":{\"code\":500,\"message\":\"[json.exception.parse_error.101] x\"}}"}`, BlameClient},
		{"ollama's runner died", Ollama, 500, `{"error":"an error was encountered while running the model: unexpected EOF"}`, BlameUpstream},
		{"a message that quotes", Ollama, 500, `{"error":"panic: option \"x\" must be of type y"}`, BlameUpstream},
		{"llama.cpp parse", OpenAI, 500, `{"error":{"code":500,"message":"[json.exception.parse_error.101] parse error at line 1","type":"server_error"}}`, BlameClient},
		{"llama.cpp type", OpenAI, 500, `{"error":{"code":500,"message":"[json.exception.type_error.302] type must be number"}}`, BlameClient},
		{"llama.cpp empty input", OpenAI, 500, `{"error":{"code":500,"message":"\"prompt\" must not be empty","type":"server_error"}}`, BlameClient},
		{"llama.cpp on its own path", Opaque, 500, `{"error":{"code":500,"message":"[json.exception.parse_error.101] x"}}`, BlameClient},
		{"llama.cpp by messages", Anthropic, 500, `{"error":{"code":500,"message":"[json.exception.parse_error.101] x"}}`, BlameClient},
		{"llama.cpp's child died", OpenAI, 500, `proxy error: Failed to read connection`, BlameUpstream},
		{"no body", OpenAI, 500, ``, BlameUpstream},
		{"body cut", OpenAI, 500, `{"error":{"message":"[json.exception.parse_error.101] parse er`, BlameUpstream},
		{"body cut behind the message", OpenAI, 500, `{"error":{"message":"[json.exception.parse_error.101] x","type":"ser`, BlameClient},

		{"ollama busy", Ollama, 503, `{"error":"server busy, please try again.  maximum pending requests exceeded"}`, BlameBusy},
		{"ollama busy by /v1", OpenAI, 503, `{"error":{"message":"server busy, please try again.  maximum pending requests exceeded","type":"api_error","param":null,"code":null}}`, BlameBusy},
		{"ollama busy by messages", Anthropic, 503, `{"type":"error","error":{"type":"overloaded_error","message":"server busy, please try again."},"request_id":"r"}`, BlameBusy},
		{"anthropic overloaded", Anthropic, 529, `{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}`, BlameBusy},
		{"overloaded by type", OpenAI, 503, `{"error":"x","error_type":"overloaded"}`, BlameBusy},
		{"overloaded by text", OpenAI, 503, `{"error":{"message":"The engine is currently overloaded, please try again later"}}`, BlameBusy},
		{"flat", OpenAI, 503, `{"object":"error","message":"Server busy"}`, BlameBusy},
		{"llama.cpp loads", OpenAI, 503, `{"error":{"code":503,"message":"Loading model","type":"unavailable_error"}}`, BlameLoading},
		{"a model loads", OpenAI, 503, `{"error":"Model x/y is currently loading","estimated_time":20}`, BlameLoading},
		{"plain text", Opaque, 503, "Loading model\n", BlameLoading},
		{"a proxy on the way", OpenAI, 503, `<html>server busy</html>`, BlameUpstream},
		{"unavailable", OpenAI, 503, `{"error":{"message":"Service Unavailable"}}`, BlameUpstream},
		{"our own kind of text", OpenAI, 503, `no healthy upstream`, BlameUpstream},

		{"rate limit", OpenAI, 429, `{}`, BlameBusy},
		{"bad request", OpenAI, 400, ``, BlameClient},
		{"not found", Ollama, 404, `{"error":"model 'x' not found"}`, BlameClient},
		{"cancelled", Ollama, 499, ``, BlameClient},
		{"not supported", OpenAI, 501, `{"error":{"code":501,"message":"This server does not support embeddings","type":"not_supported_error"}}`, BlameClient},
		{"bad gateway", OpenAI, 502, `{"error":"server busy"}`, BlameUpstream},
		{"gateway timeout", Ollama, 504, ``, BlameUpstream},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := BlameOf(tt.dialect, tt.status, []byte(tt.body)); got != tt.want {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}

// TestBlameOfRecordings: of all recorded 5xx only those count against the
// upstream in which a process had died.
func TestBlameOfRecordings(t *testing.T) {
	for _, f := range fixtures(t) {
		if f.status < 400 {
			continue
		}
		want := BlameClient
		switch {
		case strings.Contains(f.name, "-killed-"):
			want = BlameUpstream
		case strings.Contains(f.name, "-queue-full-"):
			want = BlameBusy
		}
		if got := BlameOf(f.route.Dialect, f.status, f.body); got != want {
			t.Errorf("%s: got %v, want %v", f.name, got, want)
		}
	}
}
