package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/godwit-im/godwit"
	"github.com/godwit-im/godwit/client"
)

// doneLine is what a command prints that has nothing else to tell.
type doneLine struct {
	Seq  uint64 `json:"seq,omitempty"`  // in the user's log
	GSeq uint64 `json:"gseq,omitempty"` // in the group's log
	Dup  bool   `json:"dup,omitempty"`
}

func (a *app) printDone(d godwit.Done) error {
	return a.printJSON(doneLine{uint64(d.Seq), uint64(d.GSeq), d.Dup})
}

func (a *app) markCommand() *cobra.Command {
	var read, delivered uint64
	return a.sessionCommand(&cobra.Command{
		Use:   "mark CONV",
		Short: "Mark a conversation as read or delivered up to a sequence",
		Long: `Mark a conversation as read or delivered up to a sequence of your log (of a
channel: of the channel), on all your devices; the sender sees it. A mark that is
behind changes nothing. Prints {"seq":7}, where your log has the mark.`,
		Example: `  godwit mark --token "$TOKEN" bob --read 41
  godwit mark --token "$TOKEN" g:g42 --delivered 7121`,
		Args: cobra.ExactArgs(1),
	}, func(c *cobra.Command) {
		c.Flags().Uint64Var(&read, "read", 0, "seen up to the `SEQ`uence")
		c.Flags().Uint64Var(&delivered, "delivered", 0, "arrived up to the `SEQ`uence")
		c.MarkFlagsOneRequired("read", "delivered")
		c.PreRunE = func(*cobra.Command, []string) error {
			if max(read, delivered) > uint64(godwit.SeqMax) {
				return errors.New("--read and --delivered must be below 2^53")
			}
			return nil
		}
	}, func(ctx context.Context, c *client.Client, args []string) error {
		done, err := c.Mark(ctx, args[0], client.Marks{Read: godwit.Seq(read), Delivered: godwit.Seq(delivered)})
		if err != nil {
			return err
		}
		return a.printDone(done)
	})
}

func (a *app) typingCommand() *cobra.Command {
	var stop bool
	return a.sessionCommand(&cobra.Command{
		Use:   "typing CONV",
		Short: "Tell the others of a conversation that you are writing",
		Long: `Tell the others of a conversation that you are writing. It reaches those who are
there now and is never stored; tail --ephemeral shows it.`,
		Example: `  godwit typing --token "$TOKEN" bob
  godwit typing --token "$TOKEN" g:g42 --stop`,
		Args: cobra.ExactArgs(1),
	}, func(c *cobra.Command) {
		c.Flags().BoolVar(&stop, "stop", false, "you have stopped")
	}, func(ctx context.Context, c *client.Client, args []string) error {
		if _, err := godwit.ParseConversationID(args[0]); err != nil {
			return fmt.Errorf("conversation %q: %w", args[0], godwit.ErrBadConv)
		}
		if err := c.Connect(ctx); err != nil {
			return fmt.Errorf("%w: %w", errUnreachable, err)
		}
		if err := c.Typing(ctx, args[0], stop); err != nil {
			return err
		}
		_, _, err := c.Sync(ctx, c.Head(), 1) // its answer comes when the server has the other, too
		return err
	})
}

func (a *app) conversationCommand() *cobra.Command {
	var mute time.Duration
	var pin, archive bool
	var remove uint64
	var c *cobra.Command
	c = a.sessionCommand(&cobra.Command{
		Use:   "conversation CONV",
		Short: "Mute, pin, archive or delete a conversation, for you alone",
		Long: `Change what you alone see of a conversation, on all your devices. What no flag
names stays as it is.`,
		Example: `  godwit conversation --token "$TOKEN" bob --mute 8h --pin
  godwit conversation --token "$TOKEN" bob --mute 0 --pin=false --archive
  godwit conversation --token "$TOKEN" bob --delete 918291     # entries up to there`,
		Args: cobra.ExactArgs(1),
	}, func(c *cobra.Command) {
		c.Flags().DurationVar(&mute, "mute", 0, "silent for so long; 0: not silent")
		c.Flags().BoolVar(&pin, "pin", false, "keep it at the top; =false: no more")
		c.Flags().BoolVar(&archive, "archive", false, "put it away; =false: take it back")
		c.Flags().Uint64Var(&remove, "delete", 0, "remove the entries up to the `SEQ`uence")
		c.MarkFlagsOneRequired("mute", "pin", "archive", "delete")
		c.PreRunE = func(*cobra.Command, []string) error {
			if remove > uint64(godwit.SeqMax) || mute < 0 {
				return errors.New("--delete must be below 2^53, and --mute not negative")
			}
			return nil
		}
	}, func(ctx context.Context, k *client.Client, args []string) error {
		s := client.ConversationSettings{Delete: godwit.Seq(remove)}
		if c.Flags().Changed("mute") {
			s.Mute = new(time.Time)
			if mute > 0 {
				*s.Mute = time.Now().Add(mute)
			}
		}
		if c.Flags().Changed("pin") {
			s.Pin = &pin
		}
		if c.Flags().Changed("archive") {
			s.Archive = &archive
		}
		done, err := k.SetConversation(ctx, args[0], s)
		if err != nil {
			return err
		}
		return a.printDone(done)
	})
	return c
}
