package main

import (
	"errors"
	"time"

	"github.com/spf13/cobra"
)

// adminRetentionCommand sets for how long one conversation is kept.
func (a *app) adminRetentionCommand(f *adminFlags) *cobra.Command {
	var user, conv, groupID string
	var kept time.Duration
	c := &cobra.Command{
		Use: "retention", Short: "Keep a conversation no longer than so long, for all who are in it", Args: cobra.NoArgs,
		Long: `Keep a conversation no longer than so long, for all who are in it.

Older messages are erased for good by the server's hourly looks. --for 0 takes the
rule back; what was erased does not return.`,
		Example: "  godwit admin retention --user bob --conv u:alice --for 720h\n  godwit admin retention --group gk3zxabcdef --for 24h",
	}
	c.Flags().StringVar(&user, "user", "", "a `USER` of a 1:1 conversation")
	c.Flags().StringVar(&conv, "conv", "", "the `CONVERSATION` as he sees it: u:alice")
	c.Flags().StringVar(&groupID, "group", "", "this `GROUP`")
	c.Flags().DurationVar(&kept, "for", 0, "how long, an hour at least; 0: no rule")
	return a.adminLeaf(f, c, func([]string) (adminRequest, error) {
		path := []string{"groups", groupID, "retention"}
		switch {
		case !c.Flags().Changed("for"):
			return adminRequest{}, errors.New("say how long with --for; 0 takes the rule back")
		case kept%time.Second != 0:
			return adminRequest{}, errors.New("--for is whole seconds")
		case groupID != "" && user+conv == "":
		case groupID == "" && user != "" && conv != "":
			path = []string{"users", user, "conversations", conv, "retention"}
		default:
			return adminRequest{}, errors.New("give --group, or --user and --conv")
		}
		return adminRequest{method: "PUT", path: path, body: map[string]any{"seconds": int64(kept / time.Second)}}, nil
	})
}
