package dialect

import (
	"bytes"
	"slices"
)

// endObject sorts the members of the object that ends here.
func (c *canon) endObject() bool {
	top := c.open[len(c.open)-1]
	c.open = c.open[:len(c.open)-1]
	members := c.spans[top.first:]
	c.spans = c.spans[:top.first]
	if len(members) == 0 {
		c.put('}')
		return true
	}
	if !c.sorted(members) && !c.sort(members) {
		return false
	}
	if top.mixed && c.variants(members) {
		return false
	}
	c.out[len(c.out)-1] = '}'
	return true
}

func (c *canon) compare(a, b span) int {
	return bytes.Compare(c.out[a.name:a.nameEnd], c.out[b.name:b.nameEnd])
}

func (c *canon) sorted(members []span) bool {
	for i := 1; i < len(members); i++ {
		if c.compare(members[i-1], members[i]) >= 0 {
			return false
		}
	}
	return true
}

// sort puts the members into the order of their names, and tells whether these
// all differ.
func (c *canon) sort(members []span) bool {
	start, end := members[0].name-1, members[len(members)-1].end
	if c.moved += end - start; c.moved > maxMoved*len(c.in) {
		return false
	}
	slices.SortFunc(members, c.compare)
	if !c.sorted(members) {
		return false
	}
	c.scratch = append(c.scratch[:0], c.out[start:end]...)
	to := start
	for i, m := range members {
		text := c.scratch[m.name-1-start : m.end-start]
		copy(c.out[to:], text)
		members[i] = span{to + 1, to + 1 + m.nameEnd - m.name, to + len(text)}
		to += len(text)
	}
	return true
}

// variants tells whether two names differ only in case. In their canonical
// spelling they do if and only if the names do.
func (c *canon) variants(members []span) bool {
	const few = 24
	if len(members) > few {
		names := make([][]byte, len(members))
		for i, m := range members {
			names[i] = c.out[m.name:m.nameEnd]
		}
		return variants(names)
	}
	for i, a := range members {
		for _, b := range members[:i] {
			if bytes.EqualFold(c.out[a.name:a.nameEnd], c.out[b.name:b.nameEnd]) {
				return true
			}
		}
	}
	return false
}
