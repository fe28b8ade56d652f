package l2

import (
	"errors"
	"net"
	"strings"

	"github.com/redis/go-redis/v9"
)

// isReply tells that Redis answered, if not with what was asked for.
func isReply(err error) bool {
	_, ok := errors.AsType[redis.Error](err)
	return ok
}

// unserving tells of a reply that a server gives which serves nobody like us.
func unserving(err error) bool {
	word, _, _ := strings.Cut(err.Error(), " ")
	switch word {
	case "ERR", // too many clients, no such database
		"NOAUTH", "WRONGPASS", "NOPERM", "LOADING", "READONLY", "MASTERDOWN", "CLUSTERDOWN", "MOVED", "ASK", "MISCONF", "BUSY":
		return true
	}
	return false
}

func isTimeout(err error) bool {
	timeout, ok := errors.AsType[net.Error](err)
	return ok && timeout.Timeout()
}
