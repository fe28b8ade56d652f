package doctor

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"syscall"
	"time"
)

// contact is how a server answered that is neither backend nor database.
type contact struct {
	where string // without credentials
	err   error
	took  time.Duration
}

// pingRedis says who we are, which database we mean and PING, in the protocol's
// first version, which every server speaks.
func pingRedis(ctx context.Context, rawURL string) (c *contact) {
	u, err := url.Parse(rawURL)
	if err != nil {
		return &contact{err: errors.New("the URL cannot be read")}
	}
	c = &contact{where: net.JoinHostPort(u.Hostname(), cmp.Or(u.Port(), "6379"))}
	start := time.Now()
	defer func() { c.took = time.Since(start) }()
	dial := (&net.Dialer{}).DialContext
	if u.Scheme == "rediss" {
		dial = (&tls.Dialer{Config: &tls.Config{ServerName: u.Hostname(), MinVersion: tls.VersionTLS12}}).DialContext
	}
	conn, err := dial(ctx, "tcp", c.where)
	if c.err = err; err != nil {
		return c
	}
	defer conn.Close()
	if deadline, ok := ctx.Deadline(); ok {
		if c.err = conn.SetDeadline(deadline); c.err != nil {
			return c
		}
	}
	var commands [][]string
	if password, ok := u.User.Password(); ok {
		auth := []string{"AUTH", password}
		if user := u.User.Username(); user != "" {
			auth = []string{"AUTH", user, password}
		}
		commands = append(commands, auth)
	}
	if database := strings.Trim(u.Path, "/"); database != "" {
		commands = append(commands, []string{"SELECT", database})
	}
	replies := bufio.NewReader(conn)
	for _, command := range append(commands, []string{"PING"}) {
		if c.err = askRedis(conn, replies, command); c.err != nil {
			return c
		}
	}
	return c
}

func askRedis(to io.Writer, from *bufio.Reader, command []string) error {
	var b bytes.Buffer
	fmt.Fprintf(&b, "*%d\r\n", len(command))
	for _, word := range command {
		fmt.Fprintf(&b, "$%d\r\n%s\r\n", len(word), word)
	}
	if _, err := to.Write(b.Bytes()); err != nil {
		return err
	}
	reply, err := from.ReadSlice('\n') // at most as long as the buffer
	if err != nil {
		return err
	}
	switch text := strings.TrimSpace(string(reply)); {
	case text == "+OK", text == "+PONG":
		return nil
	case strings.HasPrefix(text, "-"):
		return errors.New(text[1:])
	default:
		return fmt.Errorf("it does not speak Redis' protocol: it answers %.40q", text)
	}
}

// postNoTraces sends an export without a span: nothing in protobuf is an empty
// message.
func postNoTraces(ctx context.Context, endpoint string) (c *contact) {
	c = &contact{where: endpoint}
	start := time.Now()
	defer func() { c.took = time.Since(start) }()
	u, err := url.Parse(endpoint)
	if err != nil {
		c.err = err
		return c
	}
	if strings.Trim(u.Path, "/") == "" {
		u.Path = "/v1/traces" // as the proxy does
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, u.String(), http.NoBody)
	if err != nil {
		c.err = err
		return c
	}
	req.Header.Set("Content-Type", "application/x-protobuf")
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Do(req)
	if err != nil {
		if e, ok := errors.AsType[*url.Error](err); ok {
			err = e.Err
		}
		c.err = err
		return c
	}
	if c.err = res.Body.Close(); c.err == nil && res.StatusCode >= 300 {
		c.err = fmt.Errorf("it answers an export with status %d", res.StatusCode)
	}
	return c
}

func checkSecondTier(f *facts) []Result {
	if f.cfg.Cache.L2.URL == "" {
		return []Result{skipped("cache.l2.url is not set")}
	}
	return judgeContact(f.second, "the second cache tier", "answers come from the first tier or the upstream only: replicas share nothing",
		"start Redis or Valkey, or correct cache.l2.url: redis://USER:PASSWORD@HOST:6379/0")
}

func checkTraces(f *facts) []Result {
	if f.cfg.Telemetry.OTLPEndpoint == "" {
		return []Result{skipped("telemetry.otlp_endpoint is not set")}
	}
	return judgeContact(f.traces, "the collector of traces", "traces are lost", "start it, or correct telemetry.otlp_endpoint: the port for OTLP over HTTP is 4318, that for gRPC 4317 does not do")
}

func judgeContact(c *contact, what, meaning, remedy string) []Result {
	switch {
	case c == nil || isTimeout(c.err) || errors.Is(c.err, context.DeadlineExceeded):
		return []Result{wrong(what+" did not answer in time", meaning, remedy)}
	case errors.Is(c.err, syscall.ECONNREFUSED):
		return []Result{wrong(fmt.Sprintf("%s at %s refuses connections", what, c.where), meaning, remedy)}
	case c.err != nil:
		return []Result{wrong(fmt.Sprintf("%s at %s: %s", what, c.where, cause(c.err)), meaning, remedy)}
	}
	return []Result{ok(fmt.Sprintf("%s at %s answers, in %s", what, c.where, short(c.took)))}
}
