package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"github.com/godwit-im/godwit/node"
)

var errNotHealthy = errors.New("the server is not well")

func (a *app) healthCommand() *cobra.Command {
	var flags serverFlags
	var ready bool
	var timeout time.Duration
	c := &cobra.Command{
		Use:   "health",
		Short: "Ask a server of this machine how it is",
		Long: `Ask the ops address of a server on this machine how it is, for containers and
scripts. It prints the status and exits with 0 if all is well, else with 1.

Without --ready the question is whether the process must be restarted (/healthz),
with it whether newcomers should come here (/readyz). The address is that of the
configuration, given as for serve.`,
		Example: `  godwit health
  godwit health --ready -c /etc/godwit/godwit.yaml
  godwit health --ops 127.0.0.1:9001 --json`,
		Args: cobra.NoArgs,
		RunE: work(func(c *cobra.Command, _ []string) error {
			cfg, err := a.load(c, &flags)
			if err != nil {
				return err
			}
			path := "/healthz"
			if ready {
				path = "/readyz"
			}
			ctx, cancel := context.WithTimeout(c.Context(), timeout)
			defer cancel()
			status, err := askHealth(ctx, "http://"+node.Reachable(cfg.Ops)+path)
			if err != nil {
				return err
			}
			if a.json {
				return a.printJSON(map[string]string{"status": status})
			}
			_, err = fmt.Fprintln(a.stdout, status)
			return err
		}),
	}
	c.Flags().StringVarP(&flags.file, "config", "c", "", "YAML configuration `FILE`")
	c.Flags().StringVar(&flags.ops, "ops", node.Default().Ops, "`ADDR`ess of the server's /healthz and /readyz")
	c.Flags().BoolVar(&ready, "ready", false, "ask whether newcomers should come")
	c.Flags().DurationVar(&timeout, "timeout", 3*time.Second, "give up after this")
	return c
}

// askHealth returns the status of a server that is well.
func askHealth(ctx context.Context, url string) (status string, err error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}} // no proxy: it is this machine
	reply, err := client.Do(r)
	if err != nil {
		return "", fmt.Errorf("%w: %w; is --ops its ops address?", errUnreachable, err)
	}
	defer reply.Body.Close()
	var answer struct{ Status string }
	if err := json.NewDecoder(io.LimitReader(reply.Body, 1<<10)).Decode(&answer); err != nil {
		return "", fmt.Errorf("%w: %s answered %s", errNotHealthy, url, reply.Status)
	}
	if reply.StatusCode != http.StatusOK {
		return "", fmt.Errorf("%w: %s", errNotHealthy, answer.Status)
	}
	return answer.Status, nil
}
