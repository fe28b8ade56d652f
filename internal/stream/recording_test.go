package stream

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// paper is a client that takes all it is given.
type paper struct {
	bytes.Buffer
	flushes int
	fail    error
}

func (p *paper) Write(b []byte) (int, error) {
	if p.fail != nil {
		return 0, p.fail
	}
	return p.Buffer.Write(b)
}

func (p *paper) FlushError() error {
	p.flushes++
	return nil
}

func reader(t *testing.T, r *Recording) *Reader {
	t.Helper()
	d, ok := r.Reader(t.Context())
	if !ok {
		t.Fatal("no reader")
	}
	return d
}

func TestRecordingReplaysAndFollows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := NewRecording(1<<20, -1)
		r.Append([]byte("one "))
		d := reader(t, r)
		var got paper
		done := make(chan error, 1)
		go func() {
			_, err := d.Copy(&got)
			done <- err
		}()
		synctest.Wait()
		if got.String() != "one " || got.flushes != 1 {
			t.Errorf("before more came: %q, %d flushes", &got, got.flushes)
		}
		r.Append([]byte("two "))
		synctest.Wait()
		if got.String() != "one two " || got.flushes != 2 {
			t.Errorf("after more came: %q, %d flushes", &got, got.flushes)
		}
		r.Append([]byte("three"))
		r.Seal(nil, false)
		if err := <-done; err != nil {
			t.Error(err)
		}
		if got.String() != "one two three" || d.Taken() != 13 {
			t.Errorf("in the end: %q, %d taken", &got, d.Taken())
		}
		if all := string(r.Bytes()); all != "one two three" {
			t.Errorf("kept %q", all)
		}
		late := reader(t, r)
		rest, err := io.ReadAll(late)
		if err != nil || string(rest) != "one two three" {
			t.Errorf("a late reader got %q, %v", rest, err)
		}
	})
}

func TestRecordingIsASource(t *testing.T) {
	var _ Source = (*Reader)(nil)
	r := NewRecording(100, 3)
	d := reader(t, r)
	if d.Ready() {
		t.Error("ready with nothing there")
	}
	r.Append([]byte("abc"))
	if !d.Ready() || d.Wait() != nil {
		t.Error("not ready with something there")
	}
	small := make([]byte, 2)
	if n, err := d.Read(small); n != 2 || err != nil {
		t.Errorf("read %d, %v", n, err)
	}
	r.Seal(errors.New("cut"), true)
	r.Seal(nil, false)
	if n, err := d.Read(small); n != 1 || err != nil {
		t.Errorf("read %d, %v", n, err)
	}
	if n, err := d.Read(small); n != 0 || err == nil || err.Error() != "cut" {
		t.Errorf("read %d, %v", n, err)
	}
	if !d.Ready() || !d.Broken() {
		t.Error("the end is not seen")
	}
	if once, twice := r.Bytes(), r.Bytes(); &once[0] != &twice[0] || cap(once) != 3 {
		t.Error("an answer of known length was copied")
	}
}

func TestReaderEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gone := errors.New("the client went away")
		ctx, leave := context.WithCancelCause(t.Context())
		r := NewRecording(100, -1)
		d, _ := r.Reader(ctx)
		done := make(chan error, 1)
		go func() {
			_, err := d.Copy(&paper{})
			done <- err
		}()
		synctest.Wait()
		leave(gone)
		if err := <-done; !errors.Is(err, gone) {
			t.Errorf("a reader whose context ended: %v", err)
		}
		d.Close()
		d.Close()

		r.Append([]byte("x"))
		broken := errors.New("broken pipe")
		_, err := reader(t, r).Copy(&paper{fail: broken})
		if _, ok := errors.AsType[*WriteError](err); !ok || !errors.Is(err, broken) {
			t.Errorf("a client that takes nothing: %v", err)
		}
		r.Seal(io.ErrUnexpectedEOF, false)
		n, err := reader(t, r).Copy(&paper{})
		if _, ok := errors.AsType[*ReadError](err); !ok || n != 1 || !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("an answer that was cut: %d, %v", n, err)
		}
	})
}

func TestRecordingLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const limit = 100 << 10
		r := NewRecording(limit, -1)
		slow, fast := reader(t, r), reader(t, r)
		piece := bytes.Repeat([]byte("x"), 10<<10)
		for range 10 {
			if !r.Append(piece) {
				t.Fatal("over the limit too soon")
			}
		}
		if err := r.Room(t.Context()); err != nil {
			t.Error(err)
		}
		if r.Append([]byte("y")) || r.Within() {
			t.Error("within the limit, and over it")
		}
		if _, ok := r.Reader(t.Context()); ok {
			t.Error("a reader beyond the limit")
		}
		if r.Bytes() != nil {
			t.Error("bytes beyond the limit")
		}
		if _, err := io.CopyN(io.Discard, fast, limit+1); err != nil {
			t.Fatal(err)
		}
		room := make(chan error, 1)
		go func() { room <- r.Room(t.Context()) }()
		synctest.Wait()
		select {
		case <-room:
			t.Fatal("the writer does not wait for the slow one")
		default:
		}
		if _, err := io.CopyN(io.Discard, slow, 90<<10); err != nil {
			t.Fatal(err)
		}
		if err := <-room; err != nil {
			t.Error(err)
		}
		for range 8 { // what both have had is not kept
			r.Append(piece)
		}
		go func() { room <- r.Room(t.Context()) }()
		if _, err := io.CopyN(io.Discard, fast, 80<<10); err != nil {
			t.Fatal(err)
		}
		r.mu.Lock()
		held := 0
		for _, c := range r.chunks {
			held += cap(c)
		}
		r.mu.Unlock()
		if held > limit+2*lastChunk {
			t.Errorf("%d bytes are kept", held)
		}
		slow.Close()
		if err := <-room; err != nil {
			t.Error(err)
		}
		fast.Close()
		r.Append(piece)
		if len(r.chunks) != 0 {
			t.Error("bytes that nobody reads are kept")
		}
	})
}

func TestRoomEndsWithTheContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := NewRecording(1, -1)
		d := reader(t, r)
		defer d.Close()
		r.Append([]byte("abc"))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := r.Room(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("room: %v", err)
		}
	})
}

// TestRecordingManyReaders: whoever comes whenever, and reads however, gets all of
// the same bytes.
func TestRecordingManyReaders(t *testing.T) {
	for _, limit := range []int64{1 << 20, 3000} {
		var want strings.Builder
		for i := range 500 {
			fmt.Fprintf(&want, "event %d %s\n\n", i, strings.Repeat("x", i%70))
		}
		r := NewRecording(limit, -1)
		var wg sync.WaitGroup
		follow := func(seed uint64) {
			d, ok := r.Reader(t.Context())
			if !ok {
				return
			}
			wg.Go(func() {
				defer d.Close()
				rnd := rand.New(rand.NewPCG(seed, 1))
				if seed%2 == 0 {
					var got paper
					if _, err := d.Copy(&got); err != nil || got.String() != want.String() {
						t.Errorf("reader %d: %d bytes, %v", seed, got.Len(), err)
					}
					return
				}
				var got bytes.Buffer
				p := make([]byte, 1+rnd.IntN(300))
				leaveAt := int(1 << 30)
				if seed%5 == 0 {
					leaveAt = rnd.IntN(want.Len())
				}
				var err error
				read := func() bool {
					var n int
					n, err = d.Read(p)
					got.Write(p[:n])
					return err == nil && rnd.IntN(20) > 0
				}
				for got.Len() < leaveAt {
					switch {
					case seed%4 == 1: // the writer reads, now and then
						turned, awaitErr := d.Await(read)
						if awaitErr != nil {
							err = awaitErr
						} else if !turned {
							read()
						}
					default:
						read()
					}
					if err == io.EOF {
						break
					}
					if err != nil {
						t.Errorf("reader %d: %v", seed, err)
						return
					}
				}
				if !strings.HasPrefix(want.String(), got.String()) || leaveAt == 1<<30 && got.Len() != want.Len() {
					t.Errorf("reader %d got other bytes", seed)
				}
			})
		}
		seed := uint64(0)
		for ev := range strings.SplitAfterSeq(want.String(), "\n\n") {
			if seed < 100 {
				follow(seed)
				seed++
			}
			r.Append([]byte(ev))
			if err := r.Room(t.Context()); err != nil {
				t.Error(err)
			}
		}
		r.Seal(nil, false)
		wg.Wait()
		if limit == 1<<20 && string(r.Bytes()) != want.String() {
			t.Error("other bytes are kept")
		}
	}
}

// What ends the waiting of a reader whose turns others take is told to it.
func TestReaderAwait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		errEnough := errors.New("enough")
		ctx, cancel := context.WithCancelCause(t.Context())
		r := NewRecording(1000, -1)
		d, ok := r.Reader(ctx)
		if !ok {
			t.Fatal("no reader")
		}
		defer d.Close()
		p := make([]byte, 10)
		var got []string
		read := func() bool {
			n, err := d.Read(p)
			got = append(got, string(p[:n]))
			return err == nil
		}
		go func() {
			synctest.Wait()
			r.Append([]byte("a"))
			r.Append([]byte("b"))
			cancel(errEnough)
		}()
		if turned, err := d.Await(read); !turned || !errors.Is(err, errEnough) || !slices.Equal(got, []string{"a", "b"}) {
			t.Errorf("%v, %v, read %q", turned, err, got)
		}
		r.Append([]byte("c")) // is for Read
		if n, err := d.Read(p); string(p[:n]) != "c" || err != nil {
			t.Errorf("%q, %v", p[:n], err)
		}

		d, ok = r.Reader(t.Context())
		if !ok {
			t.Fatal("no second reader")
		}
		defer d.Close()
		if turned, err := d.Await(func() bool { t.Error("a turn for what is there"); return false }); turned || err != nil {
			t.Errorf("with something there: %v, %v", turned, err)
		}
	})
}

// A reading that is cut ends at once, however it waits, and no other does.
func TestReaderCut(t *testing.T) {
	errEnough := errors.New("enough")
	for name, sleep := range map[string]func(*Reader) error{
		"wait":  func(d *Reader) error { _, err := d.Read(make([]byte, 1)); return err },
		"await": func(d *Reader) error { _, err := d.Await(func() bool { return false }); return err },
	} {
		synctest.Test(t, func(t *testing.T) {
			r := NewRecording(100, -1)
			d, _ := r.Reader(t.Context())
			other, _ := r.Reader(t.Context())
			go func() {
				synctest.Wait()
				d.Cut(errEnough)
				r.Append([]byte("a"))
			}()
			_ = sleep(d)
			synctest.Wait()
			if n, err := d.Read(make([]byte, 1)); n > 0 || !errors.Is(err, errEnough) {
				t.Errorf("%s: read %d, %v", name, n, err)
			}
			if n, err := other.Read(make([]byte, 1)); n != 1 || err != nil {
				t.Errorf("%s: the other one read %d, %v", name, n, err)
			}
		})
	}
}

func BenchmarkRecording(b *testing.B) {
	event := bytes.Repeat([]byte("x"), 220)
	b.Run("append alone", func(b *testing.B) {
		b.ReportAllocs()
		r := NewRecording(1<<20, -1)
		for i := 0; b.Loop(); i++ {
			if i%4000 == 0 {
				r = NewRecording(1<<20, -1)
			}
			r.Append(event)
		}
	})
	b.Run("append and read", func(b *testing.B) {
		b.ReportAllocs()
		r := NewRecording(1<<20, -1)
		d, _ := r.Reader(b.Context())
		p := make([]byte, 1024)
		for i := 0; b.Loop(); i++ {
			if i%4000 == 0 {
				r = NewRecording(1<<20, -1)
				d, _ = r.Reader(b.Context())
			}
			r.Append(event)
			if _, err := d.Read(p); err != nil {
				b.Fatal(err)
			}
		}
	})
}
