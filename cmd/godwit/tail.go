package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/spf13/cobra"

	"github.com/godwit-im/godwit"
	"github.com/godwit-im/godwit/client"
)

func (a *app) tailCommand() *cobra.Command {
	var session sessionFlags
	var since uint64
	var follow, ephemeral, delivered bool
	c := &cobra.Command{
		Use:   "tail",
		Short: "Print a user's log, and follow it",
		Long: `Print the entries of the token's user's log in order, and go on as it grows,
across lost connections and restarts of the server, until ctrl-C.

With --json each line is the ev object of the protocol: {"seq":7,"msg":{…}}, with
receipt, edit, recall, group or settings in place of msg, or
{"skip":{"from":8,"to":9}} for sequences that hold nothing to see any more. Entries
of channels have "gseq" and no "seq". --ephemeral adds {"eph":{"typing":{…}}} and,
of members of small groups, {"eph":{"receipt":{…}}}.`,
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
			cfg.NoDelivered = !delivered
			return work(func(c *cobra.Command, _ []string) error {
				return a.tail(c.Context(), &session, cfg, follow, ephemeral)
			})(c, args)
		},
	}
	session.register(c)
	c.Flags().Uint64Var(&since, "since", 0, "start after the `SEQ`uence; 0: from the beginning (default: what is new; all with --follow=false)")
	c.Flags().BoolVar(&follow, "follow", true, "go on as the log grows; false ends at the newest entry of the start")
	c.Flags().BoolVar(&ephemeral, "ephemeral", false, "print who is typing and the marks of members of small groups, too")
	c.Flags().BoolVar(&delivered, "delivered", false, "mark what is printed as delivered, as an app does")
	return c
}

// lines writes whole lines from several goroutines.
type lines struct {
	mu  sync.Mutex
	out *bufio.Writer
}

func (l *lines) do(write func(out *bufio.Writer) error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return write(l.out)
}

//tidy:long one session from its start to its end
func (a *app) tail(ctx context.Context, session *sessionFlags, cfg client.Config, follow, ephemeral bool) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	whenUnread(a.stdout, cancel)
	out := &lines{out: bufio.NewWriter(a.stdout)}
	if ephemeral {
		cfg.OnTyping = func(n godwit.TypingNotice) {
			_ = out.do(func(out *bufio.Writer) error { return errors.Join(a.printTyping(out, n), out.Flush()) })
		}
		cfg.OnReceipt = func(r godwit.Receipt) {
			_ = out.do(func(out *bufio.Writer) error { return errors.Join(a.printReceipt(out, r), out.Flush()) })
		}
	}
	c, err := session.dial(ctx, cfg)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	flush := func() error { return out.do((*bufio.Writer).Flush) }
	last, reached := c.Head(), godwit.Seq(0)
	if cfg.Since != nil {
		reached = *cfg.Since
	}
	for follow || reached < last {
		item, err := c.Receive(ctx)
		if err != nil {
			if err = errors.Join(err, flush()); ctx.Err() != nil {
				return nil // ctrl-C is how following ends
			}
			return err
		}
		if item.Gap != nil && item.Gap.Conv != "" {
			_, _ = fmt.Fprintf(a.stderr, "godwit: the channel %s is not continued: entries after %d are not shown, the next follows %d\n", item.Gap.Conv, item.Gap.From.Seq, item.Gap.To.Seq)
			continue
		}
		if item.Gap != nil {
			_, _ = fmt.Fprintf(a.stderr, "godwit: the log is not continued (%s): entries after %d are not shown, the next follows %d\n", item.Gap.Reason, item.Gap.From.Seq, item.Gap.To.Seq)
			reached = item.Gap.To.Seq
			continue
		}
		reached = item.At.Seq
		if err := out.do(func(out *bufio.Writer) error { return a.printEntry(out, &item.Entry) }); err != nil {
			return err
		}
		if follow {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	return flush()
}

func (a *app) printTyping(out *bufio.Writer, n godwit.TypingNotice) error {
	if a.json {
		f := godwit.ServerFrame{Kind: godwit.KindEphemeral, Ephemeral: godwit.Ephemeral{IsTyping: true, Typing: n}}
		_, err := out.Write(append(f.AppendTo(nil, godwit.EncodingJSON), '\n'))
		return err
	}
	does := "is typing"
	if n.Stop {
		does = "stopped typing"
	}
	_, err := fmt.Fprintf(out, "… %s %s %s\n", n.Conv, n.User, does)
	return err
}

func (a *app) printReceipt(out *bufio.Writer, r godwit.Receipt) error {
	if a.json {
		f := godwit.ServerFrame{Kind: godwit.KindEphemeral, Ephemeral: godwit.Ephemeral{IsReceipt: true, Receipt: r}}
		_, err := out.Write(append(f.AppendTo(nil, godwit.EncodingJSON), '\n'))
		return err
	}
	_, err := fmt.Fprintf(out, "… %s %s has %d, read %d\n", r.Conv, r.User, r.Delivered, r.Read)
	return err
}

func (a *app) printEntry(out *bufio.Writer, e *godwit.Entry) error {
	if a.json {
		_, err := out.Write(append(eventLine(e), '\n'))
		return err
	}
	if e.IsSkip() {
		_, err := fmt.Fprintf(out, "%d–%d nothing to see any more\n", e.Seq, e.SkipTo)
		return err
	}
	place := strconv.FormatUint(uint64(e.Seq), 10)
	if e.Seq == 0 {
		place = "#" + strconv.FormatUint(uint64(e.GSeq), 10) // of a channel
	}
	_, err := fmt.Fprintf(out, "%s %s\n", place, entryText(e))
	return err
}

// entryText says what an entry holds, on one line but for the breaks of a text.
func entryText(e *godwit.Entry) string {
	m := &e.Msg
	body := fmt.Sprintf("(%d bytes of data)", len(m.Body))
	if m.Text {
		body = strings.ReplaceAll(printable(string(m.Body)), "\n", "\n    ") // else a text could forge an entry
	}
	at := func(ms int64) string { return time.UnixMilli(ms).Format("15:04:05") }
	switch e.Kind {
	case godwit.EntryReceipt:
		r := e.Receipt
		return fmt.Sprintf("%s %s has delivered %d, read %d", r.Conv, r.User, r.Delivered, r.Read)
	case godwit.EntryEdit:
		return fmt.Sprintf("%s %s %s: edited %s to %s", at(m.Time), m.Conv, m.From, m.MID, body)
	case godwit.EntryRecall:
		return fmt.Sprintf("%s %s %s: recalled %s", at(m.Time), m.Conv, m.From, m.MID)
	case godwit.EntryGroup:
		g := e.Group
		text := fmt.Sprintf("%s %s %s: %s", at(g.Time), g.Conv, g.By, g.Do)
		for _, user := range g.Users {
			text += " " + string(user)
		}
		if g.Name != "" {
			text += fmt.Sprintf(" %q", g.Name)
		}
		return fmt.Sprintf("%s (%d members)", text, g.Count)
	case godwit.EntrySettings:
		s := e.Settings
		return fmt.Sprintf("%s mute %d, pin %t, archive %t, deleted %d", s.Conv, s.Mute, s.Pin, s.Archive, s.Deleted)
	}
	if m.Recalled {
		body = "(recalled)"
	}
	return fmt.Sprintf("%s %s %s: %s", at(m.Time), m.Conv, m.From, body)
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
