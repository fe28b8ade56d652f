package wire

import (
	"context"
	"errors"
	"io"
	"testing"
	"time"
)

const switching = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"

var upgrade = &Request{Method: "GET", Target: "/ws", Upgrade: "websocket"}

func TestTunnel(t *testing.T) {
	each(t, func(t *testing.T, im implementation) {
		cfg := im.serve(t, func(_ int, p *peer) {
			p.head()
			p.say(switching + "first")
			time.Sleep(120 * time.Millisecond) // longer than the limits
			p.say(" second")
			io.Copy(p.Conn, p.br) // echo
		})
		cfg.FirstByteTimeout, cfg.IdleTimeout = 50*time.Millisecond, 50*time.Millisecond
		tr := im.open(t, cfg)
		resp := fetch(t, tr, upgrade)
		if resp.Status != 101 || resp.Header.Get("Upgrade") != "websocket" {
			t.Fatalf("got %+v", resp)
		}
		rwc := resp.Body.(io.ReadWriteCloser)
		if err := rwc.(waiter).Wait(); err != nil {
			t.Fatal(err)
		}
		const greeting = "first second"
		buf := make([]byte, len(greeting))
		if _, err := io.ReadFull(rwc, buf); err != nil || string(buf) != greeting {
			t.Fatalf("got %q, %v", buf, err)
		}
		wrote := make(chan error)
		go func() {
			_, err := rwc.Write(filled(1 << 20))
			if half, ok := rwc.(interface{ CloseWrite() error }); ok && err == nil {
				err = half.CloseWrite()
			}
			wrote <- err
		}()
		n, err := io.CopyN(io.Discard, rwc, 1<<20)
		if n != 1<<20 || err != nil {
			t.Errorf("%d bytes came back, %v", n, err)
		}
		if err := <-wrote; err != nil {
			t.Error(err)
		}
		if !im.tls {
			if n, err := rwc.Read(buf); n != 0 || err != io.EOF {
				t.Errorf("after CloseWrite: %d, %v", n, err)
			}
		}
		for range 2 {
			if err := rwc.Close(); err != nil {
				t.Error(err)
			}
		}
		until(t, "the connection is closed", func() bool { return tr.Stats().Open == 0 })
		if _, err := rwc.Read(buf); err == nil {
			t.Error("a closed tunnel was read")
		}
	})
}

func TestTunnelEndsWithTheContext(t *testing.T) {
	each(t, func(t *testing.T, im implementation) {
		gone := make(chan bool)
		tr := im.start(t, func(_ int, p *peer) {
			p.head()
			p.say(switching)
			p.untilGone()
			close(gone)
		})
		ctx, cancel := context.WithCancelCause(t.Context())
		resp, err := tr.RoundTrip(ctx, upgrade)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		time.AfterFunc(20*time.Millisecond, func() { cancel(errGone) })
		if _, err = resp.Body.Read(make([]byte, 1)); !errors.Is(err, errGone) {
			t.Errorf("got %v", err)
		}
		<-gone
	})
}

func TestUpgradeRefused(t *testing.T) {
	each(t, func(t *testing.T, im implementation) {
		tr := im.start(t, says("HTTP/1.1 426 Upgrade Required\r\nContent-Length: 2\r\n\r\nno"))
		resp := fetch(t, tr, upgrade)
		if body := whole(t, resp); resp.Status != 426 || body != "no" {
			t.Errorf("got %d %q", resp.Status, body)
		}
	})
}
