package dialect

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"math/big"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode/utf16"
	"unicode/utf8"
)

var (
	chatRoute   = RouteOf("POST", chatPath)
	ollamaRoute = RouteOf("POST", "/api/chat")
)

func TestCanonical(t *testing.T) {
	tests := []struct {
		name, in, want string
	}{
		{"empty", `{}`, `{}`},
		{"sorted", `{"b":1,"a":{"d":[],"c":{}}}`, `{"a":{"c":{},"d":[]},"b":1}`},
		{"spaces", " { \"b\" : [ 1 , 2 ] ,\r\n\"a\":\tnull } \n", `{"a":null,"b":[1,2]}`},
		{"framing left out", `{"model":"m","stream":true,"user":"u","metadata":{"z":1,"a":2},"keep_alive":"5m","store":false,
			"safety_identifier":"s","session_id":"s","request_id":"r","client_metadata":{},"prompt_cache_key":"k",
			"prompt_cache_retention":"24h","prompt_cache_options":{},"cache_salt":"s","cache_prompt":true,"id_slot":1,
			"priority":2,"sse_ping_interval":3}`, `{"model":"m"}`},
		{"framing names below the top", `{"a":{"user":1,"stream":true}}`, `{"a":{"stream":true,"user":1}}`},
		{"all left out", `{"stream":true}`, `{}`},
		{"usage only", `{"stream_options":{"include_usage":true},"model":"m"}`, `{"model":"m"}`},
		{"no stream options", `{"stream_options":null}`, `{}`},
		{"other stream options", `{"stream_options":{"x":1,"include_usage":true,"a":2}}`, `{"stream_options":{"a":2,"x":1}}`},
		{"unknown fields stay", `{"tomorrow":[{"x":0}]}`, `{"tomorrow":[{"x":0}]}`},
		{"zeros", `{"a":[-0,-0.0,0e99999999999999999999,0.000]}`, `{"a":[0,0,0,0]}`},
		{"ones", `{"a":[1,1.0,1e0,100e-2,10E-1,0.1e+1,0.01e2]}`, `{"a":[1,1,1,1,1,1,1]}`},
		{"big", `{"a":[9007199254740993,1e400,10e399,100000000000000000000,1e20,10000000000000000000,1e19]}`,
			`{"a":[9007199254740993,1e400,1e400,1e20,1e20,10000000000000000000,10000000000000000000]}`},
		{"small", `{"a":[0.70,7e-1,-0.007,1.25]}`, `{"a":[7e-1,7e-1,-7e-3,125e-2]}`},
		{"strings", `{"a":["\u0041\/\u00e9\ud83d\ude00\u000a\n\u0022\u005c\u0007\u001F\u007f","é😀"]}`,
			`{"a":["A/é😀\n\n\"\\\u0007\u001f` + "\x7f" + `","é😀"]}`},
		{"names by value", `{"\u0062":1,"a":2}`, `{"a":2,"b":1}`},
		{"upper case", `{"tools":{"additionalProperties":1,"Z":2}}`, `{"tools":{"Z":2,"additionalProperties":1}}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, ok := Canonical(chatRoute, []byte(tt.in), []byte("before"))
			if !ok || string(got) != "before"+tt.want {
				t.Errorf("got %s, %v\nwant before%s", got, ok, tt.want)
			}
		})
	}
}

func TestCanonicalRefuses(t *testing.T) {
	for _, in := range []string{
		``, ` `, `[]`, `"a"`, `1`, `null`, `{`, `{}}`, `{} x`, "{}\x00", `{"a"}`, `{"a":}`, `{"a":1,}`, `{,}`, `{a:1}`, `{"a":1 "b":2}`,
		`{"a":[1,]}`, `{"a":[,1]}`, `{"a":[1}`, `{"a":{]}`, `{"a":01}`, `{"a":1.}`, `{"a":.5}`, `{"a":+1}`, `{"a":1e}`, `{"a":-}`, `{"a":1e+}`,
		`{"a":tru}`, `{"a":nul}`, `{"a":truex}`, `{"a":NaN}`, "{\"a\":\"\n\"}", `{"a":"\x"}`, `{"a":"\u12"}`, `{"a":"\u12g4"}`, `{"a":"`, `{"a":"\`,
		"{\"a\":\"\xff\"}", "{\"\xff\":1}", "{\"a\":\"\xed\xa0\x80\"}", `{"a":"\ud800"}`, `{"a":"\ud800x"}`, `{"a":"\ud800\u0041"}`, `{"a":"\udc00\ud800"}`,
		`{"a":1,"a":1}`, `{"a":1,"b":2,"a":3}`, `{"a":1,"\u0061":2}`, `{"x":{"a":1,"A":2}}`, `{"x":[{"ſ":1,"s":2}]}`, `{"Ä":1,"ä":2}`,
		`{"user":1,"user":2}`, `{"user":1,"User":2}`, `{"User":1}`, `{"Stream":true}`, `{"Model":"m"}`, `{"Keep_Alive":1}`,
		`{"stream_options":null,"stream_options":{"x":1}}`, `{"stream_options":{"include_usage":true,"include_usage":false}}`,
		`{"stream_options":{"Include_Usage":true}}`, `{"a":1e999999999999999999}`,
		`{"a":` + strings.Repeat("[", maxDepth) + strings.Repeat("]", maxDepth) + `}`,
	} {
		if got, ok := Canonical(ollamaRoute, []byte(in), nil); ok {
			t.Errorf("%s is ok: %s", in, got)
		}
	}
	deep := `{"a":` + strings.Repeat("[", maxDepth-1) + strings.Repeat("]", maxDepth-1) + `}`
	if _, ok := Canonical(ollamaRoute, []byte(deep), nil); !ok {
		t.Error("the deepest nesting allowed is not ok")
	}
}

func TestCanonicalManyNames(t *testing.T) {
	var b strings.Builder
	for i := range 100 {
		fmt.Fprintf(&b, `,"name%d":%d`, i, i)
	}
	if _, ok := Canonical(chatRoute, []byte(`{"Other":1`+b.String()+`}`), nil); !ok {
		t.Error("a hundred names are not ok")
	}
	if _, ok := Canonical(chatRoute, []byte(`{"Name7":1`+b.String()+`}`), nil); ok {
		t.Error("two cases of one name among a hundred are ok")
	}
}

func TestCanonicalModelTag(t *testing.T) {
	tests := []struct {
		a, b string
		same bool
	}{
		{"m", "m:latest", true},
		{"host:5000/lib/m", "host:5000/lib/m:latest", true},
		{"m:7b", "m:latest", false},
		{"a:b", "a:b:latest", false},
		{"", ":latest", false},
		{"a/", "a/:latest", false},
		{"m", "m:Latest", false},
	}
	for _, tt := range tests {
		for _, rt := range []Route{ollamaRoute, chatRoute} {
			a, ok1 := Canonical(rt, []byte(`{"model":"`+tt.a+`"}`), nil)
			b, ok2 := Canonical(rt, []byte(`{"model":"`+tt.b+`"}`), nil)
			want := tt.same && rt.Dialect == Ollama
			if !ok1 || !ok2 || bytes.Equal(a, b) != want {
				t.Errorf("%v: %q and %q: %s, %s", rt.Dialect, tt.a, tt.b, a, b)
			}
		}
	}
	nested, _ := Canonical(ollamaRoute, []byte(`{"a":{"model":"m:latest"}}`), nil)
	if string(nested) != `{"a":{"model":"m:latest"}}` {
		t.Errorf("a model below the top: %s", nested)
	}
}

// reference is the canonical form made the slow way: decoded, and numbers as
// fractions of any size. Only for bodies that are ok.
func reference(body []byte) (string, error) {
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	var v map[string]any
	if err := d.Decode(&v); err != nil {
		return "", err
	}
	for _, m := range framingMembers {
		delete(v, m)
	}
	if options, ok := v["stream_options"].(map[string]any); ok {
		delete(options, "include_usage")
		if len(options) == 0 {
			delete(v, "stream_options")
		}
	} else if v["stream_options"] == nil {
		delete(v, "stream_options")
	}
	var b strings.Builder
	err := spellOut(&b, v)
	return b.String(), err
}

func spellOut(b *strings.Builder, v any) error {
	switch v := v.(type) {
	case map[string]any:
		names := make([]string, 0, len(v))
		for name := range v {
			names = append(names, name)
		}
		slices.Sort(names)
		fmt.Fprintf(b, "o%d", len(names))
		for _, name := range names {
			fmt.Fprintf(b, "%d:%s", len(name), name)
			if err := spellOut(b, v[name]); err != nil {
				return err
			}
		}
	case []any:
		fmt.Fprintf(b, "a%d", len(v))
		for _, e := range v {
			if err := spellOut(b, e); err != nil {
				return err
			}
		}
	case string:
		fmt.Fprintf(b, "s%d:%s", len(v), v)
	case json.Number:
		_, power, _ := strings.Cut(strings.ToLower(v.String()), "e")
		if n, err := strconv.Atoi(power); power != "" && (err != nil || n > 500 || n < -500) {
			return fmt.Errorf("an exponent of %s takes too long", power)
		}
		r, ok := new(big.Rat).SetString(v.String())
		if !ok {
			return fmt.Errorf("%s is no number", v)
		}
		fmt.Fprintf(b, "n%s", r)
	default:
		fmt.Fprintf(b, "l%v", v)
	}
	return nil
}

// FuzzCanonical: two bodies have one canonical form if and only if the slow way
// says so, and the canonical form is its own.
func FuzzCanonical(f *testing.F) {
	f.Add([]byte(`{"a":1.0,"b":"\u0041"}`), []byte(`{"b":"A","a":1}`))
	f.Add([]byte(`{"a":[1,{"c":-0.50e1}],"stream":true}`), []byte(`{"a":[1,{"c":-5}]}`))
	f.Add([]byte(`{"stream_options":{"include_usage":true,"x":"é"}}`), []byte(`{"stream_options":{"x":"\u00e9"}}`))
	f.Add([]byte(`{"z":{"y":{"x":1,"w":2},"v":3},"A":null}`), []byte(`{"a":123456789012345678901,"b":1.23456789012345678901e20}`))
	f.Fuzz(func(t *testing.T, a, b []byte) {
		first, ok := Canonical(chatRoute, a, nil)
		if !ok {
			return
		}
		again, ok := Canonical(chatRoute, first, nil)
		if !ok || !bytes.Equal(again, first) {
			t.Fatalf("%s has the form %s, and that has %s, %v", a, first, again, ok)
		}
		if sound, read := ParseSound(chatRoute, a), ParseRequest(chatRoute, a); sound != read {
			t.Fatalf("%s is %+v, and read without looking whether it is sound %+v", a, read, sound)
		}
		slowA, err := reference(a)
		if err != nil {
			return
		}
		if slow, err := reference(first); err == nil && slow != slowA {
			t.Fatalf("%s changed its value in %s", a, first)
		}
		second, ok := Canonical(chatRoute, b, nil)
		if !ok {
			return
		}
		slowB, err := reference(b)
		if err == nil && (slowA == slowB) != bytes.Equal(first, second) {
			t.Errorf("%s and %s: %s and %s", a, b, first, second)
		}
	})
}

// members that may stand in requests, with values of their kinds.
var someMembers = []string{
	"messages", "prompt", "suffix", "system", "instructions", "input", "context", "template", "raw", "documents", "chat_template",
	"chat_template_kwargs", "add_generation_prompt", "continue_final_message", "prediction", "model", "lora", "options", "dimensions",
	"encoding_format", "truncate", "shift", "truncation", "temperature", "top_p", "top_k", "min_p", "typical_p", "seed", "stop",
	"stop_token_ids", "max_tokens", "max_completion_tokens", "max_output_tokens", "num_predict", "min_tokens", "frequency_penalty",
	"presence_penalty", "repeat_penalty", "repetition_penalty", "logit_bias", "bad_words", "allowed_token_ids", "n", "best_of",
	"use_beam_search", "ignore_eos", "mirostat", "mirostat_tau", "dry_multiplier", "xtc_probability", "samplers", "grammar", "json_schema",
	"structured_outputs", "guided_json", "tools", "tool_choice", "parallel_tool_calls", "functions", "function_call", "response_format",
	"format", "text", "verbosity", "modalities", "audio", "logprobs", "top_logprobs", "prompt_logprobs", "echo", "think", "reasoning",
	"reasoning_effort", "thinking", "include_reasoning", "return_token_ids", "include", "service_tier", "timings_per_token",
	"response_fields", "return_progress", "stream_interval", "images",
}

// spelled is a random JSON value, spelled in two random ways.
type spelled struct{ a, b string }

type speller struct{ *rand.Rand }

func (r speller) value(depth int) spelled {
	switch n := r.IntN(8); {
	case n < 2 && depth > 0:
		return r.object(depth, someMembers)
	case n == 2 && depth > 0:
		a, b := "[", "["
		for i := range r.IntN(4) {
			if i > 0 {
				a, b = a+",", b+" , "
			}
			v := r.value(depth - 1)
			a, b = a+v.a, b+v.b
		}
		return spelled{a + "]", b + "]"}
	case n < 6:
		return r.text()
	case n == 6:
		return r.number()
	default:
		word := []string{"true", "false", "null"}[r.IntN(3)]
		return spelled{word, word}
	}
}

// object has members in two orders, and with some that do not count.
func (r speller) object(depth int, names []string) spelled {
	var a, b []string
	for _, i := range r.Perm(len(names))[:r.IntN(6)] {
		v := r.value(depth - 1)
		a = append(a, r.quote(names[i])+":"+v.a)
		b = append(b, r.quote(names[i])+" : "+v.b)
	}
	r.Shuffle(len(b), func(i, j int) { b[i], b[j] = b[j], b[i] })
	return spelled{"{" + strings.Join(a, ",") + "}", "{\n" + strings.Join(b, "\n, ") + "}"}
}

func (r speller) text() spelled {
	runes := []rune("ab \"\\/\n\t\u0001éßΩ中😀\u2028\ufffd\x7f")
	var text strings.Builder
	for range r.IntN(6) {
		text.WriteRune(runes[r.IntN(len(runes))])
	}
	return spelled{r.quote(text.String()), r.quote(text.String())}
}

// quote spells a text, with needless escapes here and there.
func (r speller) quote(text string) string {
	b := []byte{'"'}
	for _, c := range text {
		switch {
		case r.IntN(4) == 0 && c > 0xffff:
			high, low := utf16.EncodeRune(c)
			b = fmt.Appendf(b, `\u%04x\u%04X`, high, low)
		case r.IntN(4) == 0 && c <= 0xffff, c < ' ', c == '"', c == '\\':
			b = fmt.Appendf(b, `\u%04x`, c)
		default:
			b = utf8.AppendRune(b, c)
		}
	}
	return string(append(b, '"'))
}

func (r speller) number() spelled {
	n := 1 + r.Int64N(1<<r.IntN(62))
	zeros := r.IntN(4)
	return spelled{
		fmt.Sprintf("%de-3", n),
		fmt.Sprintf("%d%se%d", n, strings.Repeat("0", zeros), -3-zeros),
	}
}

// TestCanonicalInjective: no two values share a form, and no value has two.
func TestCanonicalInjective(t *testing.T) {
	r := speller{rand.New(rand.NewPCG(1, 2))}
	forms, values := map[string]string{}, map[string]string{}
	for range 20000 {
		request := r.object(4, someMembers)
		a, ok1 := Canonical(chatRoute, []byte(request.a), nil)
		framed := strings.Replace(request.b, "{", `{"stream":true,`, 1)
		if request.b == "{\n}" {
			framed = `{"user":"u"}`
		}
		b, ok2 := Canonical(chatRoute, []byte(framed), nil)
		if !ok1 || !ok2 || !bytes.Equal(a, b) {
			t.Fatalf("two spellings:\n%s\n%s\n%s %v\n%s %v", request.a, framed, a, ok1, b, ok2)
		}
		value, err := reference([]byte(request.a))
		if err != nil {
			t.Fatal(err)
		}
		if other, known := forms[string(a)]; known && other != value {
			t.Fatalf("one form for two values: %s", a)
		}
		if other, known := values[value]; known && other != string(a) {
			t.Fatalf("two forms for one value: %s and %s", a, other)
		}
		forms[string(a)], values[value] = value, string(a)
	}
	if len(forms) < 10000 {
		t.Errorf("only %d different requests", len(forms))
	}
}

// TestCanonicalEachMember: whatever member changes, the form does, unless it is
// one that only frames.
func TestCanonicalEachMember(t *testing.T) {
	for _, name := range someMembers {
		seen := map[string]string{}
		for _, value := range []string{`null`, `true`, `false`, `0`, `1`, `0.5`, `""`, `"1"`, `[]`, `[1]`, `{}`, `{"a":1}`, `{"a":"1"}`} {
			form, ok := Canonical(chatRoute, []byte(`{"zz":1,"`+name+`":`+value+`}`), nil)
			if other, found := seen[string(form)]; !ok || found {
				t.Errorf("%s: %s and %s are one, %v", name, value, other, ok)
			}
			seen[string(form)] = value
		}
	}
}

// TestCanonicalRecorded: whatever a real server took for a request has a form.
func TestCanonicalRecorded(t *testing.T) {
	n := 0
	for _, f := range fixtures(t) {
		r := ParseRequest(f.route, f.request)
		form, ok := Canonical(f.route, f.request, nil)
		if ok != (r.Object && !r.Ambiguous) {
			t.Errorf("%s: ok is %v", f.name, ok)
		}
		if ok {
			n++
			if sound := ParseSound(f.route, f.request); sound != r {
				t.Errorf("%s: %+v, and read without looking whether it is sound %+v", f.name, r, sound)
			}
			if again, _ := Canonical(f.route, form, nil); !bytes.Equal(again, form) {
				t.Errorf("%s: %s", f.name, form)
			}
		}
	}
	if n < 150 {
		t.Errorf("%d requests have a form", n)
	}
}

func BenchmarkKey(b *testing.B) {
	for _, size := range []struct {
		name  string
		turns int
	}{{"1KiB", 5}, {"64KiB", 400}} {
		body := chatRequest(size.turns)
		dst := make([]byte, 0, 2*len(body))
		b.Run(size.name+"/canonical", func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(body)))
			for b.Loop() {
				form, ok := Canonical(chatRoute, body, dst)
				if !ok {
					b.Fatal("not ok")
				}
				sha256.Sum256(form)
			}
		})
		b.Run(size.name+"/sha256", func(b *testing.B) {
			b.SetBytes(int64(len(body)))
			for b.Loop() {
				sha256.Sum256(body)
			}
		})
	}
}
