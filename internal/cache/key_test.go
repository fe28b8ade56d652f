package cache

import (
	"bytes"
	"fmt"
	"net/http"
	"testing"
)

func TestKeyParts(t *testing.T) {
	base := func() Subject {
		return Subject{Endpoint: "POST /v1/chat/completions", Route: "a", Query: "x=1", Header: http.Header{"Content-Type": {"application/json"}}}
	}
	with := func(change func(*Subject)) Key {
		s := base()
		s.Header = s.Header.Clone()
		change(&s)
		return s.Key()
	}
	header := func(name string, values ...string) func(*Subject) {
		return func(s *Subject) { s.Header[name] = values }
	}
	keys := map[Key]string{}
	for name, change := range map[string]func(*Subject){
		"base":            func(*Subject) {},
		"tenant":          func(s *Subject) { s.Tenant[31] = 1 },
		"endpoint":        func(s *Subject) { s.Endpoint = "POST /v1/completions" },
		"endpoint, route": func(s *Subject) { s.Endpoint += "a"; s.Route = "" },
		"route":           func(s *Subject) { s.Route = "b" },
		"generation":      func(s *Subject) { s.Generation = 1 },
		"query":           func(s *Subject) { s.Query = "x=2" },
		"body":            func(s *Subject) { s.Body[0] = 1 },
		"content type":    header("Content-Type", "application/json; charset=utf-8"),
		"no content type": func(s *Subject) { delete(s.Header, "Content-Type") },
		"empty type":      header("Content-Type", ""),
		"two types":       header("Content-Type", "application/json", ""),
		"beta":            header("Openai-Beta", "x"),
		"version":         header("Anthropic-Version", "x"),
		"anthropic beta":  header("Anthropic-Beta", "x"),
		"two betas":       header("Anthropic-Beta", "x", "y"),
		"one long beta":   header("Anthropic-Beta", "xy"),
		"organization":    header("Openai-Organization", "x"),
		"project":         header("Openai-Project", "x"),
		"origin":          header("Origin", "x"),
	} {
		k := with(change)
		if other, found := keys[k]; found {
			t.Errorf("%s and %s have one key", name, other)
		}
		keys[k] = name
	}
	for _, name := range []string{"User-Agent", "X-Stainless-Os", "Traceparent", "X-Request-Id", "Accept-Encoding", "Authorization"} {
		if with(header(name, "x")) != with(func(*Subject) {}) {
			t.Errorf("%s is in the key", name)
		}
	}
}

func TestTenants(t *testing.T) {
	tenants := map[Tenant]string{}
	add := func(name string, h http.Header) {
		t.Helper()
		tenant := TenantOf(h, false)
		if other, found := tenants[tenant]; found || tenant == TenantOf(h, true) {
			t.Errorf("%s is the same tenant as %s, or shared", name, other)
		}
		tenants[tenant] = name
	}
	add("nobody", http.Header{"User-Agent": {"x"}})
	add("empty", http.Header{"Authorization": {""}})
	for i := range 1000 {
		add(fmt.Sprint("bearer ", i), http.Header{"Authorization": {fmt.Sprintf("Bearer sk-%d", i)}})
	}
	add("key", http.Header{"X-Api-Key": {"a"}})
	add("other key", http.Header{"Api-Key": {"a"}})
	add("both", http.Header{"X-Api-Key": {"a"}, "Api-Key": {"a"}})
	add("cookie", http.Header{"Cookie": {"a"}})
	add("two", http.Header{"X-Api-Key": {"a", "b"}})
	if TenantOf(http.Header{"Authorization": {"x"}}, true) != TenantOf(nil, true) {
		t.Error("a shared cache has tenants")
	}
}

// TestThousandCredentials: nobody is given what another's credentials earned.
func TestThousandCredentials(t *testing.T) {
	c := newCache(t, func(cfg *Config) { cfg.MaxSize = 2000 })
	as := func(i int) Query {
		s := Subject{Tenant: TenantOf(http.Header{"Authorization": {fmt.Sprintf("Bearer sk-%d", i)}}, false), Endpoint: "e"}
		return Query{Key: s.Key(), Form: Stream, Directives: plainly}
	}
	for i := range 1000 {
		if body, _ := look(t, c, as(i)); body != "" {
			t.Fatalf("%d got %q before it was answered", i, body)
		}
		fill(t, c, as(i), fmt.Sprintf("for %d", i))
	}
	for i := range 1000 {
		if body, why := look(t, c, as(i)); body != fmt.Sprintf("for %d", i) {
			t.Fatalf("%d got %q, %s", i, body, why)
		}
	}
}

func TestMemo(t *testing.T) {
	m := NewMemo[int](4)
	for range 2 { // the first time it is only noted that it was there
		d, _, ok := m.Get(1, []byte("a"))
		if ok {
			t.Fatal("something is there already")
		}
		m.Put(d, 7)
	}
	if _, v, ok := m.Get(1, []byte("a")); !ok || v != 7 {
		t.Errorf("got %d, %v", v, ok)
	}
	if _, _, ok := m.Get(2, []byte("a")); ok {
		t.Error("another scope has it too")
	}
	for i := range 100 {
		for range 2 {
			d, _, _ := m.Get(1, []byte{byte(i), 0})
			m.Put(d, i)
		}
		if _, _, ok := m.Get(1, []byte("a")); !ok {
			t.Fatalf("what is used was forgotten after %d", i)
		}
		if n := len(m.rows); n != 1 {
			t.Fatalf("there are %d rows", n)
		}
	}
	if _, _, ok := m.Get(1, []byte{3, 0}); ok {
		t.Error("what is not used was not forgotten")
	}
}

// Bodies that have one mark are still told from one another, by all of their bytes.
func TestMemoOfBodiesThatLookAlike(t *testing.T) {
	m := NewMemo[int](100)
	for n := 1; n <= 4096; n++ {
		a := bytes.Repeat([]byte{'x'}, n)
		m.Get(1, a)
		d, _, _ := m.Get(1, a)
		if d == (Digest{}) {
			t.Fatalf("%d bytes that came twice were not noted", n)
		}
		m.Put(d, n)
		for _, at := range []int{0, n / 3, n / 2, n - 1} {
			b := bytes.Clone(a)
			b[at] = 'y'
			if _, v, ok := m.Get(1, b); ok {
				t.Fatalf("%d bytes of which byte %d differs: got %d", n, at, v)
			}
		}
		if _, v, ok := m.Get(1, a); !ok || v != n {
			t.Fatalf("%d bytes: got %d, %v", n, v, ok)
		}
	}
}

// A long body that is new at its beginning, its middle or its end is not taken for one
// that was seen, so that it is not hashed for nothing.
func TestMemoOfNewBodies(t *testing.T) {
	m := NewMemo[int](100)
	body := bytes.Repeat([]byte{'x'}, 1000)
	m.Get(1, body)
	for _, at := range []int{0, sample - 1, 500, 1000 - sample, 999} {
		b := bytes.Clone(body)
		b[at] = 'y'
		if d, _, _ := m.Get(1, b); d != (Digest{}) {
			t.Errorf("a body that differs in byte %d was taken for seen", at)
		}
	}
}

func BenchmarkKey(b *testing.B) {
	s := Subject{Endpoint: "POST /v1/chat/completions", Route: "default", Header: http.Header{
		"Authorization": {"Bearer sk-0123456789abcdef"}, "Content-Type": {"application/json"},
	}}
	b.ReportAllocs()
	for b.Loop() {
		s.Tenant = TenantOf(s.Header, false)
		s.Key()
	}
}

func BenchmarkMemoGet(b *testing.B) {
	for _, size := range []int{1 << 10, 64 << 10} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			body := make([]byte, size)
			m := NewMemo[int](100)
			for range 2 {
				d, _, _ := m.Get(1, body)
				m.Put(d, 1)
			}
			b.ReportAllocs()
			for b.Loop() {
				m.Get(1, body)
			}
		})
	}
}
