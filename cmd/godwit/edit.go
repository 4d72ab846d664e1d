package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/godwit-im/godwit"
	"github.com/godwit-im/godwit/client"
)

func messageID(text string) (godwit.MessageID, error) {
	mid, err := godwit.ParseMessageID(text)
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
