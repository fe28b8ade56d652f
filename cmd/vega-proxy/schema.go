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
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ddl, err := batchlog.Schema(database)
			if err != nil {
				return misused(cmd, err)
			}
			_, err = io.WriteString(cmd.OutOrStdout(), ddl)
			return err
		},
	}
	c.Flags().StringVar(&database, "dialect", "postgres", "postgres or sqlite")
	return c
}
