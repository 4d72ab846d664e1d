package main

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"github.com/godwit-im/godwit/client"
)

// deviceLine is what devices prints of each.
type deviceLine struct {
	Device string `json:"device"`
	Since  int64  `json:"since"` // ms since the Unix epoch
	Online bool   `json:"online"`
	Seen   int64  `json:"seen"` // ms since the Unix epoch; 0: not known
	This   bool   `json:"this"`
}

func (a *app) devicesCommand() *cobra.Command {
	return a.sessionCommand(&cobra.Command{
		Use:   "devices",
		Short: "List your devices, a line each",
		Long: `List your devices, a line each:
{"device":"phone","since":1795417297000,"online":true,"seen":1795417297200,"this":false}.
Times are milliseconds since 1970, 0 when not known. Each run of a command is a
device of its own unless --device names one.`,
		Example: `  godwit devices --token "$TOKEN"`,
		Args:    cobra.NoArgs,
	}, nil, func(ctx context.Context, c *client.Client, _ []string) error {
		devices, err := c.Devices(ctx)
		if err != nil {
			return err
		}
		for _, d := range devices {
			if err := a.printJSON(deviceLine{d.Device, d.Since, d.Online, d.Seen, d.This}); err != nil {
				return err
			}
		}
		return nil
	})
}

func (a *app) logoutCommand() *cobra.Command {
	var all bool
	return a.sessionCommand(&cobra.Command{
		Use:   "logout DEVICE | --all",
		Short: "Log out one of your devices, or all",
		Long: `End the sessions of one of your devices, or of all; they need a newer token to
come back. Prints {}.`,
		Example: `  godwit logout --token "$TOKEN" phone
  godwit logout --token "$TOKEN" --all`,
	}, func(c *cobra.Command) {
		c.Flags().BoolVar(&all, "all", false, "all of them, this one included")
		c.Args = func(_ *cobra.Command, args []string) error {
			if len(args) > 1 || all == (len(args) == 1) {
				return errors.New("give one device, or --all alone")
			}
			return nil
		}
	}, func(ctx context.Context, c *client.Client, args []string) error {
		var err error
		if all {
			err = c.LogoutAll(ctx)
		} else {
			err = c.Logout(ctx, args[0])
		}
		if err != nil {
			return err
		}
		return a.printJSON(doneLine{})
	})
}
