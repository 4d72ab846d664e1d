package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/godwit-im/godwit"
	"github.com/godwit-im/godwit/client"
)

// Exit codes; scripts rely on them.
const (
	exitDone   = 0
	exitFailed = 1 // refused, failed, or not known whether it was done
	exitUsage  = 2
)

// app is one run of the command line. Tests run it without a process.
type app struct {
	stdin   io.Reader
	stdout  io.Writer
	stderr  io.Writer
	environ []string

	json bool // --json
}

// failure marks an error that came from doing the work: everything else that
// cobra returns is about the command line.
type failure struct{ error }

func (f failure) Unwrap() error { return f.error }

// run executes a command line and returns the exit code.
func (a *app) run(ctx context.Context, args []string) int {
	a.stdout = &output{a.stdout}
	root := a.command()
	root.SetArgs(shieldMID(args))
	root.SetIn(a.stdin)
	root.SetOut(a.stdout)
	root.SetErr(a.stderr)
	// Known before parsing, so that a wrong command line is reported as asked too.
	flags, _, _ := strings.Cut("\x00"+strings.Join(args, "\x00")+"\x00", "\x00--\x00")
	a.json = slices.Contains(strings.Split(flags, "\x00"), "--json")
	command, err := root.ExecuteContextC(ctx)
	if err == nil || errors.Is(err, errUnread) { // nobody reads any more: that is no failure
		return exitDone
	}
	var f failure
	if errors.As(err, &f) {
		a.complain(code(f.error), f.error)
		return exitFailed
	}
	a.complain("usage", fmt.Errorf("%w; see %s --help", err, command.CommandPath()))
	return exitUsage
}

// complain reports an error: a sentence on standard error, or one JSON object
// on standard output, where a script reads its result.
func (a *app) complain(code string, err error) {
	if !a.json {
		fmt.Fprintln(a.stderr, "godwit:", strings.ReplaceAll(printable(err.Error()), "\n", "\ngodwit: "))
		return
	}
	var body struct {
		Error struct {
			Code    string `json:"code"`
			Message string `json:"message"`
		} `json:"error"`
	}
	body.Error.Code, body.Error.Message = code, err.Error()
	_ = a.printJSON(body)
}

// code is the stable word for an error: the protocol's where a server refused.
func code(err error) string {
	var refused *godwit.Error
	var closed *client.CloseError
	var administered *adminRefusal
	switch {
	case errors.As(err, &administered):
		return administered.Code
	case errors.Is(err, client.ErrUnknown):
		return "unknown"
	case errors.As(err, &refused):
		return refused.Code
	case errors.As(err, &closed) && closed.Code == godwit.CloseLoggedOut:
		return godwit.ErrLoggedOut.Code
	case errors.As(err, &closed) && closed.Code/100 == godwit.CloseTokenInvalid/100:
		return godwit.ErrUnauthorized.Code
	case errors.Is(err, client.ErrNotSent), errors.Is(err, errUnreachable):
		return "unreachable"
	case errors.Is(err, errConfig):
		return "config.invalid"
	case errors.Is(err, errDamaged):
		return "damaged"
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, fs.ErrPermission):
		return "file"
	}
	return "failed"
}

// printJSON writes one line, text unescaped.
func (a *app) printJSON(v any) error {
	encoder := json.NewEncoder(a.stdout)
	encoder.SetEscapeHTML(false)
	return encoder.Encode(v)
}

// command builds the tree of subcommands.
func (a *app) command() *cobra.Command {
	root := &cobra.Command{
		Use:   "godwit",
		Short: "A messenger server: ordered, durable, resumable",
		Long: `Godwit stores, orders and delivers messages between users, on all their devices.

Exit codes: 0 done, 1 refused or failed, 2 wrong command line. With --json an
error is one line on standard output: {"error":{"code":"…","message":"…"}}.`,
		Example: `  godwit demo                                  # a server with three users and a page to try it
  godwit serve -c godwit.yaml                  # a server for your own users
  godwit send --token "$TOKEN" bob 'hello'     # a message from the shell
  godwit tail --token "$TOKEN" --json          # a user's log as it grows`,
		Args:          cobra.NoArgs,
		SilenceErrors: true,
		SilenceUsage:  true,
		RunE:          func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	root.CompletionOptions.HiddenDefaultCmd = true
	root.PersistentFlags().BoolVar(&a.json, "json", false, "print results and errors as JSON, one object a line")
	root.AddCommand(
		a.demoCommand(), a.serveCommand(), a.healthCommand(),
		a.sendCommand(), a.tailCommand(), a.historyCommand(), a.conversationsCommand(), a.conversationCommand(),
		a.markCommand(), a.editCommand(), a.recallCommand(), a.typingCommand(), a.presenceCommand(),
		a.groupCommand(), a.blockCommand(), a.unblockCommand(), a.contactCommand(), a.devicesCommand(), a.logoutCommand(),
		a.adminCommand(), a.edgesCommand(), a.linkCommand(), a.backupCommand(), a.restoreCommand(), a.segmentCommand(),
		a.benchCommand(), a.tokenCommand(), a.configCommand(), a.versionCommand(),
	)
	return root
}

// work wraps the body of a subcommand: its errors are failures, not usage.
func work(run func(c *cobra.Command, args []string) error) func(*cobra.Command, []string) error {
	return func(c *cobra.Command, args []string) error {
		if err := run(c, args); err != nil {
			return failure{err}
		}
		return nil
	}
}

// group is a command that only holds others.
func group(c *cobra.Command) *cobra.Command {
	c.Args = cobra.NoArgs
	c.RunE = func(c *cobra.Command, _ []string) error { return fmt.Errorf("%s needs a subcommand", c.CommandPath()) }
	return c
}
