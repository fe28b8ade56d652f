package dialect

import (
	"cmp"
	"net/http"
	"strings"
	"testing"
)

func TestSession(t *testing.T) {
	names := []string{"X-Session-Id", "Session_id", "Thread-Id"}
	const inBody = `{"session_id":"body"}`
	tests := []struct {
		name   string
		header http.Header
		body   string
		want   string
	}{
		{"nothing", nil, ``, ""},
		{"header before body", http.Header{"X-Session-Id": {"s"}}, inBody, "s"},
		{"order of names, not of headers", http.Header{"Thread-Id": {"t"}, "Session_id": {"u"}}, inBody, "u"},
		{"an empty header says nothing", http.Header{"X-Session-Id": {" "}, "Thread-Id": {"t"}}, inBody, "t"},
		{"not asked for", http.Header{"X-Other": {"o"}}, inBody, "body"},
		{"controls go", http.Header{"X-Session-Id": {"a\tb\x00c\u202e\xffd"}}, ``, "abcd"},
		{"cut at a character", http.Header{"X-Session-Id": {strings.Repeat("x", 255) + "é"}}, ``, strings.Repeat("x", 255)},

		{"conversation", nil, `{"conversation":"c","previous_response_id":"p"}`, "c"},
		{"conversation as an object", nil, `{"conversation":{"x":1,"id":"c"}}`, "c"},
		{"previous", nil, `{"conversation":null,"previous_response_id":"p","metadata":{"session_id":"m"}}`, "p"},
		{"metadata", nil, `{"metadata":{"user_id":"u","session_id":"m"}}`, "m"},
		{"order of meaning, not of members", nil, `{"metadata":{"session_id":"m"},"session_id":"s"}`, "s"},
		{"user", nil, `{"metadata":{"user_id":"u"}}`, "u"},
		{"user with a session", nil, `{"metadata":{"user_id":"user_1_account__session_9f-2"}}`, "9f-2"},
		{"user with a session, as an object", nil, `{"metadata":{"user_id":"{\"device_id\":\"d\",\"session_id\":\"9f\"}"}}`, "9f"},
		{"user as another object", nil, `{"metadata":{"user_id":"{}"}}`, "{}"},
		{"in content", nil, `{"messages":[{"content":"\"session_id\":\"x\"","session_id":"y"}]}`, ""},
		{"numbers", nil, `{"session_id":7,"metadata":[]}`, ""},
		{"no JSON", nil, `session_id=5`, ""},
		{"cut body", nil, `{"session_id":"s","x`, "s"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := cmp.Or(SessionInHeader(tt.header, names), SessionInBody([]byte(tt.body)))
			if got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}
