package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/vega-proxy/vega-proxy/internal/config"
)

func rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "vega-proxy",
		Short: "A reverse proxy between an application and its LLM backend",
		Long: `vega-proxy stands between an application and its LLM backend (Ollama, vLLM,
llama.cpp's server, OpenAI): point the application's base URL at it. Without a
command it serves.`,
		Args:          cobra.NoArgs,
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE:          runServe,
	}
	config.Flags(root.Flags())
	root.AddCommand(serveCommand(), demoCommand(), validateCommand(), healthcheckCommand(), versionCommand())
	return root
}

func serveCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "serve",
		Short: "Serve (the default)",
		Args:  cobra.NoArgs,
		RunE:  runServe,
	}
	config.Flags(c.Flags())
	return c
}

func runServe(cmd *cobra.Command, _ []string) error {
	cfg, warnings, err := load(cmd.Flags())
	if err != nil {
		return err
	}
	a, err := newApp(cfg, warnings, os.Stderr)
	if err != nil {
		return err
	}
	return a.run(cmd.Context())
}

// load reads the configuration that the flags name, and refuses what this build
// cannot do.
func load(fs *pflag.FlagSet) (*config.Config, []string, error) {
	file, err := fs.GetString("config")
	if err != nil {
		return nil, nil, err
	}
	cfg, warnings, err := config.Load(file, fs, os.Environ())
	if err != nil {
		return nil, warnings, &exitError{exConfig, fmt.Errorf("the configuration cannot be used:\n%w", err)}
	}
	problems, missing := config.CheckBuilt(cfg, unbuilt...)
	if len(problems) > 0 {
		return nil, warnings, &exitError{exConfig, fmt.Errorf("the configuration cannot be used:\n%w", problems)}
	}
	if len(missing) > 0 {
		warnings = append(warnings, "not in this build yet: "+strings.Join(missing, ", "))
	}
	return cfg, warnings, nil
}

func validateCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "validate",
		Short: "Check the configuration and say everything that is wrong with it",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, warnings, err := load(cmd.Flags())
			for _, w := range warnings {
				fmt.Fprintln(cmd.ErrOrStderr(), "warning:", w)
			}
			if err != nil {
				return err
			}
			fmt.Fprintln(cmd.OutOrStdout(), "the configuration is valid")
			return nil
		},
	}
	config.Flags(c.Flags())
	return c
}

func versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  cobra.NoArgs,
		Run: func(cmd *cobra.Command, _ []string) {
			fmt.Fprintf(cmd.OutOrStdout(), "vega-proxy %s %s %s/%s\n", version, runtime.Version(), runtime.GOOS, runtime.GOARCH)
		},
	}
}

func healthcheckCommand() *cobra.Command {
	var url string
	c := &cobra.Command{
		Use:   "healthcheck",
		Short: "Ask a running proxy whether it is ready, for container probes",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if url == "" {
				cfg, _, err := load(cmd.Flags())
				if err != nil {
					return err
				}
				if url, err = readyURL(cfg); err != nil {
					return err
				}
			}
			return checkReady(cmd.Context(), url)
		},
	}
	config.Flags(c.Flags())
	c.Flags().StringVar(&url, "url", "", "`URL` of the readiness probe (default: /readyz of the configured admin listener)")
	return c
}

// readyURL is where the configured proxy answers its readiness probe.
func readyURL(cfg *config.Config) (string, error) {
	listen := cfg.Admin.Listen
	if cfg.Metrics.Listen != "" && !cfg.Admin.OpenMetrics {
		listen = cfg.Metrics.Listen
	}
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return "", fmt.Errorf("the listener %q: %w", listen, err)
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return "http://" + net.JoinHostPort(host, port) + "/readyz", nil
}

func checkReady(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
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
