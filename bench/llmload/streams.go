package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/vega-proxy/vega-proxy/bench/internal/hist"
	"github.com/vega-proxy/vega-proxy/bench/internal/proc"
)

// runStream keeps c.conns streams open and times their tokens.
func runStream(c *config) *Result {
	var errs tally
	t := c.template(true)
	start := time.Now()
	begin := start.Add(c.warmup)
	end := begin.Add(c.duration)
	times := make([]streamTimes, c.conns)
	var tokens, streams atomic.Int64
	var wg sync.WaitGroup
	for i := range c.conns {
		wg.Go(func() {
			cl, t, m := c.client(), t.clone(), &times[i]
			defer cl.close()
			m.tokens, m.begin, m.end = &tokens, begin, end
			// Streams that start at once would send all their tokens at once.
			time.Sleep(c.warmup * time.Duration(i) / time.Duration(c.conns))
			for time.Now().Before(end) {
				err := m.one(cl, t, newTag())
				switch {
				case errors.Is(err, errTimeUp):
					return
				case err != nil:
					errs.add(err)
					cl.close()
					time.Sleep(10 * time.Millisecond)
				default:
					streams.Add(1)
				}
			}
		})
	}
	time.Sleep(time.Until(begin))
	n0, s0, u0, t0 := tokens.Load(), streams.Load(), c.target.Read(), time.Now()
	time.Sleep(time.Until(end))
	n1, s1, u1, t1 := tokens.Load(), streams.Load(), c.target.Read(), time.Now()
	rss := c.target.RSS()
	wg.Wait()

	r := &Result{Seconds: t1.Sub(t0).Seconds(), Requests: s1 - s0, Tokens: n1 - n0, RSSAfter: rss}
	r.TPS = float64(r.Tokens) / r.Seconds
	r.RPS = float64(r.Requests) / r.Seconds
	var ttft, gap, transit hist.H
	for i := range times {
		ttft.Merge(&times[i].ttft)
		gap.Merge(&times[i].gap)
		transit.Merge(&times[i].transit)
	}
	r.TTFT, r.Gap, r.Transit = ttft.Summary(), gap.Summary(), transit.Summary()
	errs.report(r)
	return r.withSpend(u0, u1)
}

func (r *Result) withSpend(before, after proc.Usage) *Result {
	r.spend(before, after)
	return r
}

var errTimeUp = errors.New("time is up")

// streamTimes are the times that one goroutine's streams took, of events
// between begin and end.
type streamTimes struct {
	ttft, gap, transit hist.H
	tokens             *atomic.Int64
	begin, end         time.Time
}

// one makes a request and reads its stream to the end, checking that no token
// is lost, repeated or out of order, and that the answer is to this request.
func (m *streamTimes) one(cl *client, t template, tag uint64) error {
	want := t.setTag(tag)
	sent := time.Now()
	if err := cl.send(t.bytes); err != nil {
		return err
	}
	if s := cl.head.Status(); s != 200 {
		b, _ := cl.body.ReadAll(cl.buf[:0])
		return fmt.Errorf("status %d: %.200s", s, b)
	}
	var (
		n      int64
		last   time.Time
		ended  bool
		err    error
		line   []byte // of which the end is yet to come
		buffer [16 << 10]byte
	)
	for {
		var k int
		k, err = cl.body.Read(buffer[:])
		now := time.Now()
		if now.After(m.end) {
			return errTimeUp
		}
		for data := buffer[:k]; len(data) > 0; {
			l, rest, whole := bytes.Cut(data, []byte{'\n'})
			data = rest
			line = append(line, l...)
			if !whole {
				break
			}
			content, end := parseLine(line)
			ended = ended || end
			if len(content) > 0 {
				if n == 0 && !bytes.Contains(content, want) {
					return fmt.Errorf("the stream's first token lacks the prompt's tag: %.200s", line)
				}
				if err := m.token(content, n, now, sent, last); err != nil {
					return err
				}
				last = now
				n++
			}
			line = line[:0]
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return fmt.Errorf("after %d tokens: %w", n, err)
		}
	}
	if !ended {
		return fmt.Errorf("the stream ended without its end mark, after %d tokens", n)
	}
	if cl.head.Close {
		cl.close()
	}
	return nil
}

func (m *streamTimes) token(content []byte, n int64, now, sent, last time.Time) error {
	counts := now.After(m.begin)
	m.tokens.Add(1)
	if counts && n == 0 && sent.After(m.begin) {
		m.ttft.Add(now.Sub(sent))
	}
	if counts && n > 0 && last.After(m.begin) {
		m.gap.Add(now.Sub(last))
	}
	// A stamped token is "<index>@<unix ns> ", after the tag if it is the first.
	index, stamp, stamped := bytes.Cut(bytes.TrimSpace(content), []byte{'@'})
	if !stamped {
		return nil
	}
	index = index[bytes.LastIndexByte(index, ' ')+1:]
	if i, err := strconv.ParseInt(string(index), 10, 64); err != nil || i != n {
		return fmt.Errorf("token %d is %q", n, content)
	}
	if ns, err := strconv.ParseInt(string(stamp[:min(len(stamp), 19)]), 10, 64); err == nil && counts {
		m.transit.Add(time.Duration(now.UnixNano() - ns))
	}
	return nil
}

// parseLine returns the text in a line of a stream, of either kind, and whether
// it marks the stream's end.
func parseLine(line []byte) (content []byte, end bool) {
	line = bytes.TrimSpace(line)
	if bytes.Equal(line, []byte("data: [DONE]")) || bytes.Contains(line, []byte(`"done":true`)) {
		return nil, true
	}
	for _, key := range []string{`"content":"`, `"text":"`, `"response":"`} {
		if i := bytes.Index(line, []byte(key)); i >= 0 {
			content, _, _ = bytes.Cut(line[i+len(key):], []byte{'"'})
			return content, false
		}
	}
	return nil, false
}

// runSlow reads c.conns streams at c.readRate bytes a second, each with a small
// receive buffer, and asks llmsim how much it could write meanwhile. The
// difference lies in the proxy and in the kernel's socket buffers.
func runSlow(c *config) *Result {
	var errs tally
	c.stamp = false
	t := c.template(true)
	r := &Result{Seconds: c.duration.Seconds()}
	var read atomic.Int64
	var mu sync.Mutex
	var wg sync.WaitGroup
	begin, u0 := time.Now(), c.target.Read()
	for range c.conns {
		wg.Go(func() {
			cl, t := c.client(), t.clone()
			defer cl.close()
			tag := string(t.setTag(newTag()))
			if err := cl.send(t.bytes); err != nil {
				errs.add(err)
				return
			}
			cl.conn.SetReadBuffer(64 << 10)
			const tick = 50 * time.Millisecond
			piece := make([]byte, max(c.readRate/int(time.Second/tick), 1))
			for at := begin; time.Since(begin) < c.duration; at = at.Add(tick) {
				time.Sleep(time.Until(at))
				n, err := io.ReadFull(&cl.body, piece)
				read.Add(int64(n))
				if err != nil {
					errs.add(err)
					break
				}
			}
			if s, ok := simStreamByTag(c.sim, tag); ok {
				mu.Lock()
				r.SentBytes += s.Bytes
				mu.Unlock()
			}
		})
	}
	time.Sleep(c.duration - 50*time.Millisecond)
	r.RSSAfter = c.target.RSS()
	wg.Wait()
	r.ReadBytes = read.Load()
	errs.report(r)
	return r.withSpend(u0, c.target.Read())
}

// runCancel opens streams one after another, closes each after a few tokens and
// asks llmsim when it noticed.
func runCancel(c *config) *Result {
	var errs tally
	var told hist.H
	c.conns = 1
	t := c.template(true)
	r := &Result{}
	begin, u0 := time.Now(), c.target.Read()
	for range c.cancels {
		tag := string(t.setTag(newTag()))
		closed, err := c.cancelOne(t)
		if err != nil {
			errs.add(err)
			continue
		}
		r.Requests++
		var s simStream
		for time.Since(closed) < 3*time.Second && s.Cancelled == 0 && s.Ended == 0 {
			time.Sleep(20 * time.Millisecond)
			s, _ = simStreamByTag(c.sim, tag)
		}
		if s.Cancelled == 0 {
			r.Uncancel++
			continue
		}
		told.Add(time.Duration(s.Cancelled - closed.UnixNano()))
	}
	r.Seconds = time.Since(begin).Seconds()
	r.Cancel = told.Summary()
	errs.report(r)
	return r.withSpend(u0, c.target.Read())
}

func (c *config) cancelOne(t template) (closed time.Time, err error) {
	cl := c.client()
	defer cl.close()
	if err := cl.send(t.bytes); err != nil {
		return closed, err
	}
	if s := cl.head.Status(); s != 200 {
		return closed, fmt.Errorf("status %d", s)
	}
	var seen int
	buf := make([]byte, 16<<10)
	for seen < c.cancelAfter {
		n, err := cl.body.Read(buf)
		if err != nil {
			return closed, err
		}
		seen += bytes.Count(buf[:n], []byte{'\n', '\n'}) // events; close enough
		if c.api == "ollama-chat" || c.api == "ollama-generate" {
			seen += bytes.Count(buf[:n], []byte{'\n'})
		}
	}
	closed = time.Now()
	cl.close()
	return closed, nil
}
