package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/godwit-im/godwit/node"
)

// errConfig marks every complaint about the configuration.
var errConfig = errors.New("the configuration is refused")

// serverFlags are the settings a server takes on its command line; each wins
// over the environment and the file.
type serverFlags struct {
	file, listen, ops, data string
	role, link, upstream    string
	router                  string
	pd                      []string
	edges                   int
	dev                     bool
}

func (f *serverFlags) register(c *cobra.Command) {
	defaults := node.Default()
	c.Flags().StringVar(&f.listen, "listen", defaults.Listen, "public `ADDR`ess, host:port; port 0 takes a free one")
	c.Flags().StringVar(&f.ops, "ops", defaults.Ops, "`ADDR`ess of /healthz, /readyz and /metrics")
	c.Flags().StringVar(&f.data, "data", defaults.Data, "`DIR`ectory of everything durable")
}

func (f *serverFlags) registerAll(c *cobra.Command) {
	f.register(c)
	c.Flags().StringVarP(&f.file, "config", "c", "", "YAML configuration `FILE`")
	c.Flags().BoolVar(&f.dev, "dev", false, "believe tokens of DIR/dev-signing-key; loopback addresses only")
	c.Flags().StringVar(&f.role, "role", node.RoleAll, "`ROLE` of this process: all, engine or edge")
	c.Flags().StringVar(&f.link, "link", "", "`ADDR`ess where an engine takes edges: unix:PATH or HOST:PORT")
	c.Flags().StringVar(&f.upstream, "upstream", "", "`ADDR`ess of an edge's engine: unix:PATH or HOST:PORT")
	c.Flags().StringVar(&f.router, "router", node.StoreLocal, "`STORE` of the cluster's directory: local (one machine) or tikv")
	c.Flags().StringSliceVar(&f.pd, "pd", nil, "`ADDR`esses of TiKV's placement drivers, host:port, by commas")
	c.Flags().IntVar(&f.edges, "edges", 0, "start `N` edge processes on one port and be their engine")
}

// overlay sets what was given on the command line.
func (f *serverFlags) overlay(c *cobra.Command, cfg *node.Config) {
	for name, set := range map[string]func(){
		"listen": func() { cfg.Listen = f.listen },
		"ops":    func() { cfg.Ops = f.ops },
		"data":   func() { cfg.Data = f.data },
		"dev":    func() { cfg.Dev = f.dev },

		"role":     func() { cfg.Role = f.role },
		"link":     func() { cfg.Link.Listen = f.link },
		"upstream": func() { cfg.Link.Upstream = f.upstream },
		"edges":    func() { cfg.Edges = f.edges },
		"router":   func() { cfg.Router.Store = f.router },
		"pd":       func() { cfg.Router.PD = f.pd },
	} {
		if c.Flags().Changed(name) {
			set()
		}
	}
}

// load returns the configuration: defaults, file, environment, flags.
func (a *app) load(c *cobra.Command, f *serverFlags) (node.Config, error) {
	cfg, err := node.Load(f.file, a.environ)
	if err != nil {
		return cfg, fmt.Errorf("%w: %w", errConfig, err)
	}
	f.overlay(c, &cfg)
	for _, name := range node.UnknownEnv(a.environ) {
		if name != envURL && name != envToken {
			fmt.Fprintf(a.stderr, "godwit: the environment variable %s means nothing to this version\n", name)
		}
	}
	return cfg, nil
}

// loadValid is load, and refuses what can't work.
func (a *app) loadValid(c *cobra.Command, f *serverFlags) (node.Config, error) {
	cfg, err := a.load(c, f)
	if err != nil {
		return cfg, err
	}
	if err := cfg.Validate(); err != nil {
		return cfg, fmt.Errorf("%w: %w", errConfig, err)
	}
	return cfg, nil
}

func (a *app) configCommand() *cobra.Command {
	c := group(&cobra.Command{
		Use:   "config",
		Short: "Check or print a server's configuration",
		Example: `  godwit config check -c godwit.yaml
  godwit config print --defaults > godwit.yaml`,
	})
	c.AddCommand(a.configCheckCommand(), a.configPrintCommand())
	return c
}

func (a *app) configCheckCommand() *cobra.Command {
	var flags serverFlags
	c := &cobra.Command{
		Use:   "check",
		Short: "Say whether serve would accept the configuration, keys included",
		Example: `  godwit config check -c godwit.yaml
  GODWIT_LISTEN=:443 godwit config check -c godwit.yaml`,
		Args: cobra.NoArgs,
		RunE: work(func(c *cobra.Command, _ []string) error {
			cfg, err := a.loadValid(c, &flags)
			if err != nil {
				return err
			}
			if !cfg.Dev { // in development the key is made by the first start
				keyring, err := cfg.Keyring()
				if err != nil {
					return fmt.Errorf("%w: %w", errConfig, err)
				}
				defer keyring.Close()
				if err := keyring.Start(c.Context()); err != nil {
					return fmt.Errorf("%w: auth.jwks_url: %w", errConfig, err)
				}
			}
			if a.json {
				return a.printJSON(map[string]bool{"ok": true})
			}
			_, err = fmt.Fprintln(a.stdout, "the configuration is valid")
			return err
		}),
	}
	flags.registerAll(c)
	return c
}

func (a *app) configPrintCommand() *cobra.Command {
	var flags serverFlags
	var defaults bool
	c := &cobra.Command{
		Use:   "print",
		Short: "Print the configuration in effect as a commented YAML file",
		Long: `Print the configuration in effect as a commented YAML file: the defaults,
overlaid by the file, the environment (GODWIT_LIMITS_BODY for limits.body) and
flags. It is not checked; see godwit config check.`,
		Example: `  godwit config print --defaults > godwit.yaml
  godwit config print --defaults --dev > godwit.example.yaml
  GODWIT_LIMITS_BODY=4KiB godwit config print -c godwit.yaml`,
		Args: cobra.NoArgs,
		RunE: work(func(c *cobra.Command, _ []string) error {
			if defaults {
				cfg := node.Default()
				flags.overlay(c, &cfg)
				return cfg.Print(a.stdout)
			}
			cfg, err := a.load(c, &flags)
			if err != nil {
				return err
			}
			return cfg.Print(a.stdout)
		}),
	}
	flags.registerAll(c)
	c.Flags().BoolVar(&defaults, "defaults", false, "leave out the file and the environment")
	return c
}
