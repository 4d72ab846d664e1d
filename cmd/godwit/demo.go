package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"time"

	"github.com/spf13/cobra"

	"github.com/godwit-im/godwit/auth"
	"github.com/godwit-im/godwit/node"
)

// demoPause is how long a restart on request leaves the server down, so that
// a person sees the page lose it and find it again.
const demoPause = time.Second

func (a *app) demoCommand() *cobra.Command {
	var flags serverFlags
	var open bool
	c := &cobra.Command{
		Use:   "demo",
		Short: "Run a development server with three users and a page to try it",
		Long: `Run a development server (serve --dev) with the users alice, bob and carol, and
a web page where alice and bob chat side by side. The data stays in DIR: kill
the process as hard as you like, start it again, and nothing is lost.

It listens on loopback addresses only.`,
		Example: `  godwit demo
  godwit demo --open                              # and open the page in a browser
  godwit demo --listen 127.0.0.1:0 --ops 127.0.0.1:0 --data /tmp/demo`,
		Args: cobra.NoArgs,
		RunE: work(func(c *cobra.Command, _ []string) error {
			cfg, err := a.load(c, &flags)
			if err != nil {
				return err
			}
			cfg.Dev = true
			cfg.Drain = node.DrainConfig{Timeout: node.Duration(time.Second)}
			if err := cfg.Validate(); err != nil {
				return fmt.Errorf("%w: %w", errConfig, err)
			}
			return a.demo(c.Context(), cfg, open)
		}),
	}
	flags.register(c)
	c.Flags().BoolVar(&open, "open", false, "open the page in a browser")
	return c
}

// demo runs nodes one after another on the same ports and data: each restart
// the page asks for ends one and starts the next, in this process.
func (a *app) demo(ctx context.Context, cfg node.Config, open bool) error {
	signer, err := auth.DevSigner(cfg.Data, nil)
	if err != nil {
		return err
	}
	page := newDemoPage(signer)
	cfg.Static, cfg.OpsRoutes = page.static, page.routes()
	cfg.Logger = cfg.NewLogger(a.stderr)
	for first := true; ; first = false {
		n, err := openAgain(ctx, cfg, first)
		if err != nil {
			return unlessAsked(ctx, err)
		}
		cfg.Listen, cfg.Ops = n.Addr(), n.OpsAddr() // a free port stays the same from now on
		page.serve(n)
		if first {
			if err := a.greet(ctx, n, signer, open); err != nil {
				return errors.Join(unlessAsked(ctx, err), n.Close())
			}
		}
		restart, err := page.run(ctx, n)
		if err != nil || !restart {
			return err
		}
		cfg.Logger.Info("demo restarts the server")
		select {
		case <-time.After(demoPause):
		case <-ctx.Done():
			return nil
		}
	}
}

// openAgain opens a node; after a restart its ports may take a moment to be
// free again.
func openAgain(ctx context.Context, cfg node.Config, first bool) (*node.Node, error) {
	for attempt := 1; ; attempt++ {
		n, err := node.Open(ctx, cfg)
		if err == nil || first || attempt == 10 || ctx.Err() != nil {
			return n, err
		}
		select {
		case <-time.After(200 * time.Millisecond):
		case <-ctx.Done():
		}
	}
}

// greet seeds the users' conversations and prints how to go on.
func (a *app) greet(ctx context.Context, n *node.Node, signer *auth.Signer, open bool) error {
	public := node.Reachable(n.Addr())
	if err := seed(ctx, socketURL(public), signer); err != nil {
		return fmt.Errorf("seed the demo users: %w", err)
	}
	a.announce(n)
	if a.json {
		return nil
	}
	alice, err := signer.Mint("alice", tokenTTL)
	if err != nil {
		return err
	}
	bob, err := signer.Mint("bob", tokenTTL)
	if err != nil {
		return err
	}
	self := "godwit"
	if underGoRun() {
		self = "go run ./cmd/godwit"
	} else if len(os.Args) > 0 {
		self = os.Args[0]
	}
	_, _ = fmt.Fprintf(a.stdout, `
Open http://%s/ to see alice and bob chat side by side.

Send bob a message as alice:
  %s send --url %s --token %s bob 'hello from the shell'

Follow bob's log:
  %s tail --url %s --token %s --since 0 --json

`, public, self, socketURL(public), alice, self, socketURL(public), bob)
	if open {
		a.openBrowser("http://" + public + "/")
	}
	return nil
}

// openBrowser starts the desktop's browser; the demo goes on without one.
func (a *app) openBrowser(url string) {
	program := "xdg-open"
	if runtime.GOOS == "darwin" {
		program = "open"
	}
	c := exec.Command(program, url)
	if err := c.Start(); err != nil {
		_, _ = fmt.Fprintf(a.stderr, "godwit: can't open a browser (%v); open %s yourself\n", err, url)
		return
	}
	go func() { _ = c.Wait() }()
}
