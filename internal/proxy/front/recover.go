package front

import (
	"net/http"
	"runtime/debug"
)

// recover ends a handler's panic: the connection closes, and what was not
// http.ErrAbortHandler is logged.
func (c *conn) recover(again *bool) {
	v := recover()
	if v == nil {
		return
	}
	*again = false
	if v != http.ErrAbortHandler {
		c.s.cfg.Log.Error("panic in the handler", "client", c.remote, "panic", v, "stack", string(debug.Stack()))
	}
}
