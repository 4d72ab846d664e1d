package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/godwit-im/godwit"
	"github.com/godwit-im/godwit/client"
)

// midPrefix may stand before a message id, which may itself begin like a flag.
const midPrefix = "mid:"

// shieldMID puts midPrefix before the message id of edit and recall if the command
// line would take it for flags: one of 64 ids begins with "-".
func shieldMID(args []string) []string {
	at := slices.IndexFunc(args, func(arg string) bool { return arg == "edit" || arg == "recall" })
	if at < 0 {
		return args
	}
	for i, arg := range args[at:] {
		if arg == "--" {
			break
		}
		if _, err := godwit.ParseMessageID(arg); err == nil && strings.HasPrefix(arg, "-") {
			args = slices.Clone(args)
			args[at+i] = midPrefix + arg
			break
		}
	}
	return args
}

func messageID(text string) (godwit.MessageID, error) {
	mid, err := godwit.ParseMessageID(strings.TrimPrefix(text, midPrefix))
	if err != nil {
		return mid, fmt.Errorf("message %q: %w", text, godwit.ErrNoMessage)
	}
	return mid, nil
}

func (a *app) editCommand() *cobra.Command {
	return a.sessionCommand(&cobra.Command{
		Use:   "edit MID TEXT",
		Short: "Give a message of yours another text",
		Long: `Give a message of yours another text, for everyone. MID is the mid that send and
tail --json print. Prints {"seq":7}, where your log has the change.`,
		Example: `  godwit edit --token "$TOKEN" AQIDBAUGBwgJCgsMDQ4PEA 'see you at nine'`,
		Args:    cobra.ExactArgs(2),
	}, nil, func(ctx context.Context, c *client.Client, args []string) error {
		mid, err := messageID(args[0])
		if err != nil {
			return err
		}
		done, err := c.Edit(ctx, mid, client.Message{Text: args[1]})
		if err != nil {
			return err
		}
		return a.printDone(done)
	})
}

func (a *app) recallCommand() *cobra.Command {
	return a.sessionCommand(&cobra.Command{
		Use:   "recall MID",
		Short: "Take a message back, for everyone",
		Long: `Take a message of yours back, for everyone; owner and admins of a group may take
back those of others. Prints {"seq":7}, where your log has the change.`,
		Example: `  godwit recall --token "$TOKEN" AQIDBAUGBwgJCgsMDQ4PEA`,
		Args:    cobra.ExactArgs(1),
	}, nil, func(ctx context.Context, c *client.Client, args []string) error {
		mid, err := messageID(args[0])
		if err != nil {
			return err
		}
		done, err := c.Recall(ctx, mid)
		if err != nil {
			return err
		}
		return a.printDone(done)
	})
}
