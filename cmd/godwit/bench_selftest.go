package main

import (
	"github.com/spf13/cobra"

	"github.com/godwit-im/godwit/harness/load"
)

func (a *app) benchSelfTestCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "selftest",
		Short: "Plant faults and see the harness find them",
		Long: `Run the harness against fake servers that lose, repeat, exchange, change and
stall, and against a generator that falls behind; print what was found of each.
The exit code is 1 when something went unnoticed. It takes about half a minute.`,
		Example: `  godwit bench selftest`,
		Args:    cobra.NoArgs,
		RunE:    work(func(c *cobra.Command, _ []string) error { return load.SelfTest(c.Context(), a.stdout) }),
	}
}
