package front

import (
	"net/http"
	"sync/atomic"
	"time"
)

// dateLine is the Date field, made once a second.
type dateLine struct{ last atomic.Pointer[datedLine] }

type datedLine struct {
	second int64
	text   []byte
}

func (d *dateLine) append(to []byte) []byte {
	now := time.Now()
	line := d.last.Load()
	if line == nil || line.second != now.Unix() {
		text := now.UTC().AppendFormat([]byte("Date: "), http.TimeFormat)
		line = &datedLine{now.Unix(), append(text, "\r\n"...)}
		d.last.Store(line)
	}
	return append(to, line.text...)
}
