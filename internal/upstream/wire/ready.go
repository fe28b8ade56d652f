package wire

// Ready tells that Read has something to return, be it the end, without the
// network: what is at hand can go out together.
func (b *body) Ready() bool {
	for b.err == nil && b.at != atEnd && (b.at != atData || b.c.br.Buffered() == 0) {
		moved, err := b.advance()
		if err != nil {
			return true // Read will find it again, and tell
		}
		if !moved {
			return false
		}
	}
	return true
}

// Ready tells that the body has ended: of what net/http holds nothing is known.
func (b *stdBody) Ready() bool { return b.err != nil }
