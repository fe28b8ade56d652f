package doctor

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"syscall"
	"time"
)

// eachBackend makes a check of all upstreams from one of a single upstream.
func eachBackend(judge func(f *facts, b *backend) Result) func(*facts) []Result {
	return func(f *facts) (results []Result) {
		for i, b := range f.backends {
			r := wrong("it could not be looked at in time", "requests to it will hang, too", "look at the network to it")
			if b != nil {
				r = judge(f, b)
			}
			r.Subject = f.cfg.Upstreams[i].Name
			results = append(results, r)
		}
		return results
	}
}

var unreached = skipped("it was not reached")

func checkResolves(_ *facts, b *backend) Result {
	host := b.base.Hostname()
	if b.resolve != nil {
		return wrong(fmt.Sprintf("%s has no address: %s", host, cause(b.resolve)),
			"requests fail with upstream_unreachable", "correct the host in the URL, or the DNS of this machine")
	}
	return ok(host + " has an address")
}

func checkConnects(_ *facts, b *backend) Result {
	host := b.base.Host
	switch {
	case b.resolve != nil:
		return unreached
	case errors.Is(b.dial, syscall.ECONNREFUSED):
		return wrong(host+" refuses connections", "nothing listens there: requests fail with upstream_unreachable",
			"start the backend, let it listen on this address, or correct the port in the URL")
	case isTimeout(b.dial):
		return wrong(fmt.Sprintf("%s did not answer within %s", host, short(b.dialed)),
			"the machine is off, or a firewall drops what is sent: each request waits for connect_timeout first",
			"see that the address is right and reachable from here, and open the port")
	case b.dial != nil:
		return wrong(fmt.Sprintf("no connection to %s: %s", host, cause(b.dial)), "requests fail with upstream_unreachable",
			"correct the URL, or the route to it")
	}
	return ok(fmt.Sprintf("%s takes connections, in %s", host, short(b.dialed)))
}

// soon is when a certificate's end is near.
const soon = 14 * 24 * time.Hour

func checkTLS(_ *facts, b *backend) Result {
	insecure := b.cfg.TLS.InsecureSkipVerify
	_, unknown := errors.AsType[x509.UnknownAuthorityError](b.tls)
	_, otherName := errors.AsType[x509.HostnameError](b.tls)
	invalid, isInvalid := errors.AsType[x509.CertificateInvalidError](b.tls)
	_, plain := errors.AsType[tls.RecordHeaderError](b.tls)
	const meaning = "every request fails with upstream_unreachable"
	switch {
	case b.resolve != nil || b.dial != nil:
		return unreached
	case b.base.Scheme != "https" && b.tls == nil:
		return skipped("the URL is http")
	case plain:
		return wrong("it does not speak TLS", meaning, "write http:// in the URL, or the port where it speaks TLS")
	case unknown:
		return wrong("its certificate is signed by an authority that is not known here", meaning, "name the authority's certificate in tls.ca_file of this upstream")
	case otherName:
		return wrong(fmt.Sprintf("its certificate is for another name: %v", b.tls), meaning, "write the name that is in the certificate into the URL")
	case isInvalid && invalid.Reason == x509.Expired:
		return wrong(fmt.Sprintf("its certificate is expired, or not valid yet: %s", invalid.Detail), meaning, "renew it, and see that the clock of this machine is right")
	case isTimeout(b.tls):
		return wrong(fmt.Sprintf("it takes connections, and did not answer within %s", enough), meaning, "restart the backend, or see what keeps it busy")
	case b.tls != nil:
		return wrong(fmt.Sprintf("TLS could not be agreed on: %v", b.tls), meaning, "see the upstream's tls settings and the server's")
	case insecure:
		return warning("its certificate is not verified", "anyone on the way can pose as it, and sees keys and prompts",
			"remove tls.insecure_skip_verify, and name the authority in tls.ca_file")
	case time.Until(b.expires) < soon:
		return warning("its certificate ends "+b.expires.UTC().Format(time.DateOnly), "every request fails from then on", "renew it")
	}
	return ok("its certificate is valid until " + b.expires.UTC().Format(time.DateOnly))
}

func isTimeout(err error) bool {
	e, is := errors.AsType[net.Error](err)
	return is && e.Timeout()
}

// cause is the innermost of the network's errors, without the addresses that are
// said already.
func cause(err error) string {
	if e, is := errors.AsType[*net.DNSError](err); is {
		return e.Err
	}
	if e, is := errors.AsType[*net.OpError](err); is {
		return e.Err.Error()
	}
	return err.Error()
}
