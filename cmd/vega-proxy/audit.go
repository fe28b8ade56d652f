package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/vega-proxy/vega-proxy/internal/batchlog"
)

func auditCommand() *cobra.Command {
	var format string
	c := &cobra.Command{
		Use:   "audit",
		Short: "Check that no conversation is missing: what was accepted is stored, on its way, set aside or counted as dropped",
		Long: `Adds up what became of the conversations since the data directory was made, and
counts the rows in the database beside it. Exits with 1 if something is missing.
A proxy may be running.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if format != "text" && format != "json" {
				return misused(cmd, fmt.Errorf("--format: there is no %q; there are text and json", format))
			}
			cfg, _, err := load(cmd.Flags())
			if err != nil {
				return err
			}
			a, err := batchlog.AuditDir(cmd.Context(), cfg.Batchlog, cfg.DataDir)
			if err != nil {
				return err
			}
			write := a.WriteText
			if format == "json" {
				write = a.WriteJSON
			}
			if err := write(cmd.OutOrStdout()); err != nil {
				return err
			}
			if !a.Balanced {
				return errors.New("the log does not add up: conversations are missing")
			}
			return nil
		},
	}
	logFlags(c.Flags())
	c.Flags().StringVar(&format, "format", "text", "text or json")
	return c
}
