package main

import (
	"io"

	"github.com/spf13/cobra"

	"github.com/vega-proxy/vega-proxy/internal/batchlog"
)

func schemaCommand() *cobra.Command {
	var database string
	c := &cobra.Command{
		Use:   "schema",
		Short: "Print the DDL of the conversation log, for those who run it themselves",
		Long: `Prints the DDL of the conversation log for Postgres or, with --dialect, for SQLite.
With --config, --database or --data-dir it is for the database that is configured.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if flags := cmd.Flags(); flags.NFlag() > 0 && !flags.Changed("dialect") {
				cfg, _, err := load(flags)
				if err != nil {
					return err
				}
				database = batchlog.DialectOf(cfg.Batchlog)
			}
			ddl, err := batchlog.Schema(database)
			if err != nil {
				return misused(cmd, err)
			}
			_, err = io.WriteString(cmd.OutOrStdout(), ddl)
			return err
		},
	}
	logFlags(c.Flags())
	c.Flags().StringVar(&database, "dialect", "postgres", "postgres or sqlite")
	return c
}
