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
	var watch bool
	c := &cobra.Command{
		Use:   "presence USER…",
		Short: "Say which users are online",
		Long: `Say which users are online, a line each in the order given. With --json:
{"user":"bob","online":true,"last_seen":1795417297200}, the time in milliseconds
since 1970, 0 when it is not known. With --watch go on, and print a line whenever
one of them comes or goes, until ctrl-C.`,
		Example: `  godwit presence --token "$TOKEN" bob carol
  godwit presence --token "$TOKEN" bob --json
  godwit presence --token "$TOKEN" --watch bob carol`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			cfg, err := session.config(a.environ)
			if err != nil {
				return err
			}
			return work(func(c *cobra.Command, users []string) error {
				if watch {
					return a.watch(c.Context(), &session, cfg, users)
				}
				return a.presence(c.Context(), &session, cfg, users)
			})(c, args)
		},
	}
	session.register(c)
	c.Flags().BoolVar(&watch, "watch", false, "go on and print changes")
	return c
}

func (a *app) presence(ctx context.Context, session *sessionFlags, cfg client.Config, names []string) error {
	users, err := parseUsers(names)
	if err != nil {
		return err
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

func parseUsers(names []string) (users []godwit.UserID, err error) {
	for _, name := range names {
		user, err := godwit.ParseUserID(name)
		if err != nil {
			return nil, fmt.Errorf("user %q: %w", name, godwit.ErrBadUser)
		}
		users = append(users, user)
	}
	return users, nil
}

// watch prints what is so now and every change, until it is told to end.
func (a *app) watch(ctx context.Context, session *sessionFlags, cfg client.Config, names []string) error {
	users, err := parseUsers(names)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	whenUnread(a.stdout, cancel)
	changes := make(chan godwit.PresenceItem, 1024) // full: the change is not shown
	cfg.OnPresence = func(item godwit.PresenceItem) {
		select {
		case changes <- item:
		default:
		}
	}
	c, err := session.dial(ctx, cfg)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	now, err := c.Watch(ctx, users...)
	if err != nil {
		return err
	}
	for _, item := range now {
		if err := a.printPresence(item); err != nil {
			return err
		}
	}
	for {
		select {
		case item := <-changes:
			if err := a.printPresence(item); err != nil {
				return err
			}
		case <-ctx.Done():
			return nil // ctrl-C is how watching ends
		}
	}
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
