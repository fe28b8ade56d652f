package cache

import (
	"bytes"
	"encoding/json"
	"net/http"
	"reflect"
	"testing"
	"time"
)

// jsonNotes has notes that are texts.
var jsonNotes = Notes{
	Encode: func(note any) ([]byte, error) { return json.Marshal(note) },
	Decode: func(b []byte) (note any, err error) { return note, json.Unmarshal(b, &note) },
}

func entryFor(sl slot, stored time.Time) *Entry {
	e := &Entry{
		Form: sl.form, key: sl.key, Status: http.StatusOK, Events: 2, Model: "m", Upstream: "up", Note: "note",
		Header: http.Header{"Content-Type": {"text/event-stream"}, "X-Two": {"a", "b"}},
		Body:   []byte("data: 1\n\ndata: 2\n\n"), Stored: stored, Expires: stored.Add(time.Minute),
	}
	e.weigh()
	return e
}

func TestCodec(t *testing.T) {
	c := codec{jsonNotes}
	now := time.UnixMilli(time.Now().UnixMilli())
	q := query(1)
	sl := slot{q.Key, Stream}
	want := entryFor(sl, now.Add(-time.Second))
	value := c.append(nil, want)
	if int64(len(value)) > c.size(want) {
		t.Errorf("it has %d bytes, and was said to have %d at most", len(value), c.size(want))
	}
	got, err := c.decode(value, sl, now, 100)
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, %v\nwant %+v", got, err, want)
	}
	for i := range value {
		if _, err := c.decode(value[:i], sl, now, 100); err == nil {
			t.Errorf("cut at %d it is read", i)
		}
	}
	if _, err := c.decode(append(bytes.Clone(value), 0), sl, now, 100); err == nil {
		t.Error("with a byte more it is read")
	}

	ahead := entryFor(sl, now.Add(time.Hour))
	if got, err = c.decode(c.append(nil, ahead), sl, now, 100); err != nil || !got.Stored.Equal(now) || !got.Expires.Equal(now.Add(time.Minute)) {
		t.Errorf("from a clock that is ahead: %+v, %v", got, err)
	}
	for name, spoil := range map[string]func(*Entry){
		"status":      func(e *Entry) { e.Status = 500 },
		"no life":     func(e *Entry) { e.Expires = e.Stored },
		"too long":    func(e *Entry) { e.Body = make([]byte, 101) },
		"hop by hop":  func(e *Entry) { e.Header["Transfer-Encoding"] = []string{"chunked"} },
		"our own":     func(e *Entry) { e.Header["X-Vega-Cache"] = []string{"HIT"} },
		"a line end":  func(e *Entry) { e.Header["X-Two"] = []string{"a\r\nSet-Cookie: x"} },
		"a bad name":  func(e *Entry) { e.Header["X Two"] = []string{"a"} },
		"a low name":  func(e *Entry) { e.Header["x-two"] = []string{"a"} },
		"no name":     func(e *Entry) { e.Header[""] = []string{"a"} },
		"many events": func(e *Entry) { e.Events = 1 << 30 },
	} {
		e := entryFor(sl, now)
		spoil(e)
		if _, err := c.decode(c.append(nil, e), sl, now, 100); err == nil {
			t.Errorf("%s: it is read", name)
		}
	}
}

func FuzzDecodeEntry(f *testing.F) {
	c := codec{jsonNotes}
	now := time.Now()
	q := query(1)
	sl := slot{q.Key, Stream}
	f.Add(c.append(nil, entryFor(sl, now)))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, value []byte) {
		e, err := c.decode(value, sl, now, 1<<10)
		if err != nil {
			return
		}
		again, err := c.decode(c.append(nil, e), sl, now, 1<<10)
		if err != nil || !bytes.Equal(again.Body, e.Body) || !reflect.DeepEqual(again.Header, e.Header) || !again.Expires.Equal(e.Expires) {
			t.Errorf("%+v becomes %+v, %v", e, again, err)
		}
	})
}
