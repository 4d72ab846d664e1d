package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/godwit-im/godwit"
	"github.com/godwit-im/godwit/auth"
	"github.com/godwit-im/godwit/node"
)

// tokenTTL is how long a development token lives.
const tokenTTL = 24 * time.Hour

func (a *app) tokenCommand() *cobra.Command {
	c := group(&cobra.Command{
		Use:   "token",
		Short: "Make development tokens, and say whether a server believes a token",
		Example: `  godwit token mint --data ./data alice bob
  godwit token verify -c godwit.yaml "$TOKEN"`,
	})
	c.AddCommand(a.tokenMintCommand(), a.tokenVerifyCommand())
	return c
}

func (a *app) tokenMintCommand() *cobra.Command {
	var data string
	c := &cobra.Command{
		Use:   "mint USER…",
		Short: "Print one token per user, a line each, valid for 24 hours",
		Long: `Print one token per user, a line each in the order given, valid for 24 hours.

They are signed with DIR/dev-signing-key, which is made if it is missing, and
believed by a server that was started with --dev (or as demo) on the same DIR.
No lock is taken: it works while the server runs, and before it first starts.`,
		Example: `  godwit token mint --data ./data alice
  TOKEN=$(godwit token mint --data ./data alice)
  godwit token mint --data ./data alice bob carol`,
		Args: cobra.MinimumNArgs(1),
		RunE: work(func(_ *cobra.Command, users []string) error {
			for _, user := range users { // all or none
				if _, err := godwit.ParseUserID(user); err != nil {
					return fmt.Errorf("user %q: %w", user, godwit.ErrBadUser)
				}
			}
			signer, err := auth.DevSigner(data, nil)
			if err != nil {
				return err
			}
			for _, user := range users {
				token, err := signer.Mint(godwit.UserID(user), tokenTTL)
				if err != nil {
					return err
				}
				if _, err := fmt.Fprintln(a.stdout, token); err != nil {
					return err
				}
			}
			return nil
		}),
	}
	c.Flags().StringVar(&data, "data", node.Default().Data, "data `DIR`ectory of the server")
	return c
}

func (a *app) tokenVerifyCommand() *cobra.Command {
	var flags serverFlags
	c := &cobra.Command{
		Use:   "verify TOKEN",
		Short: "Print whom a token speaks for, or why it is refused",
		Long: `Print whom a token speaks for and until when, or why a server of this
configuration refuses it (exit code 1): what a client is never told. Keys are
read as by serve, from auth.keys_file and auth.jwks_url. With - the token is
read from standard input, which keeps it out of the list of processes.`,
		Example: `  godwit token verify -c godwit.yaml "$TOKEN"
  godwit token verify --dev --data ./data "$TOKEN"
  godwit token verify -c godwit.yaml - < token.txt`,
		Args: cobra.ExactArgs(1),
		RunE: work(func(c *cobra.Command, args []string) error {
			cfg, err := a.loadValid(c, &flags)
			if err != nil {
				return err
			}
			token := []byte(args[0])
			if args[0] == "-" {
				if token, err = io.ReadAll(io.LimitReader(a.stdin, auth.TokenBytesMax+2)); err != nil {
					return err
				}
				token = bytes.TrimRight(token, "\r\n")
			}
			return a.tokenVerify(c.Context(), &cfg, token)
		}),
	}
	c.Flags().StringVarP(&flags.file, "config", "c", "", "YAML configuration `FILE` of the server")
	c.Flags().BoolVar(&flags.dev, "dev", false, "believe tokens of DIR/dev-signing-key")
	c.Flags().StringVar(&flags.data, "data", node.Default().Data, "data `DIR`ectory of the server, with --dev")
	return c
}

func (a *app) tokenVerify(ctx context.Context, cfg *node.Config, token []byte) error {
	keyring, err := cfg.Keyring()
	if err != nil {
		return err
	}
	defer keyring.Close()
	if err := keyring.Start(ctx); err != nil {
		return err
	}
	who, err := keyring.Verify(token)
	if err != nil {
		return err
	}
	end := time.UnixMilli(who.Expires).UTC().Format(time.RFC3339)
	if a.json {
		return a.printJSON(map[string]any{"user": who.User, "expires": end})
	}
	_, err = fmt.Fprintf(a.stdout, "%s until %s\n", who.User, end)
	return err
}
