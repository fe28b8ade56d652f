package main

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
)

func (a *app) listen() (err error) {
	open := func(key, address string) net.Listener {
		ln, lerr := net.Listen("tcp", address)
		if lerr != nil {
			err = errors.Join(err, fmt.Errorf("%s: %w; end what uses the address, or set another", key, lerr))
			return nil
		}
		return ln
	}
	a.frontLn = open("listen", a.cfg.Listen)
	a.adminLn = open("admin.listen", a.cfg.Admin.Listen)
	if a.cfg.Metrics.Listen != "" {
		a.metricsLn = open("metrics.listen", a.cfg.Metrics.Listen)
	}
	return err
}

// isLoopback tells whether a listener is reached from this machine only.
func isLoopback(addr net.Addr) bool {
	ap, err := netip.ParseAddrPort(addr.String())
	return err == nil && ap.Addr().Unmap().IsLoopback()
}
