package dialect

import (
	"bytes"
	"encoding/binary"
	"math/bits"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// text rewrites the string that begins here. Only what must be escaped is, and
// by the shortest escape.
func (c *canon) text() bool {
	c.put('"')
	c.i++
	for {
		from := c.i
		c.i = unremarkable(c.in, from)
		for c.i < len(c.in) && c.in[c.i] >= utf8.RuneSelf {
			r, size := utf8.DecodeRune(c.in[c.i:])
			if r == utf8.RuneError && size == 1 {
				return false
			}
			c.i += size
		}
		c.out = append(c.out, c.in[from:c.i]...)
		if c.i == len(c.in) {
			return false
		}
		switch ch := c.in[c.i]; {
		case ch == '"':
			c.i++
			c.put('"')
			return true
		case ch == '\\':
			if !c.escape() {
				return false
			}
		case ch < ' ':
			return false
		}
	}
}

// escape rewrites one escape.
func (c *canon) escape() bool {
	if c.i++; c.i == len(c.in) {
		return false
	}
	ch := c.in[c.i]
	c.i++
	switch ch {
	case '"', '\\', 'b', 'f', 'n', 'r', 't':
		c.out = append(c.out, '\\', ch)
		return true
	case '/':
		c.put('/')
		return true
	case 'u':
	default:
		return false
	}
	r, ok := c.hex()
	if !ok {
		return false
	}
	if utf16.IsSurrogate(r) {
		if !bytes.HasPrefix(c.in[c.i:], []byte(`\u`)) {
			return false
		}
		c.i += 2
		low, ok := c.hex()
		if !ok {
			return false
		}
		if r = utf16.DecodeRune(r, low); r == utf8.RuneError {
			return false
		}
	}
	c.char(r)
	return true
}

// hex reads the four digits of an escape.
func (c *canon) hex() (r rune, ok bool) {
	if len(c.in)-c.i < 4 {
		return 0, false
	}
	for _, ch := range c.in[c.i : c.i+4] {
		switch {
		case '0' <= ch && ch <= '9':
			ch -= '0'
		case 'a' <= ch|0x20 && ch|0x20 <= 'f':
			ch = ch | 0x20 - 'a' + 10
		default:
			return 0, false
		}
		r = r<<4 | rune(ch)
	}
	c.i += 4
	return r, true
}

// char writes a character that was escaped.
func (c *canon) char(r rune) {
	const digits = "0123456789abcdef"
	switch r {
	case '"', '\\':
		c.out = append(c.out, '\\', byte(r))
	case '\b':
		c.out = append(c.out, `\b`...)
	case '\f':
		c.out = append(c.out, `\f`...)
	case '\n':
		c.out = append(c.out, `\n`...)
	case '\r':
		c.out = append(c.out, `\r`...)
	case '\t':
		c.out = append(c.out, `\t`...)
	default:
		if r < ' ' {
			c.out = append(c.out, '\\', 'u', '0', '0', digits[r>>4], digits[r&15])
			return
		}
		c.out = utf8.AppendRune(c.out, r)
	}
}

// digits passes over digits and returns them.
func (c *canon) digits() []byte {
	from := c.i
	for c.i < len(c.in) && '0' <= c.in[c.i] && c.in[c.i] <= '9' {
		c.i++
	}
	return c.in[from:c.i]
}

// at tells whether the next byte is one of two, and passes over it.
func (c *canon) at(a, b byte) bool {
	if c.i < len(c.in) && (c.in[c.i] == a || c.in[c.i] == b) {
		c.i++
		return true
	}
	return false
}

const (
	plainDigits    = 20 // a whole number of no more digits is written out
	exponentDigits = 17 // beyond these, nothing is meant
)

// number rewrites the number that begins here, by its value: its sign, its
// digits without zeros around them, and the power of ten they are times.
func (c *canon) number() bool {
	negative := c.at('-', '-')
	whole := c.digits()
	if len(whole) == 0 || whole[0] == '0' && len(whole) > 1 {
		return false
	}
	var fraction, power []byte
	if c.at('.', '.') {
		if fraction = c.digits(); len(fraction) == 0 {
			return false
		}
	}
	sink := false // the exponent is negative
	exponential := c.at('e', 'E')
	if exponential {
		if sink = c.at('-', '-'); !sink {
			c.at('+', '+')
		}
		if power = c.digits(); len(power) == 0 {
			return false
		}
	}
	start := len(c.out)
	if negative {
		c.put('-')
	}
	first := len(c.out)
	c.out = append(c.out, whole...)
	if len(fraction) == 0 && !exponential && len(whole) <= plainDigits {
		if negative && whole[0] == '0' {
			c.out = append(c.out[:start], '0')
		}
		return true
	}
	c.out = append(c.out, fraction...)
	digits := bytes.TrimLeft(c.out[first:], "0")
	if len(digits) == 0 {
		c.out = append(c.out[:start], '0')
		return true
	}
	power = bytes.TrimLeft(power, "0")
	if len(power) > exponentDigits {
		return false
	}
	exponent := int64(0)
	for _, ch := range power {
		exponent = exponent*10 + int64(ch-'0')
	}
	if sink {
		exponent = -exponent
	}
	length := len(digits)
	digits = bytes.TrimRight(digits, "0")
	exponent += int64(length - len(digits) - len(fraction))
	n := copy(c.out[first:], digits)
	c.out = c.out[:first+n]
	if exponent >= 0 && int64(n)+exponent <= plainDigits {
		for range exponent {
			c.put('0')
		}
		return true
	}
	c.put('e')
	c.out = strconv.AppendInt(c.out, exponent, 10)
	return true
}

// unremarkable returns the first place at or behind i of a byte that cannot be
// copied as it is: a quote, a backslash, a control character, or no ASCII.
func unremarkable(b []byte, i int) int {
	for ; i+16 <= len(b); i += 16 {
		first := remarkable(binary.LittleEndian.Uint64(b[i:]))
		second := remarkable(binary.LittleEndian.Uint64(b[i+8:]))
		switch {
		case first != 0:
			return i + bits.TrailingZeros64(first)/8
		case second != 0:
			return i + 8 + bits.TrailingZeros64(second)/8
		}
	}
	for i < len(b) && b[i] >= ' ' && b[i] != '"' && b[i] != '\\' && b[i] < 0x80 {
		i++
	}
	return i
}

// remarkable looks at eight bytes at once. The lowest bit that it sets is in the
// first of them that is remarkable: below it, no subtraction borrows.
func remarkable(w uint64) uint64 {
	const (
		ones  = 0x0101010101010101
		highs = 0x8080808080808080
	)
	return ((w - ones*' ') | ((w ^ ones*'"') - ones) | ((w ^ ones*'\\') - ones) | w) & highs
}
