package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"

	"github.com/spf13/cobra"

	"github.com/godwit-im/godwit"
	"github.com/godwit-im/godwit/client"
)

func (a *app) tailCommand() *cobra.Command {
	var session sessionFlags
	var since uint64
	var follow bool
	c := &cobra.Command{
		Use:   "tail",
		Short: "Print a user's log, and follow it",
		Long: `Print the entries of the token's user's log in order, and go on as it grows,
across lost connections and restarts of the server, until ctrl-C.

With --json each line is the ev object of the protocol: {"seq":7,"msg":{…}}, or
{"skip":{"from":8,"to":9}} for sequences that hold nothing to see any more.`,
		Example: `  godwit tail --token "$TOKEN"                                  # what arrives from now on
  godwit tail --token "$TOKEN" --since 0 --json                 # everything, and what arrives
  godwit tail --token "$TOKEN" --since 41 --follow=false --json # 42 to the newest, then end`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, args []string) error {
			cfg, err := session.config(a.environ)
			if err != nil {
				return err
			}
			if since > uint64(godwit.SeqMax) {
				return fmt.Errorf("--since must be below 2^53")
			}
			if c.Flags().Changed("since") || !follow {
				start := godwit.Seq(since)
				cfg.Since = &start
			}
			return work(func(c *cobra.Command, _ []string) error { return a.tail(c.Context(), &session, cfg, follow) })(c, args)
		},
	}
	session.register(c)
	c.Flags().Uint64Var(&since, "since", 0, "start after the `SEQ`uence; 0: from the beginning (default: what is new; all with --follow=false)")
	c.Flags().BoolVar(&follow, "follow", true, "go on as the log grows; false ends at the newest entry of the start")
	return c
}

func (a *app) tail(ctx context.Context, session *sessionFlags, cfg client.Config, follow bool) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	whenUnread(a.stdout, cancel)
	c, err := session.dial(ctx, cfg)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	out := bufio.NewWriter(a.stdout)
	last, reached := c.Head(), godwit.Seq(0)
	if cfg.Since != nil {
		reached = *cfg.Since
	}
	for follow || reached < last {
		item, err := c.Receive(ctx)
		if err != nil {
			if err = errors.Join(err, out.Flush()); ctx.Err() != nil {
				return nil // ctrl-C is how following ends
			}
			return err
		}
		if item.Gap != nil {
			_, _ = fmt.Fprintf(a.stderr, "godwit: the log is not continued (%s): entries after %d are not shown, the next follows %d\n", item.Gap.Reason, item.Gap.From.Seq, item.Gap.To.Seq)
			reached = item.Gap.To.Seq
			continue
		}
		reached = max(item.Entry.Seq, item.Entry.SkipTo)
		if err := a.printEntry(out, &item.Entry); err != nil {
			return err
		}
		if follow {
			if err := out.Flush(); err != nil {
				return err
			}
		}
	}
	return out.Flush()
}

func (a *app) printEntry(out *bufio.Writer, e *godwit.Entry) error {
	if a.json {
		line := godwit.AppendEvent(nil, godwit.EncodingJSON, e)
		if !e.IsSkip() {
			line = line[len(`{"ev":`) : len(line)-1]
		}
		_, err := out.Write(append(line, '\n'))
		return err
	}
	if e.IsSkip() {
		_, err := fmt.Fprintf(out, "%d–%d nothing to see any more\n", e.Seq, e.SkipTo)
		return err
	}
	m := &e.Msg
	body := fmt.Sprintf("(%d bytes of data)", len(m.Body))
	if m.Text {
		body = strings.ReplaceAll(printable(string(m.Body)), "\n", "\n    ") // else a text could forge an entry
	}
	_, err := fmt.Fprintf(out, "%d %s %s %s: %s\n", e.Seq, time.UnixMilli(m.Time).Format("15:04:05"), m.Conv, m.From, body)
	return err
}

// printable keeps a stranger's text from steering the reader's terminal. The
// joiners U+200C and U+200D are part of words and emoji, and steer nothing.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n', r == '\t', r == '\u200c', r == '\u200d', unicode.IsGraphic(r):
			return r
		}
		return unicode.ReplacementChar
	}, text)
}
