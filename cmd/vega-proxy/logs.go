package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/vega-proxy/vega-proxy/internal/batchlog"
	"github.com/vega-proxy/vega-proxy/internal/config"
)

func logsCommand() *cobra.Command {
	c := listing("logs", "List conversations, newest first", noArgs, "")
	c.AddCommand(
		listing("list", "List conversations, newest first, as logs alone does", noArgs, ""),
		listing("search TEXT", "List the conversations with this text in the prompt or the answer", oneText, "search"),
		logsFollowCommand(), logsShowCommand(), logsExportCommand(), logsSetAsideCommand(), logsRetryCommand(),
	)
	return c
}

// listing is a command that lists conversations. Its argument, if it takes one,
// stands for the flag of that name.
func listing(use, short string, args cobra.PositionalArgs, instead string) *cobra.Command {
	var f logFilter
	c := &cobra.Command{
		Use:   use,
		Short: short,
		Long: `Lists the conversations that the configured database has, newest first. A proxy
may be running: what it has not stored yet, flush_interval at most, is not shown.`,
		Args: args,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				f.search = args[0]
			}
			return withLog(cmd, func(ctx context.Context, l *conversationLog) error { return l.list(ctx, &f) })
		},
	}
	logFlags(c.Flags())
	f.flags(c.Flags(), 50)
	utcFlag(c.Flags())
	if instead != "" {
		_ = c.Flags().MarkHidden(instead) // it is there
	}
	return c
}

func oneText(cmd *cobra.Command, args []string) error {
	if len(args) != 1 {
		return misused(cmd, fmt.Errorf("%s takes one text; quote it if it has spaces", cmd.CommandPath()))
	}
	return nil
}

func logsFollowCommand() *cobra.Command {
	var f logFilter
	c := &cobra.Command{
		Use:   "follow",
		Short: "List the newest conversations, then others as they are stored",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withLog(cmd, func(ctx context.Context, l *conversationLog) error { return l.follow(ctx, &f) })
		},
	}
	logFlags(c.Flags())
	f.flags(c.Flags(), 10)
	utcFlag(c.Flags())
	return c
}

func logsShowCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "show ID",
		Short: "Show one conversation as a chat",
		Args:  oneID,
		RunE: func(cmd *cobra.Command, args []string) error {
			return withLog(cmd, func(ctx context.Context, l *conversationLog) error { return l.show(ctx, args[0]) })
		},
	}
	logFlags(c.Flags())
	utcFlag(c.Flags())
	return c
}

func logsExportCommand() *cobra.Command {
	var f logFilter
	c := &cobra.Command{
		Use:   "export",
		Short: "Write conversations as JSON, one a line, oldest first",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withLog(cmd, func(ctx context.Context, l *conversationLog) error { return l.export(ctx, &f) })
		},
	}
	logFlags(c.Flags())
	f.flags(c.Flags(), 0)
	return c
}

func oneID(cmd *cobra.Command, args []string) error {
	if len(args) != 1 {
		return misused(cmd, fmt.Errorf("%s takes one id, as `vega-proxy logs` lists them", cmd.CommandPath()))
	}
	return nil
}

// logFlags registers the flags that say where the conversations are.
func logFlags(fs *pflag.FlagSet) {
	all := pflag.NewFlagSet("", pflag.ContinueOnError)
	config.Flags(all)
	for _, name := range []string{"config", "database", "data-dir"} {
		fs.AddFlag(all.Lookup(name))
	}
}

func utcFlag(fs *pflag.FlagSet) { fs.Bool("utc", false, "show times in UTC, not in local time") }

// logFilter is what the flags ask for.
type logFilter struct {
	since, until, session, model, outcome, search string
	limit                                         int
}

func (f *logFilter) flags(fs *pflag.FlagSet, limit int) {
	fs.StringVar(&f.since, "since", "", "not before this `time`, such as 2026-01-31T10:00:00Z, or back from now, such as 24h")
	fs.StringVar(&f.until, "until", "", "before this `time`, likewise")
	fs.StringVar(&f.session, "session", "", "of the session with this `id`")
	fs.StringVar(&f.model, "model", "", "with this `model`, as it was asked for")
	fs.StringVar(&f.outcome, "outcome", "", "that ended so: ok, client_gone, upstream_error, truncated, timeout, rejected, cancelled or shutting_down")
	fs.StringVar(&f.search, "search", "", "with this `text` in the prompt or the answer")
	fs.IntVar(&f.limit, "limit", limit, "at most so many; 0 is all")
}

var outcomes = []batchlog.Outcome{
	batchlog.OK, batchlog.ClientGone, batchlog.UpstreamError, batchlog.Truncated, batchlog.Timeout, batchlog.Rejected,
	batchlog.Cancelled, batchlog.ShuttingDown,
}

func (f *logFilter) query(now time.Time) (q batchlog.Query, err error) {
	q = batchlog.Query{Session: f.session, Model: f.model, Outcome: f.outcome, Text: f.search}
	if q.Since, err = moment(f.since, now); err != nil {
		return q, fmt.Errorf("--since: %w", err)
	}
	if q.Until, err = moment(f.until, now); err != nil {
		return q, fmt.Errorf("--until: %w", err)
	}
	if f.outcome != "" && !slices.Contains(outcomes, batchlog.Outcome(f.outcome)) {
		return q, fmt.Errorf("--outcome: there is no %q; there are %s", f.outcome, strings.Trim(fmt.Sprint(outcomes), "[]"))
	}
	if f.limit < 0 {
		return q, fmt.Errorf("--limit: %d is below 0", f.limit)
	}
	return q, nil
}

// conversationLog is the log as the commands see it: the database, and nothing
// that only one process may have.
type conversationLog struct {
	cmd     *cobra.Command
	reader  *batchlog.Reader
	dataDir string
	flush   time.Duration
	out     *bufio.Writer
	zone    *time.Location
}

// withLog opens the configured log for a command.
func withLog(cmd *cobra.Command, do func(context.Context, *conversationLog) error) (err error) {
	cfg, _, err := load(cmd.Flags())
	if err != nil {
		return err
	}
	reader, err := batchlog.OpenReader(cfg.Batchlog, cfg.DataDir)
	if err != nil {
		return err
	}
	l := &conversationLog{cmd: cmd, reader: reader, dataDir: cfg.DataDir, flush: cfg.Batchlog.FlushInterval, out: bufio.NewWriterSize(cmd.OutOrStdout(), 64<<10), zone: time.Local}
	if f := cmd.Flags().Lookup("utc"); f != nil && f.Value.String() == "true" {
		l.zone = time.UTC
	}
	err = do(cmd.Context(), l)
	err = errors.Join(err, l.out.Flush(), reader.Close())
	if errors.Is(err, syscall.EPIPE) { // whoever reads has seen enough
		return nil
	}
	return err
}

// pageSize bounds how many conversations are in memory.
const pageSize = 100

// each calls do for what the query finds, at most limit if that is above 0.
func (l *conversationLog) each(ctx context.Context, q batchlog.Query, limit int, do func(*batchlog.Conversation) error) error {
	for done := 0; ; {
		q.Limit = pageSize
		if limit > 0 {
			q.Limit = min(pageSize, limit-done)
		}
		found, next, err := l.reader.Conversations(ctx, q)
		if err != nil {
			return err
		}
		for i := range found {
			if err := do(&found[i]); err != nil {
				return err
			}
		}
		if done += len(found); next == "" || limit > 0 && done >= limit {
			return nil
		}
		q.Cursor = next
	}
}

func (l *conversationLog) list(ctx context.Context, f *logFilter) error {
	q, err := f.query(time.Now())
	if err != nil {
		return misused(l.cmd, err)
	}
	found := false
	err = l.each(ctx, q, f.limit, func(c *batchlog.Conversation) error {
		if !found {
			found = true
			l.head()
		}
		return l.line(c)
	})
	if err == nil && !found {
		_, err = fmt.Fprintln(l.cmd.ErrOrStderr(), "no conversation was found"+l.waiting())
	}
	return err
}

// waiting tells a reader who is early that there will be something to read.
func (l *conversationLog) waiting() string {
	counted, _, err := batchlog.InspectSpool(l.dataDir)
	if err != nil || counted.Spooled == 0 { // audit and doctor say what ails a spool
		return ""
	}
	return fmt.Sprintf("; the spool holds %d, to be stored within %s where a proxy runs", counted.Spooled, l.flush)
}

func (l *conversationLog) export(ctx context.Context, f *logFilter) error {
	q, err := f.query(time.Now())
	if err != nil {
		return misused(l.cmd, err)
	}
	q.OldestFirst = true
	lines := json.NewEncoder(l.out)
	lines.SetEscapeHTML(false)
	return l.each(ctx, q, f.limit, func(c *batchlog.Conversation) error { return lines.Encode(c) })
}

func (l *conversationLog) show(ctx context.Context, id string) error {
	found, _, err := l.reader.Conversations(ctx, batchlog.Query{ID: id})
	switch {
	case errors.Is(err, batchlog.ErrQuery):
		return misused(l.cmd, err)
	case err != nil:
		return err
	case len(found) == 0:
		return fmt.Errorf("there is no conversation %s; a running proxy stores what it has within flush_interval", id)
	}
	l.chat(&found[0])
	return nil
}
