package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/vega-proxy/vega-proxy/internal/batchlog"
	"github.com/vega-proxy/vega-proxy/internal/config"
)

func rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "vega-proxy",
		Short: "A reverse proxy between an application and its LLM backend",
		Long: `vega-proxy stands between an application and its LLM backend (Ollama, vLLM,
llama.cpp's server, OpenAI): point the application's base URL at it. Without a
command it serves.`,
		Args:          noArgs,
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE:          runServe,
	}
	config.Flags(root.Flags())
	root.SetFlagErrorFunc(misused)
	root.AddCommand(serveCommand(), demoCommand(), validateCommand(), healthcheckCommand(), versionCommand())
	root.AddCommand(logsCommand(), auditCommand(), schemaCommand(), doctorCommand())
	return root
}

// noArgs refuses what is neither a flag nor a command, with a guess at what was
// meant.
func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	if cmd.HasParent() {
		return misused(cmd, fmt.Errorf("%s takes no arguments, not %q", cmd.CommandPath(), args[0]))
	}
	text := fmt.Sprintf("there is no command %q", args[0])
	if guesses := cmd.SuggestionsFor(args[0]); len(guesses) > 0 {
		text += "; did you mean " + strings.Join(guesses, " or ") + "?"
	}
	return misused(cmd, errors.New(text))
}

// misused is the error of a command line that was not understood.
func misused(cmd *cobra.Command, err error) error {
	return &exitError{exUsage, fmt.Errorf("%w\nsee %s --help", err, cmd.CommandPath())}
}

func serveCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "serve",
		Short: "Serve (the default)",
		Args:  noArgs,
		RunE:  runServe,
	}
	config.Flags(c.Flags())
	return c
}

func runServe(cmd *cobra.Command, _ []string) error {
	hangups := hangups()
	cfg, warnings, err := load(cmd.Flags())
	if err != nil {
		return err
	}
	a, err := newApp(cfg, warnings, os.Stderr)
	if err != nil {
		return err
	}
	a.reloading.source, a.reloading.hangups = sourceOf(cmd.Flags()), hangups
	return a.run(cmd.Context())
}

// load reads the configuration that the flags name.
func load(fs *pflag.FlagSet) (*config.Config, []string, error) {
	file, err := fs.GetString("config")
	if err != nil {
		return nil, nil, err
	}
	cfg, warnings, err := config.Load(file, fs, os.Environ())
	if err != nil {
		return nil, warnings, &exitError{exConfig, fmt.Errorf("the configuration cannot be used:\n%w", err)}
	}
	return cfg, warnings, nil
}

func validateCommand() *cobra.Command {
	var verbose bool
	c := &cobra.Command{
		Use:   "validate",
		Short: "Check the configuration and say everything that is wrong with it",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, warnings, err := load(cmd.Flags())
			for _, w := range warnings {
				fmt.Fprintln(cmd.ErrOrStderr(), "warning:", w)
			}
			if err != nil {
				return err
			}
			fmt.Fprintln(cmd.OutOrStdout(), "the configuration is valid")
			if verbose {
				writeRedactions(cmd.OutOrStdout())
			}
			return nil
		},
	}
	config.Flags(c.Flags())
	c.Flags().BoolVarP(&verbose, "verbose", "v", false, "print the built-in redactions too")
	return c
}

// writeRedactions says what "builtin" in batchlog.redact stands for.
func writeRedactions(w io.Writer) {
	fmt.Fprintln(w, "\nbatchlog.redact: [builtin] takes out:")
	for _, r := range batchlog.BuiltinRedactions() {
		fmt.Fprintf(w, "  %-36s %s\n", r[0], r[1])
	}
	fmt.Fprintln(w, "and the text of JSON members that are named as credentials, such as password and api_key.")
}

func versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  noArgs,
		Run: func(cmd *cobra.Command, _ []string) {
			fmt.Fprintf(cmd.OutOrStdout(), "vega-proxy %s %s %s/%s\n", version, runtime.Version(), runtime.GOOS, runtime.GOARCH)
		},
	}
}

func healthcheckCommand() *cobra.Command {
	var p probe
	c := &cobra.Command{
		Use:   "healthcheck",
		Short: "Ask a running proxy whether it is ready, for container probes",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if p.url == "" {
				cfg, _, err := load(cmd.Flags())
				if err != nil {
					return err
				}
				if p, err = readiness(cfg); err != nil {
					return err
				}
			}
			return p.ask(cmd.Context())
		},
	}
	config.Flags(c.Flags())
	c.Flags().StringVar(&p.url, "url", "", "`URL` of the readiness probe (default: /readyz of the configured admin listener)")
	return c
}
