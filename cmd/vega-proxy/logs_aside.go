package main

import (
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/vega-proxy/vega-proxy/internal/batchlog"
)

// mostListed is more than can be set aside.
const mostListed = 1_000_000

func logsSetAsideCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "set-aside",
		Short: "List the records that the database refused for what they are",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, _, err := load(cmd.Flags())
			if err != nil {
				return err
			}
			found, err := batchlog.ListSetAside(cmd.Context(), cfg.DataDir, mostListed)
			if err != nil {
				return err
			}
			if len(found) == 0 {
				_, err := io.WriteString(cmd.ErrOrStderr(), "nothing is set aside\n")
				return err
			}
			utc, err := cmd.Flags().GetBool("utc")
			if err != nil {
				return err
			}
			return writeSetAside(cmd.OutOrStdout(), found, utc)
		},
	}
	logFlags(c.Flags())
	utcFlag(c.Flags())
	return c
}

func writeSetAside(w io.Writer, found []batchlog.SetAside, utc bool) (err error) {
	const format = "%-19s  %-36s  %9s  %-5s  %s\n"
	fmt.Fprintf(w, format, "SET ASIDE", "ID", "BYTES", "RETRY", "ERROR")
	for _, s := range found {
		at, retry := s.At.Local(), "no"
		if utc {
			at = s.At.UTC()
		}
		if s.Retry {
			retry = "soon"
		}
		_, err = fmt.Fprintf(w, format, at.Format(time.DateTime), s.ID, fmt.Sprint(s.Bytes), retry, short(s.Error, 200))
	}
	return err
}

func logsRetryCommand() *cobra.Command {
	var all bool
	c := &cobra.Command{
		Use:   "retry [ID... | --all]",
		Short: "Have records that were set aside tried again, by the running proxy or by the next start",
		Args: func(cmd *cobra.Command, args []string) error {
			if all == (len(args) > 0) {
				return misused(cmd, errors.New("name the ids, as `vega-proxy logs set-aside` lists them, or --all"))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, ids []string) error {
			cfg, _, err := load(cmd.Flags())
			if err != nil {
				return err
			}
			n, err := batchlog.RetrySetAside(cmd.Context(), cfg.DataDir, ids...)
			if err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%d marked; a running proxy tries them again within %v\n", n, cfg.Batchlog.FlushInterval)
			if n < len(ids) {
				return fmt.Errorf("%d of the %d ids are not set aside", len(ids)-n, len(ids))
			}
			return nil
		},
	}
	logFlags(c.Flags())
	c.Flags().BoolVar(&all, "all", false, "all of them")
	return c
}
