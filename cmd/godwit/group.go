package main

import (
	"context"
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/godwit-im/godwit"
	"github.com/godwit-im/godwit/client"
)

// groupLine is what group commands print of a group. create prints no more than
// the first two.
type groupLine struct {
	Group   string `json:"group"`
	Conv    string `json:"conv"`
	Name    string `json:"name,omitempty"`
	Join    string `json:"join,omitempty"`
	History string `json:"history,omitempty"`
	Role    string `json:"role,omitempty"`
	Count   uint32 `json:"count,omitempty"`
	Channel bool   `json:"channel,omitempty"`
	GSeq    uint64 `json:"gseq,omitempty"`
}

// memberLine is what group members prints of each.
type memberLine struct {
	User      string `json:"user"`
	Role      string `json:"role"`
	Since     uint64 `json:"since"`
	Delivered uint64 `json:"delivered"`
	Read      uint64 `json:"read"`
}

// receiptsLine is what group receipts prints.
type receiptsLine struct {
	GSeq      uint64 `json:"gseq"`
	Delivered uint32 `json:"delivered"`
	Read      uint32 `json:"read"`
}

func (a *app) printGroup(g godwit.GroupReply) error {
	return a.printJSON(groupLine{
		Group: string(g.Group), Conv: string(g.Conv), Name: g.Name, Join: g.Join, History: g.History,
		Role: g.Role, Count: g.Count, Channel: g.Channel, GSeq: uint64(g.GSeq),
	})
}

func (a *app) groupCommand() *cobra.Command {
	c := group(&cobra.Command{
		Use:   "group",
		Short: "Create groups, change who is in them, list them",
		Long: `Create groups, change who is in them, list them. GROUP is a group's id, with or
without g: before it. Results are JSON, one object a line.`,
		Example: `  godwit group create --token "$TOKEN" 'Chess' bob carol
  godwit group add --token "$TOKEN" g42 dave
  godwit send --token "$TOKEN" g:g42 'hello, all'`,
	})
	c.AddCommand(
		a.groupCreateCommand(), a.groupInfoCommand(), a.groupMembersCommand(), a.groupListCommand(), a.groupSetCommand(),
		a.groupUsersCommand("add", "Add users to a group", (*client.Client).AddMembers),
		a.groupUsersCommand("remove", "Take users out of a group", (*client.Client).RemoveMembers),
		a.groupRoleCommand(),
		a.groupSelfCommand("leave", "Leave a group", (*client.Client).LeaveGroup),
		a.groupSelfCommand("join", "Join a group that is open to all", (*client.Client).JoinGroup),
		a.groupReceiptsCommand(),
	)
	return c
}

func userIDs(names []string) (users []godwit.UserID) {
	for _, name := range names {
		users = append(users, godwit.UserID(name))
	}
	return users
}

func (a *app) groupCreateCommand() *cobra.Command {
	var cid, join, history string
	return a.sessionCommand(&cobra.Command{
		Use:   "create NAME [MEMBER…]",
		Short: "Create a group that you own",
		Long:  `Create a group that you own, with its first members. Prints {"group":"g42","conv":"g:g42"}.`,
		Example: `  godwit group create --token "$TOKEN" 'Chess' bob carol
  godwit group create --token "$TOKEN" --join open --history all 'Town square'`,
		Args: cobra.MinimumNArgs(1),
	}, func(c *cobra.Command) {
		c.Flags().StringVar(&cid, "cid", "", "client `ID` that names the group across retries (default random)")
		c.Flags().StringVar(&join, "join", "", "`WHO` may become a member: invite (owner and admins add them, the default) or open (who knows the id)")
		c.Flags().StringVar(&history, "history", "", "`WHAT` members see: joined (what came after they joined, the default) or all")
	}, func(ctx context.Context, c *client.Client, args []string) error {
		g, err := c.CreateGroup(ctx, client.NewGroup{CID: cid, Name: args[0], Members: userIDs(args[1:]), Join: join, History: history})
		if err != nil {
			return err
		}
		return a.printJSON(groupLine{Group: string(g.Group), Conv: string(g.Conv)})
	})
}

func (a *app) groupInfoCommand() *cobra.Command {
	return a.sessionCommand(&cobra.Command{
		Use:   "info GROUP",
		Short: "Say what a group is called, how many are in it, and your role",
		Example: `  godwit group info --token "$TOKEN" g42
  godwit group info --token "$TOKEN" g42 --json`,
		Args: cobra.ExactArgs(1),
	}, nil, func(ctx context.Context, c *client.Client, args []string) error {
		g, err := c.GroupInfo(ctx, args[0])
		if err != nil {
			return err
		}
		return a.printGroup(g)
	})
}

func (a *app) groupMembersCommand() *cobra.Command {
	return a.sessionCommand(&cobra.Command{
		Use:   "members GROUP",
		Short: "List the members of a group, a line each",
		Long: `List the members of a group, a line each:
{"user":"bob","role":"member","since":1,"delivered":7,"read":5}. All numbers are
sequences of the group's log.`,
		Example: `  godwit group members --token "$TOKEN" g42`,
		Args:    cobra.ExactArgs(1),
	}, nil, func(ctx context.Context, c *client.Client, args []string) error {
		for m, err := range c.Members(ctx, args[0]) {
			if err != nil {
				return err
			}
			if err := a.printJSON(memberLine{string(m.User), m.Role, uint64(m.Since), uint64(m.Delivered), uint64(m.Read)}); err != nil {
				return err
			}
		}
		return nil
	})
}

func (a *app) groupListCommand() *cobra.Command {
	return a.sessionCommand(&cobra.Command{
		Use:     "list",
		Short:   "List the groups you are in, a line each",
		Example: `  godwit group list --token "$TOKEN"`,
		Args:    cobra.NoArgs,
	}, nil, func(ctx context.Context, c *client.Client, _ []string) error {
		for g, err := range c.Groups(ctx) {
			if err != nil {
				return err
			}
			if err := a.printJSON(groupLine{Group: string(g.Group), Conv: string(g.Conv), Name: g.Name, Role: g.Role, Count: g.Count, Channel: g.Channel}); err != nil {
				return err
			}
		}
		return nil
	})
}

func (a *app) groupSetCommand() *cobra.Command {
	var s client.GroupSettings
	var name string
	var c *cobra.Command
	c = a.sessionCommand(&cobra.Command{
		Use:   "set GROUP",
		Short: "Rename a group, or change who may join and what members see",
		Example: `  godwit group set --token "$TOKEN" g42 --name 'Chess club'
  godwit group set --token "$TOKEN" g42 --join open`,
		Args: cobra.ExactArgs(1),
	}, func(c *cobra.Command) {
		c.Flags().StringVar(&name, "name", "", "new `NAME`")
		c.Flags().StringVar(&s.Join, "join", "", "`WHO` may become a member: invite or open")
		c.Flags().StringVar(&s.History, "history", "", "`WHAT` members see: joined or all")
		c.MarkFlagsOneRequired("name", "join", "history")
	}, func(ctx context.Context, k *client.Client, args []string) error {
		if c.Flags().Changed("name") {
			s.Name = &name
		}
		g, err := k.SetGroup(ctx, args[0], s)
		if err != nil {
			return err
		}
		return a.printGroup(g)
	})
	return c
}

func (a *app) groupUsersCommand(name, short string, do func(*client.Client, context.Context, string, ...godwit.UserID) (godwit.GroupReply, error)) *cobra.Command {
	return a.sessionCommand(&cobra.Command{
		Use:     name + " GROUP USER…",
		Short:   short,
		Example: `  godwit group ` + name + ` --token "$TOKEN" g42 dave erin`,
		Args:    cobra.MinimumNArgs(2),
	}, nil, func(ctx context.Context, c *client.Client, args []string) error {
		g, err := do(c, ctx, args[0], userIDs(args[1:])...)
		if err != nil {
			return err
		}
		return a.printGroup(g)
	})
}

func (a *app) groupSelfCommand(name, short string, do func(*client.Client, context.Context, string) (godwit.GroupReply, error)) *cobra.Command {
	return a.sessionCommand(&cobra.Command{
		Use:     name + " GROUP",
		Short:   short,
		Example: `  godwit group ` + name + ` --token "$TOKEN" g42`,
		Args:    cobra.ExactArgs(1),
	}, nil, func(ctx context.Context, c *client.Client, args []string) error {
		g, err := do(c, ctx, args[0])
		if err != nil {
			return err
		}
		return a.printGroup(g)
	})
}

func (a *app) groupRoleCommand() *cobra.Command {
	return a.sessionCommand(&cobra.Command{
		Use:     "role GROUP ROLE USER…",
		Short:   "Give members the role owner, admin or member",
		Example: `  godwit group role --token "$TOKEN" g42 admin bob`,
		Args:    cobra.MinimumNArgs(3),
	}, nil, func(ctx context.Context, c *client.Client, args []string) error {
		g, err := c.SetRole(ctx, args[0], args[1], userIDs(args[2:])...)
		if err != nil {
			return err
		}
		return a.printGroup(g)
	})
}

func (a *app) groupReceiptsCommand() *cobra.Command {
	return a.sessionCommand(&cobra.Command{
		Use:   "receipts GROUP GSEQ",
		Short: "Count the members who have an entry delivered, and who have read it",
		Long: `Count the members who have an entry of the group delivered, and who have read it.
GSEQ is its sequence in the group's log. Prints {"gseq":7,"delivered":3,"read":2}.`,
		Example: `  godwit group receipts --token "$TOKEN" g42 7`,
		Args:    cobra.MatchAll(cobra.ExactArgs(2), sequenceArg(1)),
	}, nil, func(ctx context.Context, c *client.Client, args []string) error {
		gseq, _ := strconv.ParseUint(args[1], 10, 64)
		delivered, read, err := c.GroupReceipts(ctx, args[0], godwit.Seq(gseq))
		if err != nil {
			return err
		}
		return a.printJSON(receiptsLine{gseq, delivered, read})
	})
}

// sequenceArg wants a sequence as argument n.
func sequenceArg(n int) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if seq, err := strconv.ParseUint(args[n], 10, 64); err != nil || seq > uint64(godwit.SeqMax) {
			return fmt.Errorf("invalid argument %q: a sequence is a number below 2^53", args[n])
		}
		return nil
	}
}
