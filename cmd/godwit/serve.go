package main

import (
	"context"
	"errors"
	"fmt"
	"net"

	"github.com/spf13/cobra"

	"github.com/godwit-im/godwit/node"
	"github.com/godwit-im/godwit/web"
)

func (a *app) serveCommand() *cobra.Command {
	var flags serverFlags
	c := &cobra.Command{
		Use:   "serve",
		Short: "Run a server",
		Long: `Run a server until SIGTERM or ctrl-C, which asks its clients to move, answers
what was sent and closes the store. A second signal ends it at once; nothing
acknowledged is lost either way.

When it accepts clients it prints where (one object with --json); the line with
wss is there with tls.cert:

  listening on ws://127.0.0.1:8080/v1/ws
  listening on wss://127.0.0.1:8443/v1/ws
  ops on http://127.0.0.1:8081

A service manager that asks for it (NOTIFY_SOCKET, systemd's Type=notify) is told, too.

Settings come from the defaults, the YAML file, the environment (GODWIT_LISTEN,
GODWIT_LIMITS_BODY …) and flags; the last one wins.`,
		Example: `  godwit serve --dev --data ./data             # development: tokens by godwit token mint
  godwit serve -c godwit.yaml                  # production: your users' keys in auth.keys_file
  godwit serve --dev --listen 127.0.0.1:0      # a free port, which is printed
  godwit serve -c godwit.yaml --edges 3        # clients in three processes on one port
  godwit serve -c godwit.yaml --role engine --link 10.0.0.5:7000 --router tikv --pd 10.0.0.1:2379
  godwit serve -c godwit.yaml --role edge --router tikv --pd 10.0.0.1:2379   # on any other machine`,
		Args: cobra.NoArgs,
		RunE: work(func(c *cobra.Command, _ []string) error {
			cfg, err := a.loadValid(c, &flags)
			if err != nil {
				return err
			}
			notify := a.notifier()
			cfg.EdgeCommand = a.edgeCommand(flags.file)
			return a.serve(c.Context(), cfg, notify)
		}),
	}
	flags.registerAll(c)
	return c
}

func (a *app) serve(ctx context.Context, cfg node.Config, notify func(state string)) error {
	cfg.Static = web.Asset
	cfg.EchoPath = echoPath
	cfg.Program, _ = programVersion()
	cfg.Logger = cfg.NewLogger(a.stderr)
	n, err := node.Open(ctx, cfg)
	if err != nil {
		return unlessAsked(ctx, err)
	}
	a.announce(n)
	notify(notifyReady)
	stop := context.AfterFunc(ctx, func() { notify(notifyStopping) })
	defer stop()
	return n.Run(ctx)
}

// unlessAsked drops an error that only says that the start was broken off by a
// signal: ending then is what was asked for.
func unlessAsked(ctx context.Context, err error) error {
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// announce prints where the node listens, and its edge processes. That nobody
// reads it is no reason not to serve.
func (a *app) announce(n *node.Node) {
	ops, edges := "http://"+node.Reachable(n.OpsAddr()), n.Edges()
	public := ""
	if address := n.Addr(); address != "" {
		public = socketURL(node.Reachable(address))
	}
	secure := n.TLSAddr()
	if secure != "" {
		secure = "wss://" + node.Reachable(secure) + "/v1/ws"
	}
	if a.json {
		_ = a.printJSON(struct {
			Listen string          `json:"listen,omitempty"`
			Ops    string          `json:"ops"`
			TLS    string          `json:"tls,omitempty"`
			Edges  []node.EdgeInfo `json:"edges,omitempty"`
		}{public, ops, secure, edges})
		return
	}
	if public != "" {
		_, _ = fmt.Fprintf(a.stdout, "listening on %s\n", public)
	}
	if secure != "" {
		_, _ = fmt.Fprintf(a.stdout, "listening on %s\n", secure)
	}
	_, _ = fmt.Fprintf(a.stdout, "ops on %s\n", ops)
	for _, e := range edges {
		_, _ = fmt.Fprintf(a.stdout, "edge %s, process %d, ops on http://%s\n", e.Node, e.PID, e.Ops)
	}
}

func socketURL(address string) string { return "ws://" + address + "/v1/ws" }

// port returns the port of an address that is listened on.
func port(address string) string {
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		panic("BUG: a listening address without a port: " + address)
	}
	return port
}
