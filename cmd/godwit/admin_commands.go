package main

import (
	"errors"
	"net/url"
	"strconv"

	"github.com/spf13/cobra"
)

func (a *app) adminUserCommands(f *adminFlags) []*cobra.Command {
	get := func(path ...string) adminRequest { return adminRequest{method: "GET", path: path} }
	leaf := func(use, short string, args int, make func(args []string) (adminRequest, error)) *cobra.Command {
		return a.adminLeaf(f, &cobra.Command{Use: use, Short: short, Args: cobra.ExactArgs(args)}, make)
	}
	var device string
	logout := leaf("logout USER", "Log out a user's devices: tokens issued before are void", 1, func(args []string) (adminRequest, error) {
		return adminRequest{method: "POST", path: []string{"users", args[0], "logout"}, body: map[string]any{"device": device, "all": device == ""}}, nil
	})
	logout.Flags().StringVar(&device, "device", "", "this `DEVICE` alone; else all")
	var sure bool
	erase := leaf("erase USER", "Erase a user for good", 1, func(args []string) (adminRequest, error) {
		if !sure {
			return adminRequest{}, errors.New("this can't be undone: add --yes")
		}
		return adminRequest{method: "DELETE", path: []string{"users", args[0]}}, nil
	})
	eraseConv := leaf("erase-conversation USER CONV", "Erase a conversation from a user's log for good", 2, func(args []string) (adminRequest, error) {
		if !sure {
			return adminRequest{}, errors.New("this can't be undone: add --yes")
		}
		return adminRequest{method: "DELETE", path: []string{"users", args[0], "conversations", args[1]}}, nil
	})
	for _, c := range []*cobra.Command{erase, eraseConv} {
		c.Flags().BoolVar(&sure, "yes", false, "really erase")
	}
	return []*cobra.Command{
		leaf("stats", "Print the server's counters", 0, func([]string) (adminRequest, error) { return get("stats"), nil }),
		paged(f, leaf("users", "List users", 0, func([]string) (adminRequest, error) {
			return adminRequest{method: "GET", path: []string{"users"}, query: f.page()}, nil
		})),
		leaf("user USER", "Print what is known of a user", 1, func(args []string) (adminRequest, error) { return get("users", args[0]), nil }),
		leaf("devices USER", "List a user's devices", 1, func(args []string) (adminRequest, error) { return get("users", args[0], "devices"), nil }),
		logout,
		leaf("kick USER", "Close a user's sessions; the clients may come back", 1, func(args []string) (adminRequest, error) {
			return adminRequest{method: "POST", path: []string{"users", args[0], "kick"}}, nil
		}),
		paged(f, leaf("conversations USER", "List a user's conversations", 1, func(args []string) (adminRequest, error) {
			return adminRequest{method: "GET", path: []string{"users", args[0], "conversations"}, query: f.page()}, nil
		})),
		erase, eraseConv, a.adminRetentionCommand(f),
	}
}

func (a *app) adminMessageCommands(f *adminFlags) []*cobra.Command {
	var from, to, groupID, cid string
	send := a.adminLeaf(f, &cobra.Command{
		Use: "send TEXT", Short: "Send a message, by default as system", Args: cobra.ExactArgs(1),
		Example: "  godwit admin send --to bob 'Maintenance at noon'\n  godwit admin send --from alice --group gk3zxabcdef hello",
	}, func(args []string) (adminRequest, error) {
		if (to == "") == (groupID == "") {
			return adminRequest{}, errors.New("give exactly one of --to and --group")
		}
		body := map[string]any{"text": args[0]}
		for field, v := range map[string]string{"from": from, "to": to, "group": groupID, "cid": cid} {
			if v != "" {
				body[field] = v
			}
		}
		return adminRequest{method: "POST", path: []string{"messages"}, body: body}, nil
	})
	send.Flags().StringVar(&from, "from", "", "in the name of this `USER`; system if not given")
	send.Flags().StringVar(&to, "to", "", "to this `USER`")
	send.Flags().StringVar(&groupID, "group", "", "to this `GROUP`")
	send.Flags().StringVar(&cid, "cid", "", "client `ID`: the same one stores the message once")

	var user string
	recall := a.adminLeaf(f, &cobra.Command{Use: "recall MID", Short: "Take a message back, for everyone", Args: cobra.ExactArgs(1)},
		func(args []string) (adminRequest, error) {
			if user == "" {
				return adminRequest{}, errors.New("name who sent it with --user")
			}
			return adminRequest{method: "POST", path: []string{"messages", args[0], "recall"}, body: map[string]any{"user": user}}, nil
		})
	recall.Flags().StringVar(&user, "user", "", "`USER` who sent it")

	var before, after uint64
	history := paged(f, &cobra.Command{Use: "history USER CONV", Short: "Print a page of a conversation as a user sees it, oldest first", Args: cobra.ExactArgs(2)})
	history.Flags().Uint64Var(&before, "before", 0, "only what comes before this sequence")
	history.Flags().Uint64Var(&after, "after", 0, "only what comes after this sequence")
	return []*cobra.Command{send, recall, a.adminLeaf(f, history, func(args []string) (adminRequest, error) {
		q := url.Values{"limit": {strconv.Itoa(f.limit)}}
		if history.Flags().Changed("before") {
			q.Set("before", strconv.FormatUint(before, 10))
		}
		if history.Flags().Changed("after") {
			q.Set("after", strconv.FormatUint(after, 10))
		}
		return adminRequest{method: "GET", path: []string{"users", args[0], "conversations", args[1], "messages"}, query: q}, nil
	})}
}

func (a *app) adminGroupCommands(f *adminFlags) []*cobra.Command {
	leaf := func(use, short string, args cobra.PositionalArgs, make func(args []string) adminRequest) *cobra.Command {
		return a.adminLeaf(f, &cobra.Command{Use: use, Short: short, Args: args},
			func(args []string) (adminRequest, error) { return make(args), nil })
	}
	c := group(&cobra.Command{Use: "group", Short: "Create, change and look at groups"})
	var owner, name, join, history, cid string
	create := a.adminLeaf(f, &cobra.Command{Use: "create NAME MEMBER…", Short: "Create a group", Args: cobra.MinimumNArgs(1)},
		func(args []string) (adminRequest, error) {
			if owner == "" {
				return adminRequest{}, errors.New("name whose it is with --owner")
			}
			return adminRequest{method: "POST", path: []string{"groups"}, body: map[string]any{
				"owner": owner, "name": args[0], "members": args[1:], "join": join, "history": history, "cid": cid,
			}}, nil
		})
	create.Flags().StringVar(&owner, "owner", "", "`USER` to whom it belongs")
	create.Flags().StringVar(&cid, "cid", "", "client `ID`: the same one creates the group once")
	set := a.adminLeaf(f, &cobra.Command{Use: "set GROUP", Short: "Change a group's name, who may join, what of its history is seen", Args: cobra.ExactArgs(1)},
		func(args []string) (adminRequest, error) {
			body := map[string]any{"join": join, "history": history}
			if name != "" {
				body["name"] = name
			}
			return adminRequest{method: "PATCH", path: []string{"groups", args[0]}, body: body}, nil
		})
	set.Flags().StringVar(&name, "name", "", "new `NAME`")
	for _, sub := range []*cobra.Command{create, set} {
		sub.Flags().StringVar(&join, "join", "", "invite or open")
		sub.Flags().StringVar(&history, "history", "", "joined or all")
	}
	c.AddCommand(create, set,
		leaf("info GROUP", "Print what is known of a group", cobra.ExactArgs(1), func(args []string) adminRequest {
			return adminRequest{method: "GET", path: []string{"groups", args[0]}}
		}),
		leaf("dissolve GROUP", "End a group: nobody is a member any more", cobra.ExactArgs(1), func(args []string) adminRequest {
			return adminRequest{method: "DELETE", path: []string{"groups", args[0]}}
		}),
		paged(f, leaf("members GROUP", "List members", cobra.ExactArgs(1), func(args []string) adminRequest {
			return adminRequest{method: "GET", path: []string{"groups", args[0], "members"}, query: f.page()}
		})),
		leaf("add GROUP USER…", "Add members", cobra.MinimumNArgs(2), func(args []string) adminRequest {
			return adminRequest{method: "POST", path: []string{"groups", args[0], "members"}, body: map[string]any{"users": args[1:]}}
		}),
		leaf("remove GROUP USER", "Remove a member", cobra.ExactArgs(2), func(args []string) adminRequest {
			return adminRequest{method: "DELETE", path: []string{"groups", args[0], "members", args[1]}}
		}),
		leaf("role GROUP USER ROLE", "Give a member a role: owner, admin or member", cobra.ExactArgs(3), func(args []string) adminRequest {
			return adminRequest{method: "PUT", path: []string{"groups", args[0], "members", args[1]}, body: map[string]any{"role": args[2]}}
		}),
		paged(f, leaf("history GROUP", "Print a page of the group's log, oldest first", cobra.ExactArgs(1), func(args []string) adminRequest {
			return adminRequest{method: "GET", path: []string{"groups", args[0], "messages"}, query: url.Values{"limit": {strconv.Itoa(f.limit)}}}
		})),
	)
	groups := paged(f, leaf("groups", "List groups", cobra.NoArgs, func([]string) adminRequest {
		return adminRequest{method: "GET", path: []string{"groups"}, query: f.page()}
	}))
	return []*cobra.Command{groups, c}
}
