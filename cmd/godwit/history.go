package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"github.com/godwit-im/godwit"
	"github.com/godwit-im/godwit/client"
)

// historyDefault is how many entries history prints unless told.
const historyDefault = 50

func (a *app) historyCommand() *cobra.Command {
	var before, after uint64
	var limit int
	var byGroup bool
	var c *cobra.Command
	c = a.sessionCommand(&cobra.Command{
		Use:   "history CONV",
		Short: "Print a conversation, oldest entry first",
		Long: `Print the newest entries of a conversation, or those before or after a sequence,
oldest first, as tail --json prints them. CONV is a user (bob or u:bob) or a group
(g:ID). Sequences are those of your log; of a channel, the channel's.`,
		Example: `  godwit history --token "$TOKEN" bob
  godwit history --token "$TOKEN" g:g42 --before 7000 --limit 100
  godwit history --token "$TOKEN" g:g42 --gseq --after 0 --limit 0   # all that one may see, from the group's log`,
		Args: cobra.ExactArgs(1),
	}, func(c *cobra.Command) {
		c.Flags().Uint64Var(&before, "before", 0, "entries before the `SEQ`uence")
		c.Flags().Uint64Var(&after, "after", 0, "entries after the `SEQ`uence; 0: from the beginning")
		c.Flags().IntVar(&limit, "limit", historyDefault, "print at most `N` entries; 0: all")
		c.Flags().BoolVar(&byGroup, "gseq", false, "sequences are the group's own")
		c.MarkFlagsMutuallyExclusive("before", "after")
		c.PreRunE = func(*cobra.Command, []string) error {
			if max(before, after) > uint64(godwit.SeqMax) || limit < 0 {
				return errors.New("sequences must be below 2^53, and --limit not negative")
			}
			return nil
		}
	}, func(ctx context.Context, k *client.Client, args []string) error {
		return a.history(ctx, k, args[0], client.Range{
			Before: godwit.Seq(before), After: godwit.Seq(after), Forward: c.Flags().Changed("after"), Limit: limit, Group: byGroup,
		})
	})
	return c
}

func (a *app) history(ctx context.Context, c *client.Client, conv string, r client.Range) error {
	var lines [][]byte
	for e, err := range c.History(ctx, conv, r) {
		if err != nil {
			return err
		}
		if !e.IsSkip() {
			lines = append(lines, eventLine(&e))
		}
	}
	if !r.Forward {
		slices.Reverse(lines)
	}
	out := bufio.NewWriter(a.stdout)
	for _, line := range lines {
		if _, err := out.Write(append(line, '\n')); err != nil {
			return err
		}
	}
	return out.Flush()
}

// eventLine is the ev object of the protocol without its frame.
func eventLine(e *godwit.Entry) []byte {
	line := godwit.AppendEvent(nil, godwit.EncodingJSON, e)
	if e.IsSkip() && e.Seq != 0 {
		return line
	}
	return line[len(`{"ev":`) : len(line)-1]
}

// conversationLine is what conversations prints of each.
type conversationLine struct {
	Conv          string          `json:"conv"`
	Unread        uint64          `json:"unread"`
	Read          uint64          `json:"read"`
	Delivered     uint64          `json:"delivered"`
	Last          json.RawMessage `json:"last"`
	PeerRead      uint64          `json:"peer_read,omitempty"`
	PeerDelivered uint64          `json:"peer_delivered,omitempty"`
	GSeq          uint64          `json:"gseq,omitempty"`
	Name          string          `json:"name,omitempty"`
	Channel       bool            `json:"channel,omitempty"`
	Mute          int64           `json:"mute,omitempty"`
	Pin           bool            `json:"pin,omitempty"`
	Archive       bool            `json:"archive,omitempty"`
}

func (a *app) conversationsCommand() *cobra.Command {
	var limit int
	return a.sessionCommand(&cobra.Command{
		Use:   "conversations",
		Short: "List your conversations, the newest first",
		Long: `List your conversations, the newest first, a line each:
{"conv":"u:bob","unread":3,"read":41,"delivered":44,"last":{"seq":44,"msg":{…}}}.
last is the newest entry as tail --json prints it. What is set of peer_read,
peer_delivered, gseq, name, channel, mute, pin and archive follows.`,
		Example: `  godwit conversations --token "$TOKEN"
  godwit conversations --token "$TOKEN" --limit 10`,
		Args: cobra.NoArgs,
	}, func(c *cobra.Command) {
		c.Flags().IntVar(&limit, "limit", 0, "print at most `N` conversations; 0: all")
	}, func(ctx context.Context, c *client.Client, _ []string) error {
		n := 0
		for item, err := range c.Conversations(ctx) {
			if err != nil {
				return err
			}
			if err := a.printConversation(&item); err != nil {
				return err
			}
			if n++; n == limit {
				break
			}
		}
		return nil
	})
}

func (a *app) printConversation(item *godwit.ConversationItem) error {
	line := conversationLine{
		Conv: string(item.Conv), Unread: item.Unread, Read: uint64(item.Read), Delivered: uint64(item.Delivered), Last: json.RawMessage("null"),
		PeerRead: uint64(item.PeerRead), PeerDelivered: uint64(item.PeerDelivered), GSeq: uint64(item.GSeq),
		Name: item.Name, Channel: item.Channel, Mute: item.Mute, Pin: item.Pin, Archive: item.Archive,
	}
	if item.Last.Seq != 0 || item.Last.GSeq != 0 {
		line.Last = eventLine(&item.Last)
	}
	if err := a.printJSON(line); err != nil {
		return fmt.Errorf("conversation %s: %w", item.Conv, err)
	}
	return nil
}
