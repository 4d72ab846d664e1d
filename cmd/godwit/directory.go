package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/godwit-im/godwit/node"
)

const askDirectoryMax = 10 * time.Second

func (a *app) edgesCommand() *cobra.Command {
	var ops string
	c := &cobra.Command{
		Use:   "edges",
		Short: "List the edge and engine processes of a cluster",
		Long: `List the edge and engine processes of a cluster, as the directory has them and
as the asked process sees them: alive, suspect (a connection was refused) or dead
(no beat for 6 s). Any process of the cluster may be asked, at its ops address.`,
		Example: `  godwit edges
  godwit edges --ops 10.0.0.5:8081
  godwit edges --json`,
		Args: cobra.NoArgs,
		RunE: work(func(c *cobra.Command, _ []string) error {
			info, err := askDirectory(c.Context(), ops)
			if err != nil {
				return err
			}
			if a.json {
				return a.printJSON(info)
			}
			return a.printDirectory(info)
		}),
	}
	c.Flags().StringVar(&ops, "ops", node.Default().Ops, "ops `ADDR`ess of a process of the cluster")
	return c
}

func askDirectory(ctx context.Context, ops string) (info node.DirectoryInfo, err error) {
	ctx, cancel := context.WithTimeout(ctx, askDirectoryMax)
	defer cancel()
	url := "http://" + node.Reachable(strings.TrimPrefix(ops, "http://")) + node.DirectoryPath
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return info, err
	}
	transport := &http.Transport{DisableKeepAlives: true}
	reply, err := transport.RoundTrip(request)
	if err != nil {
		return info, fmt.Errorf("%w: %w", errUnreachable, err)
	}
	defer reply.Body.Close()
	body, err := io.ReadAll(io.LimitReader(reply.Body, 64<<20))
	switch {
	case err != nil:
		return info, err
	case reply.StatusCode == http.StatusNotFound:
		return info, fmt.Errorf("the server at %s keeps no directory (router.store); its own edge processes are at http://%s%s", ops, ops, node.EdgesPath)
	case reply.StatusCode != http.StatusOK:
		return info, fmt.Errorf("the server answers %d: %s", reply.StatusCode, strings.TrimSpace(string(body)))
	}
	err = json.Unmarshal(body, &info)
	return info, err
}

func (a *app) printDirectory(info node.DirectoryInfo) error {
	if info.Away {
		fmt.Fprintln(a.stderr, "godwit: the directory's store is away; this is how it was")
	}
	w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "KIND\tNAME\tVERDICT\tSTATE\tSESSIONS\tZONE\tWHERE")
	row := func(kind, where string, m *node.MemberInfo) {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d\t%s\t%s\n", kind, printable(m.Name), m.Verdict, m.State, m.Sessions, printable(m.Zone), printable(where))
	}
	for i := range info.Edges {
		row("edge", info.Edges[i].URL, &info.Edges[i])
	}
	for i := range info.Nodes {
		row("engine", info.Nodes[i].Address, &info.Nodes[i])
	}
	return w.Flush()
}
