package batchlog

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"hash"
	"sync"
)

// reducer takes out of conversations what the settings say must not be kept. It
// is safe for concurrent use.
type reducer struct {
	content string // full, hashed or off
	redact  *redactor
	keyed   sync.Pool // of hash.Hash, with the key of this data directory
}

func newReducer(cfg Config, key []byte) (*reducer, error) {
	redact, err := newRedactor(cfg.Redact)
	if err != nil {
		return nil, err
	}
	r := &reducer{content: cfg.Content, redact: redact}
	r.keyed.New = func() any { return hmac.New(sha256.New, key) }
	return r, nil
}

// raw tells whether bodies may be spooled as they are.
func (r *reducer) raw() bool { return r.content == "full" && r.redact == nil }

// tenant is the keyed hash by which callers are told apart.
func (r *reducer) tenant(who string) string {
	if who == "" {
		return ""
	}
	return r.hash(who)[:16]
}

// hash is the HMAC-SHA-256 in hex.
func (r *reducer) hash(text string) string {
	h := r.keyed.Get().(hash.Hash)
	defer r.keyed.Put(h)
	h.Reset()
	h.Write([]byte(text)) // a hash takes everything
	var sum [sha256.Size]byte
	return hex.EncodeToString(h.Sum(sum[:0]))
}

// read reads a record as readRecord does, and takes out what must not be kept.
func (r *reducer) read(rec Record, instance string) *Conversation {
	own := ""
	if r.content != "full" {
		own, rec.Error = rec.Error, ""
	}
	c := readRecord(&rec, instance)
	// What an answer says that is not here, or not all of it, cannot be told from our own words.
	quoted := c.Error != "" || rec.Revision > 0 || rec.Incomplete
	r.reduce(c)
	if own != "" && !quoted {
		c.Error = readableError(&cleaner{}, own)
	}
	return c
}

// reduce changes a conversation that was read.
func (r *reducer) reduce(c *Conversation) {
	if r.redact != nil {
		r.redactAll(c)
	}
	switch r.content {
	case "hashed":
		c.Params = plainParams(c.Params)
		for _, text := range c.texts() {
			if *text != "" {
				*text = r.hash(*text)
			}
		}
		for _, value := range c.values() {
			if len(*value) > 0 {
				*value = json.RawMessage(`"` + r.hash(string(*value)) + `"`)
			}
		}
	case "off":
		c.Params = plainParams(c.Params)
		for _, text := range c.texts() {
			*text = ""
		}
		for _, value := range c.values() {
			*value = nil
		}
	}
}

// texts and values are the content. An error in the words of the upstream may
// quote what it was asked.
func (c *Conversation) texts() []*string {
	return []*string{&c.Prompt, &c.Answer, &c.Reasoning, &c.Error}
}

func (c *Conversation) values() []*json.RawMessage {
	return []*json.RawMessage{&c.Messages, &c.ToolCalls, &c.Choices}
}

// redactAll takes credentials out of everything that somebody else worded.
func (r *reducer) redactAll(c *Conversation) {
	facts := []*string{&c.Endpoint, &c.SessionID, &c.RequestID, &c.Model, &c.ModelReported, &c.FinishReason}
	for _, text := range append(c.texts(), facts...) {
		found := false
		*text, found = r.redact.text(*text)
		c.Altered = c.Altered || found
	}
	for _, value := range append(c.values(), &c.Params) {
		if len(*value) == 0 {
			continue
		}
		found := false
		*value, found = r.redact.json(*value)
		c.Altered = c.Altered || found
	}
}
