package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/godwit-im/godwit/admin"
	"github.com/godwit-im/godwit/node"
)

// envAdminKey stands in for --key, so that a key need not show in the list of
// processes.
const envAdminKey = "GODWIT_ADMIN_KEY"

// adminFlags say which server to administer, and with which key.
type adminFlags struct {
	ops, key, data string
	timeout        time.Duration
	limit          int
	next           string
	once           string // Idempotency-Key
}

func (f *adminFlags) register(c *cobra.Command) {
	flags := c.PersistentFlags()
	flags.StringVar(&f.ops, "ops", node.Default().Ops, "ops `ADDR`ess of the server")
	flags.StringVar(&f.key, "key", "", "`KEY` of the administration API (default $"+envAdminKey+", else the development key in --data)")
	flags.StringVar(&f.data, "data", node.Default().Data, "data `DIR`ectory with the development key of a server started with --dev")
	flags.DurationVar(&f.timeout, "timeout", 15*time.Second, "give up after so long")
	flags.StringVar(&f.once, "once", "", "Idempotency-Key: a change repeated under the same `NAME` is done once")
}

// adminRequest is what a subcommand asks for.
type adminRequest struct {
	method string
	path   []string // segments, not escaped
	query  url.Values
	body   any
}

// adminRefusal is the server's answer to what it did not do.
type adminRefusal struct {
	Code   string `json:"code"`
	Detail string `json:"detail"`
	Title  string `json:"title"`
}

func (r *adminRefusal) Error() string {
	if r.Detail != "" {
		return r.Detail
	}
	return r.Title
}

// secret finds the key: the flag, the environment, or the development key.
func (f *adminFlags) secret(environ []string) (string, error) {
	if f.key != "" {
		return f.key, nil
	}
	if key := lookup(environ, envAdminKey); key != "" {
		return key, nil
	}
	b, err := os.ReadFile(filepath.Join(f.data, node.AdminDevKeyFile))
	if err != nil {
		return "", fmt.Errorf("no key: give --key, or set %s, or --data of a server started with --dev (%w)", envAdminKey, err)
	}
	return strings.TrimSpace(string(b)), nil
}

// ask makes the request and prints the answer.
func (a *app) askAdmin(ctx context.Context, f *adminFlags, ask adminRequest) error {
	secret, err := f.secret(a.environ)
	if err != nil {
		return err
	}
	var body []byte
	if ask.body != nil {
		if body, err = json.Marshal(ask.body); err != nil {
			return err
		}
	}
	segments := slices.Clone(ask.path)
	for i := range segments {
		segments[i] = url.PathEscape(segments[i])
	}
	address := "http://" + strings.TrimPrefix(f.ops, "http://") + admin.Prefix + strings.Join(segments, "/")
	if len(ask.query) > 0 {
		address += "?" + ask.query.Encode()
	}
	ctx, cancel := context.WithTimeout(ctx, f.timeout)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, ask.method, address, bytes.NewReader(body))
	if err != nil {
		return err
	}
	r.Header.Set("Authorization", "Bearer "+secret)
	if f.once != "" && ask.method != http.MethodGet {
		r.Header.Set("Idempotency-Key", f.once)
	}
	answer, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(r)
	if err != nil {
		return fmt.Errorf("%w: %w; is --ops its ops address?", errUnreachable, err)
	}
	defer answer.Body.Close()
	return a.printAdmin(answer)
}

// adminAnswerMax bounds what is read of an answer: a page of messages and room.
const adminAnswerMax = 64 << 20

func (a *app) printAdmin(answer *http.Response) error {
	b, err := io.ReadAll(io.LimitReader(answer.Body, adminAnswerMax))
	if err != nil {
		return fmt.Errorf("%w: the answer broke off: %w", errUnreachable, err)
	}
	if answer.StatusCode >= http.StatusBadRequest {
		refusal := &adminRefusal{Code: "failed", Title: answer.Status}
		_ = json.Unmarshal(b, refusal)
		return refusal
	}
	b = bytes.TrimSpace(b)
	if len(b) == 0 {
		b = []byte("{}")
	}
	var out bytes.Buffer
	if a.json {
		err = json.Compact(&out, b)
	} else {
		err = json.Indent(&out, b, "", "  ")
	}
	if err != nil {
		return errors.New("the server at that address does not speak of administration")
	}
	_, err = fmt.Fprintf(a.stdout, "%s\n", out.Bytes())
	return err
}

// adminCommand is the tree of operators' commands.
func (a *app) adminCommand() *cobra.Command {
	f := &adminFlags{}
	c := group(&cobra.Command{
		Use:   "admin",
		Short: "Administer a running server",
		Long: `Administer a running server over its ops address: users, devices, groups,
messages. Every command is one request of the API that docs/admin.md describes,
and prints its answer; with --json on one line.

It needs a key of the server's admin.keys_file. A server started with --dev has
made one; it is found with --data.`,
		Example: `  godwit admin key new --id support --scopes read,kick
  godwit admin users --limit 10
  godwit admin send --to bob 'Maintenance at noon' --once maintenance-17
  godwit admin group create --owner alice Team bob carol
  godwit admin history alice u:bob --limit 20 --json`,
	})
	f.register(c)
	c.AddCommand(a.adminKeyCommand())
	for _, add := range []func(*adminFlags) []*cobra.Command{a.adminUserCommands, a.adminMessageCommands, a.adminGroupCommands} {
		c.AddCommand(add(f)...)
	}
	adminExamples(c)
	return c
}

// adminExamples gives every leaf without an example its usage with names filled in.
func adminExamples(c *cobra.Command) {
	fill := strings.NewReplacer("USER…", "bob carol", "MEMBER…", "bob carol", "USER", "bob", "CONV", "u:alice", "GROUP", "gk3zxabcdef",
		"ROLE", "admin", "MID", "8TIhjFXRjj-4I7zdk-WXrA", "NAME", "Team", "TEXT", "hello")
	for _, sub := range c.Commands() {
		adminExamples(sub)
		if sub.Example == "" {
			_, args, _ := strings.Cut(sub.Use, " ")
			sub.Example = strings.TrimRight("  godwit "+sub.CommandPath()+" "+fill.Replace(args), " ")
			if sub.Flags().Lookup("yes") != nil {
				sub.Example += " --yes"
			}
		}
	}
}

// adminLeaf is a subcommand that is one request.
func (a *app) adminLeaf(f *adminFlags, c *cobra.Command, make func(args []string) (adminRequest, error)) *cobra.Command {
	c.RunE = func(c *cobra.Command, args []string) error {
		ask, err := make(args)
		if err != nil {
			return err
		}
		return work(func(c *cobra.Command, _ []string) error { return a.askAdmin(c.Context(), f, ask) })(c, args)
	}
	return c
}

// paged adds the flags of a list.
func paged(f *adminFlags, c *cobra.Command) *cobra.Command {
	c.Flags().IntVar(&f.limit, "limit", 100, "entries of the page, 1 to 1000")
	c.Flags().StringVar(&f.next, "next", "", "go on behind the former page: its `next`")
	return c
}

func (f *adminFlags) page() url.Values {
	q := url.Values{"limit": {strconv.Itoa(f.limit)}}
	if f.next != "" {
		q.Set("next", f.next)
	}
	return q
}

func (a *app) adminKeyCommand() *cobra.Command {
	c := group(&cobra.Command{Use: "key", Short: "Make keys of the administration API"})
	var id string
	var scopes []string
	create := &cobra.Command{
		Use:   "new",
		Short: "Make a key: its secret, and its line for admin.keys_file",
		Long: `Make a key. The secret is printed once and stored nowhere; the line goes into the
file that admin.keys_file names, which the server reads when it starts. Scopes:
read, history, send, groups, kick, erase.`,
		Example: `  godwit admin key new --id support --scopes read,kick
  godwit admin key new --id robot --scopes send --json`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			var list []admin.Scope
			for _, scope := range scopes {
				list = append(list, admin.Scope(scope))
			}
			key, secret, err := admin.NewKey(id, list)
			if err != nil {
				return err
			}
			if a.json {
				return a.printJSON(struct {
					Secret string    `json:"secret"`
					Key    admin.Key `json:"key"`
				}{secret, key})
			}
			_, err = fmt.Fprintf(a.stdout, "secret: %s\nline:   - {id: %s, hash: %s, scopes: [%s]}\n", secret, key.ID, key.Hash, strings.Join(scopes, ", "))
			return err
		},
	}
	create.Flags().StringVar(&id, "id", "", "`NAME` of the key, for the log")
	create.Flags().StringSliceVar(&scopes, "scopes", nil, "what it may do")
	c.AddCommand(create)
	return c
}
