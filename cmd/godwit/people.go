package main

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"github.com/godwit-im/godwit"
	"github.com/godwit-im/godwit/client"
)

// usersLine is a whole list of users.
type usersLine struct {
	Users []godwit.UserID `json:"users"`
}

type changePeople func(*client.Client, context.Context, client.People) ([]godwit.UserID, error)

// peopleCommand changes a list of users by its arguments and prints the list.
func (a *app) peopleCommand(c *cobra.Command, listing bool, do changePeople, change func(users []godwit.UserID) client.People) *cobra.Command {
	var list bool
	return a.sessionCommand(c, func(c *cobra.Command) {
		if listing {
			c.Flags().BoolVar(&list, "list", false, "change nothing, print the list")
		}
		c.Args = func(_ *cobra.Command, args []string) error {
			if list == (len(args) > 0) {
				return errors.New("requires at least 1 arg(s), or --list alone")
			}
			return nil
		}
		if !listing {
			c.Args = cobra.MinimumNArgs(1)
		}
	}, func(ctx context.Context, c *client.Client, args []string) error {
		users, err := do(c, ctx, change(userIDs(args)))
		if err != nil {
			return err
		}
		if users == nil {
			users = []godwit.UserID{}
		}
		return a.printJSON(usersLine{users})
	})
}

func adding(users []godwit.UserID) client.People   { return client.People{Add: users} }
func removing(users []godwit.UserID) client.People { return client.People{Remove: users} }

func (a *app) blockCommand() *cobra.Command {
	return a.peopleCommand(&cobra.Command{
		Use:   "block USER… | --list",
		Short: "Hear nothing more of users",
		Long: `Hear nothing more of users: what they send does not arrive, and they do not see
whether you are online. They are not told. Prints all whom you block:
{"users":["mallory"]}.`,
		Example: `  godwit block --token "$TOKEN" mallory
  godwit block --token "$TOKEN" --list`,
	}, true, (*client.Client).Block, adding)
}

func (a *app) unblockCommand() *cobra.Command {
	return a.peopleCommand(&cobra.Command{
		Use:     "unblock USER…",
		Short:   "Hear of users again",
		Long:    `Hear of users again. Prints all whom you still block: {"users":[]}.`,
		Example: `  godwit unblock --token "$TOKEN" mallory`,
	}, false, (*client.Client).Block, removing)
}

func (a *app) contactCommand() *cobra.Command {
	c := group(&cobra.Command{
		Use:   "contact",
		Short: "Keep a list of contacts",
		Long: `Keep a list of contacts. Who may start a conversation with you, or see whether
you are online, can depend on it. Each command prints the list: {"users":["bob"]}.`,
		Example: `  godwit contact add --token "$TOKEN" bob carol
  godwit contact list --token "$TOKEN"`,
	})
	c.AddCommand(
		a.peopleCommand(&cobra.Command{
			Use: "add USER…", Short: "Add contacts", Example: `  godwit contact add --token "$TOKEN" bob carol`,
		}, false, (*client.Client).Contacts, adding),
		a.peopleCommand(&cobra.Command{
			Use: "remove USER…", Short: "Remove contacts", Example: `  godwit contact remove --token "$TOKEN" carol`,
		}, false, (*client.Client).Contacts, removing),
		a.contactListCommand(),
	)
	return c
}

func (a *app) contactListCommand() *cobra.Command {
	return a.sessionCommand(&cobra.Command{
		Use: "list", Short: "List your contacts", Example: `  godwit contact list --token "$TOKEN"`, Args: cobra.NoArgs,
	}, nil, func(ctx context.Context, c *client.Client, _ []string) error {
		users, err := c.Contacts(ctx, client.People{})
		if err != nil {
			return err
		}
		return a.printJSON(usersLine{append([]godwit.UserID{}, users...)})
	})
}
