package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/godwit-im/godwit"
	"github.com/godwit-im/godwit/client"
)

// presenceLine is what presence --json prints per user.
type presenceLine struct {
	User     string `json:"user"`
	Online   bool   `json:"online"`
	LastSeen int64  `json:"last_seen"` // ms since the Unix epoch; 0: not known
}

func (a *app) presenceCommand() *cobra.Command {
	var session sessionFlags
	c := &cobra.Command{
		Use:   "presence USER…",
		Short: "Say which users are online",
		Long: `Say which users are online, a line each in the order given. With --json:
{"user":"bob","online":true,"last_seen":1795417297200}, the time in milliseconds
since 1970, 0 when it is not known.`,
		Example: `  godwit presence --token "$TOKEN" bob carol
  godwit presence --token "$TOKEN" bob --json`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			cfg, err := session.config(a.environ)
			if err != nil {
				return err
			}
			return work(func(c *cobra.Command, users []string) error { return a.presence(c.Context(), &session, cfg, users) })(c, args)
		},
	}
	session.register(c)
	return c
}

func (a *app) presence(ctx context.Context, session *sessionFlags, cfg client.Config, names []string) error {
	var users []godwit.UserID
	for _, name := range names {
		user, err := godwit.ParseUserID(name)
		if err != nil {
			return fmt.Errorf("user %q: %w", name, godwit.ErrBadUser)
		}
		users = append(users, user)
	}
	ctx, cancel := context.WithTimeout(ctx, session.timeout)
	defer cancel()
	c, err := session.dial(ctx, cfg)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	items, err := c.Presence(ctx, users...)
	if err != nil {
		return err
	}
	for _, item := range items {
		if err := a.printPresence(item); err != nil {
			return err
		}
	}
	return nil
}

func (a *app) printPresence(item godwit.PresenceItem) (err error) {
	switch {
	case a.json:
		return a.printJSON(presenceLine{string(item.User), item.Online, item.LastSeen})
	case item.Online:
		_, err = fmt.Fprintf(a.stdout, "%s online\n", item.User)
	case item.LastSeen > 0:
		_, err = fmt.Fprintf(a.stdout, "%s offline, last seen %s\n", item.User, time.UnixMilli(item.LastSeen).Format(time.DateTime))
	default:
		_, err = fmt.Fprintf(a.stdout, "%s offline\n", item.User)
	}
	return err
}
