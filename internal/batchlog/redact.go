package batchlog

import (
	"encoding/json"
	"regexp"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// redacted stands where something was taken out.
const redacted = "[redacted]"

// shape is a form that credentials have. Where the expression has a group, only
// the group is the secret. One of the hints, in lower case, is in every text in
// which the expression finds something: looking for them first makes reading a
// text without credentials faster a hundred times.
type shape struct {
	name, expr string
	hints      []string
}

// shapes are the built-in ones. They look for what a credential begins with, or
// for the word before it: a shape that fits everything random would take out
// half of any program that is talked about.
var shapes = [...]shape{
	{"keys of OpenAI, Anthropic and others", `\b(?:sk|pk|rk)-[A-Za-z0-9_-]{16,}`, []string{"sk-", "pk-", "rk-"}},
	{"keys of Stripe", `\b(?:sk|pk|rk|whsec)_(?:live_|test_)?[A-Za-z0-9]{16,}`, []string{"sk_", "pk_", "rk_", "whsec_"}},
	{"keys of AWS", `\b(?:AKIA|ASIA|AROA|AIDA|AGPA|ANPA)[A-Z0-9]{16}\b`, []string{"akia", "asia", "aroa", "aida", "agpa", "anpa"}},
	{"secret keys of AWS", `(?i)\baws_?secret_?(?:access_?)?key\b["']?\s*[:=]\s*["']?([A-Za-z0-9/+]{40})`, []string{"secret"}},
	{"tokens of GitHub", `\b(?:gh[pousr]_[A-Za-z0-9]{16,}|github_pat_[A-Za-z0-9_]{22,})`, []string{"ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_"}},
	{"tokens of GitLab", `\bgl(?:pat|ptt|rt|dt|oas|cbt|ft|soat|agent)-[A-Za-z0-9_.-]{20,}`, []string{"glpat-", "glptt-", "glrt-", "gldt-", "gloas-", "glcbt-", "glft-", "glsoat-", "glagent-"}},
	{"tokens of Slack", `\bxox[a-z]-[A-Za-z0-9-]{10,}|\bxapp-[0-9]-[A-Za-z0-9-]{10,}`, []string{"xox", "xapp-"}},
	{"webhooks of Slack", `\bhooks\.slack\.com/(?:services|workflows)/[A-Za-z0-9/_-]{20,}`, []string{"hooks.slack.com"}},
	{"keys of Google", `\bAIza[A-Za-z0-9_-]{30,}|\bya29\.[A-Za-z0-9_-]{20,}`, []string{"aiza", "ya29."}},
	{"tokens of Hugging Face", `\bhf_[A-Za-z0-9]{20,}`, []string{"hf_"}},
	{"tokens of npm and PyPI", `\bnpm_[A-Za-z0-9]{30,}|\bpypi-[A-Za-z0-9_-]{30,}`, []string{"npm_", "pypi-"}},
	{"JSON web tokens", `\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*`, []string{"eyj"}},
	{"private keys", `-----BEGIN (?:[A-Z0-9 ]+ )?PRIVATE KEY(?: BLOCK)?-----(?s:.*?)(?:-----END (?:[A-Z0-9 ]+ )?PRIVATE KEY(?: BLOCK)?-----|\z)`, []string{"private key"}},
	{"credentials of HTTP", `(?i)\b(?:bearer|basic)\s+([A-Za-z0-9._~+/=-]{12,})`, []string{"bearer", "basic"}},
	{"passwords in URLs", `(?i)\b[a-z][a-z0-9+.-]{1,20}://[^\s/:@"'<>]*:([^\s@"'<>]+)@`, []string{"://"}},
	{"credentials that are named", `(?i)(?:api[_-]?key|apikey|access[_-]?key|access[_-]?token|auth[_-]?token|refresh[_-]?token|client[_-]?secret|secret[_-]?key|password|passwd|pwd|x-api-key)["'\\]*\s*[:=]\s*["'\\]*([^\s"'\\&,;}{]{6,})`, []string{"key", "token", "secret", "passw", "pwd"}},
	{"cookies", `(?i)\b(?:set-)?cookie\s*:\s*([^\r\n]+)`, []string{"cookie"}},
}

// named are the members of JSON whose text is a credential, whatever it looks
// like.
var named = regexp.MustCompile(`(?i)^(?:(?:x-)?api[_-]?key|access[_-]?(?:key|token)|auth[_-]?token|refresh[_-]?token|client[_-]?secret|secret(?:[_-]?key)?|password|passwd|pwd|authorization|cookie)$`)

// BuiltinRedactions describes the built-in shapes, each as a name and an RE2
// expression.
func BuiltinRedactions() (all [][2]string) {
	for _, s := range shapes {
		all = append(all, [2]string{s.name, s.expr})
	}
	return all
}

// redactor takes out what its expressions find. It is safe for concurrent use.
type redactor struct {
	rules []rule
	named bool // takes the text of members that are named as credentials
}

// rule is an expression. Without hints it is always tried.
type rule struct {
	expr  *regexp.Regexp
	hints []string
}

// builtin is the redactor with the built-in shapes.
var builtin = newBuiltin()

func newBuiltin() *redactor {
	r := &redactor{named: true}
	for _, s := range shapes {
		r.rules = append(r.rules, rule{regexp.MustCompile(s.expr), s.hints})
	}
	return r
}

// newRedactor makes the redactor of `redact`; nil if nothing is to be redacted.
func newRedactor(settings []string) (*redactor, error) {
	if len(settings) == 0 {
		return nil, nil
	}
	r := &redactor{}
	for _, setting := range settings {
		if setting == "builtin" {
			r.rules = append(r.rules, builtin.rules...)
			r.named = true
			continue
		}
		expr, err := regexp.Compile(setting)
		if err != nil {
			return nil, err
		}
		r.rules = append(r.rules, rule{expr: expr})
	}
	return r, nil
}

// text takes out of a text what is found, and tells whether there was anything.
func (r *redactor) text(s string) (string, bool) {
	found := false
	lower := strings.ToLower(s)
	for _, rule := range r.rules {
		if !rule.maybe(lower) {
			continue
		}
		places := rule.expr.FindAllStringSubmatchIndex(s, -1)
		if places == nil {
			continue
		}
		var out []byte
		done := 0
		for _, p := range places {
			from, to := p[0], p[1]
			if len(p) >= 4 && p[2] >= 0 {
				from, to = p[2], p[3]
			}
			if from == to || s[from:to] == redacted {
				continue
			}
			out = append(append(out, s[done:from]...), redacted...)
			done = to
			found = true
		}
		s = string(append(out, s[done:]...))
	}
	return s, found
}

func (r rule) maybe(lower string) bool {
	if r.hints == nil {
		return true
	}
	for _, hint := range r.hints {
		if strings.Contains(lower, hint) {
			return true
		}
	}
	return false
}

// json does it with each string of a JSON value, read as what it says, and with
// names.
func (r *redactor) json(value json.RawMessage) (json.RawMessage, bool) {
	found := false
	changed := mapStrings(value, func(name, spelled []byte) ([]byte, bool) {
		if r.named && len(spelled) > 0 && named.Match(name) {
			found = true
			return []byte(redacted), true
		}
		text, ok := r.text(unquoted(spelled))
		if !ok {
			return nil, false
		}
		found = true
		quoted := appendString(nil, text)
		return quoted[1 : len(quoted)-1], true
	})
	return changed, found
}

// unquoted is what the inside of a JSON string says.
func unquoted(spelled []byte) string {
	quoted := make([]byte, 0, len(spelled)+2)
	quoted = append(append(append(quoted, '"'), spelled...), '"')
	// The value is valid JSON: at worst a half of a surrogate pair is replaced.
	text, _ := jsontext.AppendUnquote(nil, quoted)
	return string(text)
}
