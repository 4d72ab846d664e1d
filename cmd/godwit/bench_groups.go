package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/godwit-im/godwit/harness/groups"
	"github.com/godwit-im/godwit/harness/load"
	"github.com/godwit-im/godwit/harness/record"
)

// groupsFlags are what bench groups can be told.
type groupsFlags struct {
	quick     bool
	data, out string
	sizes     []int
	channel   int
	online    int
	rounds    int
}

func (a *app) benchGroupsCommand() *cobra.Command {
	var flags groupsFlags
	c := &cobra.Command{
		Use:   "groups",
		Short: "Measure what a message costs by the size of its group",
		Long: `Start a server of this program with groups of 10 to 10,000 members and a channel of
100,000, of whom 10,000 users hold sessions of the Go SDK, and measure for each size:
the server's CPU time per delivery (bursts, the sizes in turn, the median of 5
rounds), entries written per message, the time from send to delivery at a pace, and
bytes on disk per member and message. Lost or repeated deliveries are an error.

The result is printed as a table, or with --json as one line, and kept in a file.`,
		Example: `  godwit bench groups                  # some minutes
  godwit bench groups --quick --json   # small, about half a minute
  godwit bench groups --sizes 10,100 --channel 0 --rounds 1`,
		Args: cobra.NoArgs,
		RunE: work(func(c *cobra.Command, _ []string) error { return a.benchGroups(c.Context(), &flags) }),
	}
	f := c.Flags()
	f.BoolVar(&flags.quick, "quick", false, "small groups, few rounds")
	f.IntSliceVar(&flags.sizes, "sizes", nil, "members of the groups, ascending")
	f.IntVar(&flags.channel, "channel", -1, "members of the channel; 0: none")
	f.IntVar(&flags.online, "online", 0, "sessions")
	f.IntVar(&flags.rounds, "rounds", 0, "rounds of bursts")
	f.StringVar(&flags.data, "data", "", "`DIR`ectory in which the server gets its own")
	f.StringVar(&flags.out, "out", "", "`FILE` of the result (default a new one in "+benchResults+"/)")
	return c
}

func (flags *groupsFlags) config() groups.Config {
	cfg := groups.Full()
	if flags.quick {
		cfg = groups.Quick()
	}
	if len(flags.sizes) > 0 {
		cfg.Sizes = flags.sizes
	}
	if flags.channel >= 0 {
		cfg.Channel = flags.channel
	}
	if flags.online > 0 {
		cfg.Online = flags.online
	}
	if flags.rounds > 0 {
		cfg.Rounds = flags.rounds
	}
	return cfg
}

// command makes the same measurement again.
func (flags *groupsFlags) command() string {
	line := "godwit bench groups"
	if flags.quick {
		line += " --quick"
	}
	if len(flags.sizes) > 0 {
		line += " --sizes " + strings.Trim(strings.ReplaceAll(fmt.Sprint(flags.sizes), " ", ","), "[]")
	}
	if flags.channel >= 0 {
		line += fmt.Sprint(" --channel ", flags.channel)
	}
	if flags.online > 0 {
		line += fmt.Sprint(" --online ", flags.online)
	}
	if flags.rounds > 0 {
		line += fmt.Sprint(" --rounds ", flags.rounds)
	}
	return line
}

func (a *app) benchGroups(ctx context.Context, flags *groupsFlags) (err error) {
	cfg := flags.config()
	s := &benchServer{}
	if s.data, err = load.NewDataDir(flags.data); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	if err := a.startGroupsServer(ctx, s, &cfg); err != nil {
		return err
	}
	cfg.URL, cfg.Metrics, cfg.PID, cfg.Tokens = s.running.URL, s.running.Ops+"/metrics", s.running.PID, s.mint
	cfg.Progress = a.stderr
	backups := filepath.Join(s.data.Path, "backups")
	cfg.Checkpoint = func(ctx context.Context) error {
		quiet := *a
		quiet.stderr = io.Discard
		_, err := quiet.askBackup(ctx, s.running.Ops, backups)
		return errors.Join(err, os.RemoveAll(backups))
	}
	started := time.Now().UTC()
	result, failed := groups.Run(ctx, cfg)
	if result == nil {
		return failed
	}
	result.Started, result.Commit, result.CPUs = started.Format(time.RFC3339), record.Commit(), runtime.NumCPU()
	host, _ := record.HostFacts(s.data.Path) // what the system does not tell stays empty
	result.CPU = host.CPU
	result.Command = flags.command()
	return errors.Join(failed, a.keepGroups(flags, result, started))
}

// startGroupsServer starts a server whose groups of cfg stay groups, without
// limits of rates.
func (a *app) startGroupsServer(ctx context.Context, s *benchServer, cfg *groups.Config) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	s.dir = filepath.Join(s.data.Path, "server")
	environ, err := s.makeSecret()
	if err != nil {
		return err
	}
	environ = append(environ, "GODWIT_POLICY_CHANNEL_ABOVE="+strconv.Itoa(cfg.ChannelAbove()),
		"GODWIT_LIMITS_USER_SEND_PER_S=0", "GODWIT_LIMITS_GROUP_SEND_PER_S=0", "GODWIT_LIMITS_FRAMES_PER_S=0",
		"GODWIT_EDGE_PER_SOURCE=65536")
	var log bytes.Buffer
	s.running, err = load.StartServer(ctx, &log, environ, self, "serve", "--json", "--listen", "127.0.0.1:0", "--ops", "127.0.0.1:0", "--data", s.dir)
	if err != nil {
		return fmt.Errorf("%w: %s", err, bytes.TrimSpace(log.Bytes()))
	}
	return nil
}

// keepGroups writes the result's file and prints it.
func (a *app) keepGroups(flags *groupsFlags, result *groups.Result, started time.Time) error {
	b, err := json.MarshalIndent(result, "", "  ")
	if err != nil {
		return err
	}
	out := flags.out
	if out == "" {
		commit := result.Commit
		commit = commit[:min(12, len(commit))]
		out = filepath.Join(benchResults, "groups-"+strings.ReplaceAll(started.Format("20060102T150405Z"), ":", "")+"-"+commit+".json")
	}
	if err := os.MkdirAll(filepath.Dir(out), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(out, append(b, '\n'), 0o644); err != nil {
		return err
	}
	if a.json {
		return a.printJSON(result)
	}
	_, err = fmt.Fprintf(a.stdout, "%s\nresult: %s\n", result.Table(), out)
	return err
}
