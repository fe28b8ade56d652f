package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/vega-proxy/vega-proxy/internal/config"
	"github.com/vega-proxy/vega-proxy/internal/simllm"
)

const demoModel = "demo"

func demoCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "demo",
		Short: "Serve in front of a simulated backend: nothing else is needed",
		Args:  noArgs,
		RunE:  runDemo,
	}
	config.Flags(c.Flags())
	return c
}

func runDemo(cmd *cobra.Command, _ []string) error {
	if cmd.Flags().Changed("upstream") {
		return misused(cmd, errors.New("the demo brings its own backend; for yours run: vega-proxy serve --upstream URL"))
	}
	hangups := hangups()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("the simulated backend: %w", err)
	}
	if err := cmd.Flags().Set("upstream", "http://"+ln.Addr().String()); err != nil {
		return errors.Join(err, ln.Close())
	}
	cfg, warnings, err := load(cmd.Flags())
	if err != nil {
		return errors.Join(err, ln.Close())
	}
	a, err := newApp(cfg, warnings, os.Stderr)
	if err != nil {
		return errors.Join(err, ln.Close())
	}
	a.reloading.source, a.reloading.hangups = sourceOf(cmd.Flags()), hangups
	sim := simllm.New(simllm.Config{Delay: 40 * time.Millisecond, TTFT: 200 * time.Millisecond})
	srv := &http.Server{Handler: sim, ReadHeaderTimeout: 10 * time.Second}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(ln) }()
	a.invite(cmd.OutOrStdout())
	err = a.run(cmd.Context())
	sim.Close()
	stop, cancel := context.WithTimeout(context.WithoutCancel(cmd.Context()), time.Second)
	defer cancel()
	if srv.Shutdown(stop) != nil {
		err = errors.Join(err, srv.Close())
	}
	if e := <-served; !errors.Is(e, http.ErrServerClosed) {
		err = errors.Join(err, fmt.Errorf("the simulated backend: %w", e))
	}
	return err
}

// invite says what can be done now.
func (a *app) invite(w io.Writer) {
	key := a.keyFile
	if key == "" {
		key = "as admin.api_key says"
	}
	fmt.Fprintf(w, `vega-proxy demo: a proxy in front of a simulated backend

  proxy      http://%[1]s   (OpenAI: /v1, Ollama: /api)
  dashboard  http://%[2]s   (and the admin API, /metrics, /readyz)
  admin key  %[3]s

Try it, and watch the words come one by one:

  curl -N http://%[1]s/v1/chat/completions -H 'Content-Type: application/json' \
    -d '{"model":"%[4]s","stream":true,"messages":[{"role":"user","content":"Tell me about the sea."}]}'

Ctrl-C stops it.

`, reachable(a.frontLn.Addr().String()), reachable(a.adminLn.Addr().String()), key, demoModel)
}
