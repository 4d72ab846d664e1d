package main

import (
	"fmt"
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
		Use:     "token",
		Short:   "Make development tokens",
		Example: `  godwit token mint --data ./data alice bob`,
	})
	c.AddCommand(a.tokenMintCommand())
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
