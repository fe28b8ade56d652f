package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/vega-proxy/vega-proxy/internal/config"
	"github.com/vega-proxy/vega-proxy/internal/doctor"
)

func doctorCommand() *cobra.Command {
	var asJSON, all bool
	var o doctor.Options
	var keyFile string
	c := &cobra.Command{
		Use:   "doctor",
		Short: "Look at upstreams, database, disk, ports, limits and clocks, and say what is wrong and what to do",
		Long: `Looks at everything that a proxy with this configuration needs, and says of what
is not right what it means and what to do. Exits with 1 if something is wrong;
what only deserves a look is no failure. It takes three seconds at most, changes
nothing, and may be used while a proxy runs. Run it as the user that runs the
proxy, with the same file, environment and flags.

No model is asked for anything unless --generate says so.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			report, err := examine(cmd, o, keyFile)
			if err != nil {
				return err
			}
			if err := writeReport(cmd.OutOrStdout(), report, asJSON, all); err != nil {
				return err
			}
			if n := report.Counts[doctor.Wrong]; n > 0 {
				return fmt.Errorf("something is wrong, by %d of the doctor's checks", n)
			}
			return nil
		},
	}
	config.Flags(c.Flags())
	c.Flags().BoolVar(&asJSON, "json", false, "print the report as JSON")
	c.Flags().BoolVar(&all, "all", false, "print also what there was nothing to look at for")
	c.Flags().BoolVar(&o.Generate, "generate", false, "ask a model of each upstream for a few words, to see whether they come one by one; that may load a model, and takes up to a minute")
	c.Flags().StringVar(&keyFile, "key-file", "", "show upstreams without a configured credential the key in this `file`, as a client would")
	return c
}

// examine reports on a configuration that cannot be used, too.
func examine(cmd *cobra.Command, o doctor.Options, keyFile string) (doctor.Report, error) {
	if keyFile != "" {
		key, err := os.ReadFile(keyFile)
		if err != nil {
			return doctor.Report{}, fmt.Errorf("--key-file: %w", err)
		}
		o.Key = strings.TrimSpace(string(key))
	}
	cfg, warnings, err := load(cmd.Flags())
	if problems, ok := errors.AsType[config.Problems](err); ok {
		return doctor.Refused(problems), nil
	}
	if err != nil {
		return doctor.Report{}, err
	}
	if o.File, err = cmd.Flags().GetString("config"); err != nil {
		return doctor.Report{}, err
	}
	o.Warnings, o.Admin = warnings, "http://"+reachable(cfg.Admin.Listen)
	return doctor.Examine(cmd.Context(), cfg, o), nil
}

func writeReport(w io.Writer, r doctor.Report, asJSON, all bool) error {
	if !asJSON {
		return r.WriteText(w, all)
	}
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(r)
}
