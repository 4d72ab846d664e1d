package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/godwit-im/godwit/client"
)

// Environment variables that stand in for flags, so that a token need not show
// in the list of processes.
const (
	envURL   = "GODWIT_URL"
	envToken = "GODWIT_TOKEN"
)

// errUnreachable: no session could be opened in time.
var errUnreachable = errors.New("no session with the server")

// sessionFlags say which server to talk to, and as whom.
type sessionFlags struct {
	url, token, transport, device string
	timeout                       time.Duration
}

func (f *sessionFlags) register(c *cobra.Command) {
	c.Flags().StringVar(&f.url, "url", "", "`URL` of the server (default $"+envURL+", else ws://127.0.0.1:8080/v1/ws)")
	c.Flags().StringVar(&f.token, "token", "", "`JWT` of the user (default $"+envToken+")")
	c.Flags().StringVar(&f.transport, "transport", string(client.Auto), "`KIND` of connection: auto, websocket or longpoll")
	c.Flags().StringVar(&f.device, "device", "", "`NAME` of this device; two sessions of one name replace each other (default random)")
	c.Flags().DurationVar(&f.timeout, "timeout", 30*time.Second, "give up when the server can't be reached for so long")
}

// config fills what the flags left out; a missing token is a usage error.
func (f *sessionFlags) config(environ []string) (client.Config, error) {
	for _, fill := range []struct {
		field          *string
		name, standard string
	}{{&f.url, envURL, "ws://127.0.0.1:8080/v1/ws"}, {&f.token, envToken, ""}} {
		if *fill.field == "" {
			*fill.field = lookup(environ, fill.name)
		}
		if *fill.field == "" {
			*fill.field = fill.standard
		}
	}
	if f.token == "" {
		return client.Config{}, errors.New("no token: give --token, or set " + envToken)
	}
	if f.timeout <= 0 {
		return client.Config{}, errors.New("--timeout must be positive")
	}
	switch t := client.Transport(f.transport); t {
	case client.Auto, client.WebSocket, client.LongPoll:
		return client.Config{URL: f.url, Token: f.token, Transport: t, Device: f.device, NoDelivered: true}, nil
	}
	return client.Config{}, fmt.Errorf("--transport is auto, websocket or longpoll, not %q", f.transport)
}

// dial opens a session within the timeout.
func (f *sessionFlags) dial(ctx context.Context, cfg client.Config) (*client.Client, error) {
	ctx, cancel := context.WithTimeout(ctx, f.timeout)
	defer cancel()
	c, err := client.Dial(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errUnreachable, err)
	}
	return c, nil
}

// explain adds to a send that ran out of time what kept the client from the
// server: the deadline alone tells nobody what to mend.
func (f *sessionFlags) explain(c *client.Client, err error) error {
	if why := c.State().Err; why != nil && errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("%w; no answer from %s within %s: %w", err, f.url, f.timeout, why)
	}
	return err
}

// sessionCommand completes a subcommand that opens a session, asks one thing and
// prints the answer: flags registers what it has beside the session's flags.
func (a *app) sessionCommand(c *cobra.Command, flags func(*cobra.Command), run func(ctx context.Context, c *client.Client, args []string) error) *cobra.Command {
	var session sessionFlags
	session.register(c)
	if flags != nil {
		flags(c)
	}
	c.RunE = func(c *cobra.Command, args []string) error {
		cfg, err := session.config(a.environ)
		if err != nil {
			return err
		}
		return work(func(c *cobra.Command, args []string) error {
			ctx, cancel := context.WithTimeout(c.Context(), session.timeout)
			defer cancel()
			k, err := client.New(cfg)
			if err != nil {
				return err
			}
			defer func() { _ = k.Close() }()
			if err := run(ctx, k, args); err != nil {
				return session.explain(k, err)
			}
			return nil
		})(c, args)
	}
	return c
}

// lookup returns the last value of a variable, as a shell would see it.
func lookup(environ []string, name string) (value string) {
	for _, entry := range environ {
		if v, ok := strings.CutPrefix(entry, name+"="); ok {
			value = v
		}
	}
	return value
}
