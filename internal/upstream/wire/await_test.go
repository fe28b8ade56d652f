package wire

import "context"

// loopedTransport gives bodies each of whose reads is a turn of the loop's.
type loopedTransport struct{ Transport }

func (t loopedTransport) RoundTrip(ctx context.Context, r *Request) (*Response, error) {
	resp, err := t.Transport.RoundTrip(ctx, r)
	if err == nil {
		if b, ok := resp.Body.(*body); ok {
			resp.Body = &loopedBody{b}
		}
	}
	return resp, err
}

type loopedBody struct{ *body }

func (b *loopedBody) Read(p []byte) (n int, err error) {
	read := false
	_, waitErr := b.Await(func() bool {
		n, err = b.body.Read(p)
		read = true
		return false
	})
	switch {
	case read:
		return n, err
	case waitErr != nil:
		return 0, waitErr
	}
	return b.body.Read(p)
}
