package l2

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"

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

// explain words an error where the library's own words say too little.
func (t *Tier) explain(err error) string {
	opts := t.client.Options()
	if errors.Is(err, context.DeadlineExceeded) || isTimeout(err) {
		return fmt.Sprintf("no answer from %s in time", opts.Addr)
	}
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return fmt.Sprintf("the certificate of %s is signed by an authority that this machine does not know; name it in SSL_CERT_FILE", opts.Addr)
	}
	if _, ok := errors.AsType[x509.HostnameError](err); ok {
		return fmt.Sprintf("the certificate of %s is not for this name: %v", opts.Addr, err)
	}
	if opts.TLSConfig == nil && (errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET)) {
		return fmt.Sprintf("%s closed the connection without an answer; if it wants TLS, write rediss in place of redis", opts.Addr)
	}
	return err.Error()
}
