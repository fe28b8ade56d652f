package simllm

import (
	"crypto/sha1"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

const (
	// websocketGUID is the constant of RFC 6455, section 1.3.
	websocketGUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
	// echoIdle ends an upgraded connection on which nothing comes.
	echoIdle = 5 * time.Minute
)

// realtime shakes hands as a WebSocket server and then returns every byte as it
// came. It does not know frames: a client's own masked frames come back.
func (x *exchange) realtime() error {
	if err := x.begin(""); err != nil {
		return err
	}
	key := x.r.Header.Get("Sec-WebSocket-Key")
	if !strings.EqualFold(x.r.Header.Get("Upgrade"), "websocket") || key == "" {
		x.w.Header().Set("Upgrade", "websocket")
		return x.fail(http.StatusUpgradeRequired, "this path answers only a WebSocket handshake")
	}
	conn, buffered, err := x.take()
	if err != nil {
		return x.fail(http.StatusNotImplemented, err.Error())
	}
	x.release = func() { x.giveBack(conn) }
	sum := sha1.Sum([]byte(key + websocketGUID))
	head := fmt.Sprintf("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n",
		base64.StdEncoding.EncodeToString(sum[:]))
	if _, err := io.WriteString(conn, head); err != nil {
		return err
	}
	b := make([]byte, 32<<10)
	for {
		if err := conn.SetDeadline(time.Now().Add(echoIdle)); err != nil {
			return errAnswered // closed by Close
		}
		n, err := buffered.Read(b)
		if n > 0 {
			if _, err := conn.Write(b[:n]); err != nil {
				return err
			}
			x.s.bytes.Add(int64(n))
		}
		if err != nil {
			return errAnswered // the client hung up, or was idle for too long
		}
	}
}
