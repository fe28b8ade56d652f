package main

import (
	"context"
	"io"
	"log/slog"
	"math"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/go-json-experiment/json/jsontext"
)

// lineHandler writes records of plain values, which is what each exchange leaves,
// as slog's JSON handler does and in half of its time. All others are that
// handler's.
type lineHandler struct {
	slog.Handler
	w io.Writer // the handler's own; takes a line at a time
}

// maxPooledLine keeps one long line from being held for ever.
const maxPooledLine = 4 << 10

var lineRooms = sync.Pool{New: func() any { return new([]byte) }}

// Handle implements slog.Handler.
func (h lineHandler) Handle(ctx context.Context, r slog.Record) error {
	room := lineRooms.Get().(*[]byte)
	defer lineRooms.Put(room)
	line, ok := appendLine((*room)[:0], &r)
	if cap(line) <= maxPooledLine {
		*room = line
	}
	if !ok {
		return h.Handler.Handle(ctx, r)
	}
	_, err := h.w.Write(line)
	return err
}

// appendLine appends r as a line of JSON, unless it holds something that is not plain.
func appendLine(b []byte, r *slog.Record) (line []byte, ok bool) {
	b = append(b, `{"time":"`...)
	b = r.Time.Round(0).AppendFormat(b, time.RFC3339Nano)
	b = append(b, `","level":"`...)
	b = append(b, r.Level.String()...)
	b = append(b, `","msg":`...)
	b, ok = appendText(b, r.Message)
	ok = ok && !r.Time.IsZero() && r.PC == 0
	r.Attrs(func(a slog.Attr) bool {
		if ok {
			b, ok = appendAttr(b, a)
		}
		return ok
	})
	return append(b, "}\n"...), ok
}

func appendAttr(b []byte, a slog.Attr) (_ []byte, ok bool) {
	if a.Key == "" && a.Value.Kind() == slog.KindGroup {
		for _, inner := range a.Value.Group() {
			if b, ok = appendAttr(b, inner); !ok {
				return b, false
			}
		}
		return b, true
	}
	b = append(b, ',')
	if b, ok = appendText(b, a.Key); !ok {
		return b, false
	}
	b = append(b, ':')
	switch a.Value.Kind() {
	case slog.KindString:
		return appendText(b, a.Value.String())
	case slog.KindInt64:
		return strconv.AppendInt(b, a.Value.Int64(), 10), true
	case slog.KindBool:
		return strconv.AppendBool(b, a.Value.Bool()), true
	case slog.KindFloat64:
		f := a.Value.Float64()
		return strconv.AppendFloat(b, f, 'f', -1, 64), f == 0 || math.Abs(f) >= 1e-6 && math.Abs(f) < 1e21
	}
	return b, false
}

// simple tells whether a text is the same in JSON: nearly all are.
func simple(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}

// appendText appends a JSON string. What is not UTF-8 is for the other handler,
// and what may hold one of the line ends that slog escapes: they begin with 0xE2.
func appendText(b []byte, s string) ([]byte, bool) {
	if simple(s) {
		return append(append(append(b, '"'), s...), '"'), true
	}
	if strings.IndexByte(s, 0xE2) >= 0 {
		return b, false
	}
	b, err := jsontext.AppendQuote(b, s)
	return b, err == nil
}
