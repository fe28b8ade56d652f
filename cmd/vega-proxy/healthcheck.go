package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/vega-proxy/vega-proxy/internal/config"
)

// probe is a question to a running proxy.
type probe struct {
	url string
	key string // empty where none is needed
}

// readiness is how the configured proxy is asked whether it is ready.
func readiness(cfg *config.Config) (probe, error) {
	listen, key := cfg.Admin.Listen, ""
	switch {
	case cfg.Admin.OpenMetrics:
	case cfg.Metrics.Listen != "":
		listen = cfg.Metrics.Listen
	case cfg.Admin.APIKey != "":
		key = cfg.Admin.APIKey
	default:
		text, err := os.ReadFile(filepath.Join(cfg.DataDir, "admin-key"))
		if err != nil {
			return probe{}, fmt.Errorf("the probe needs the admin key, since admin.open_metrics is false: %w", err)
		}
		key = strings.TrimSpace(string(text))
	}
	return probe{"http://" + reachable(listen) + "/readyz", key}, nil
}

// reachable is the address at which this machine reaches a listener.
func reachable(listen string) string {
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return listen
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, port)
}

// ask returns nil if the proxy is ready.
func (p probe) ask(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.url, nil)
	if err != nil {
		return err
	}
	if p.key != "" {
		req.Header.Set("X-Api-Key", p.key)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Do(req)
	if err != nil {
		return fmt.Errorf("the proxy does not answer: %w", err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, 1<<10))
	if err != nil {
		return fmt.Errorf("the proxy's answer broke off: %w", err)
	}
	if res.StatusCode != http.StatusOK {
		return errors.New("the proxy is not ready: " + res.Status + " " + strings.TrimSpace(string(body)))
	}
	return nil
}
