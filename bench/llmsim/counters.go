package main

import (
	"encoding/json"
	"net/url"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/vega-proxy/vega-proxy/bench/internal/proc"
)

const maxStreams = 8192

// stream is the record of one response that takes time.
type stream struct {
	Tag         string       `json:"tag"`
	Start       int64        `json:"start_unix_ns"`
	Tokens      atomic.Int64 `json:"-"`
	Bytes       atomic.Int64 `json:"-"`
	Blocked     atomic.Int64 `json:"-"` // ns spent in writes that took over 1 ms
	CancelledAt atomic.Int64 `json:"-"`
	EndedAt     atomic.Int64 `json:"-"`
}

// record adds the response to the list of streams.
func (r *request) record() {
	r.stream = &stream{Tag: string(promptTag(r.body)), Start: time.Now().UnixNano()}
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	if len(r.s.streams) >= maxStreams {
		r.s.streams = append(r.s.streams[:0], r.s.streams[maxStreams/2:]...)
	}
	r.s.streams = append(r.s.streams, r.stream)
}

func (r *request) ended() { r.stream.EndedAt.Store(time.Now().UnixNano()) }

// admin answers /__stats, /__streams?tag=, /__control?knob=value&… and /__reset.
func (r *request) admin() error {
	s := r.s
	switch r.path {
	case "/__stats":
		s.mu.Lock()
		defer s.mu.Unlock()
		return r.marshal(map[string]any{
			"requests": s.requests.Load(), "answered": s.answered.Load(), "tokens": s.tokens.Load(),
			"bytes": s.bytes.Load(), "cancelled": s.cancelled.Load(), "failed": s.failed.Load(),
			"conns": s.conns.Load(), "open_conns": s.open.Load(), "paths": s.paths, "cpu_ns": proc.Self(),
		})
	case "/__streams":
		q, _ := url.ParseQuery(r.query)
		list := []map[string]any{}
		s.mu.Lock()
		for _, st := range s.streams {
			if tag := q.Get("tag"); tag == "" || tag == st.Tag {
				list = append(list, map[string]any{
					"tag": st.Tag, "start_unix_ns": st.Start, "tokens": st.Tokens.Load(), "bytes": st.Bytes.Load(),
					"blocked_ns": st.Blocked.Load(), "cancelled_unix_ns": st.CancelledAt.Load(), "ended_unix_ns": st.EndedAt.Load(),
				})
			}
		}
		s.mu.Unlock()
		return r.marshal(list)
	case "/__control":
		k := *s.defaults.Load()
		q, _ := url.QueryUnescape(r.query)
		if err := k.setAll(q); err != nil {
			return r.status(400, nil, strconv.Quote(err.Error()))
		}
		s.defaults.Store(&k)
		return r.json(`"ok"`)
	case "/__reset":
		for _, c := range []*atomic.Int64{&s.requests, &s.answered, &s.tokens, &s.bytes, &s.cancelled, &s.failed, &s.conns, &s.failTurn} {
			c.Store(0)
		}
		s.mu.Lock()
		s.paths, s.streams = map[string]int64{}, nil
		s.mu.Unlock()
		return r.json(`"ok"`)
	}
	return r.status(404, nil, `"no such admin page"`)
}

func (r *request) marshal(v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return r.json(string(b))
}
