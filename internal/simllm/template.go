package simllm

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"time"
)

// Holes in a template. None of them needs escaping in JSON.
const (
	holeWord = "~word~"
	holeSeq  = "~sequence~"
	holeTime = "~time~"
)

// template is an event marshalled once, with holes for what changes from word
// to word, so that a word costs no reflection.
type template []piece

type piece struct {
	literal []byte
	hole    string // after literal; "" at the end
}

func newTemplate(event any) (template, error) {
	rest, err := json.Marshal(event)
	if err != nil {
		return nil, fmt.Errorf("encode an event: %w", err)
	}
	var t template
	for {
		at, hole := -1, ""
		for _, h := range []string{holeWord, holeSeq, holeTime} {
			if i := bytes.Index(rest, []byte(`"`+h+`"`)); i >= 0 && (at < 0 || i < at) {
				at, hole = i, h
			}
		}
		if at < 0 {
			return append(t, piece{literal: rest}), nil
		}
		t = append(t, piece{rest[:at], hole})
		rest = rest[at+len(hole)+2:]
	}
}

// fill appends the event to b; word is JSON already.
func (t template) fill(b, word []byte, sequence int, at time.Time) []byte {
	for _, p := range t {
		b = append(b, p.literal...)
		switch p.hole {
		case holeWord:
			b = append(b, word...)
		case holeSeq:
			b = strconv.AppendInt(b, int64(sequence), 10)
		case holeTime:
			b = append(b, '"')
			b = at.AppendFormat(b, time.RFC3339Nano)
			b = append(b, '"')
		}
	}
	return b
}

// quote appends s as a JSON string.
func quote(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c >= 0x7f || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&' {
			quoted, err := json.Marshal(s)
			if err != nil { // a string always encodes
				return append(b, `""`...)
			}
			return append(b, quoted...)
		}
	}
	b = append(b, '"')
	b = append(b, s...)
	return append(b, '"')
}
