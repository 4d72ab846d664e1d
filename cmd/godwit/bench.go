package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/godwit-im/godwit/harness/load"
	"github.com/godwit-im/godwit/harness/record"
	"github.com/godwit-im/godwit/harness/result"
	"github.com/godwit-im/godwit/harness/scenario"
)

// benchResults is where results go unless told otherwise.
const benchResults = "bench/results"

// agentArgs make this program an agent of a bench run that started it.
var agentArgs = []string{"bench", "agent", "--listen", "-"}

func (a *app) benchCommand() *cobra.Command {
	c := group(&cobra.Command{
		Use:   "bench",
		Short: "Measure a server under load, and check what it promised",
		Example: `  godwit bench run dm-chat --quick
  godwit bench run idle-connections --json`,
	})
	c.AddCommand(a.benchRunCommand(), a.benchAgentCommand(), a.benchCapacityCommand(), a.benchGroupsCommand(), a.benchSelfTestCommand(), a.benchReportCommand(), a.benchCompareCommand(), a.benchPageCommand())
	return c
}

// benchFlags are what bench run can be told.
type benchFlags struct {
	quick              bool
	set                []string
	url, metrics, data string
	pid                int
	out                string
	agents             []string
	secretFile         string
}

func (a *app) benchRunCommand() *cobra.Command {
	var flags benchFlags
	c := &cobra.Command{
		Use:   "run SCENARIO",
		Short: "Run a scenario and write its result",
		Long: `Run a load test and write its result to a file. SCENARIO is one of
` + strings.Join(scenario.Names(), ", ") + `,
or a .yaml file.

Without --url it starts a server of its own, with as many edge processes as the
scenario says, on a fresh directory below --data, and ends it afterwards; what an
earlier run that was killed left there is removed. With --url the server must
believe development tokens of the directory --data (godwit serve --dev --data DIR).

Operations are due by a schedule that is made beforehand; latency counts from
the time an operation was due. Every message is checked for loss, repetition and
order, and read back at the end. The exit code is 1 when anything was lost, or when
the run missed a target of its scenario.`,
		Example: `  godwit bench run dm-chat --quick
  godwit bench run dm-chat --set 'rate_per_s: 2000' --set 'stages: {measure: 30s}'
  godwit bench run dm-chat --url ws://127.0.0.1:8080/v1/ws --data ./data --metrics http://127.0.0.1:8081/metrics`,
		Args: cobra.ExactArgs(1),
		RunE: work(func(c *cobra.Command, args []string) error { return a.benchRun(c.Context(), args[0], &flags) }),
	}
	c.Flags().BoolVar(&flags.quick, "quick", false, "the short form of the scenario")
	c.Flags().StringArrayVar(&flags.set, "set", nil, "change the scenario by a piece of `YAML`, such as 'rate_per_s: 500'; may be repeated")
	c.Flags().StringVar(&flags.url, "url", "", "ws://host:port/v1/ws of a running server instead of one of its own")
	c.Flags().StringVar(&flags.metrics, "metrics", "", "with --url: `URL` of the server's /metrics")
	c.Flags().IntVar(&flags.pid, "pid", 0, "with --url: process id of the server on this machine, for its CPU and memory")
	c.Flags().StringVar(&flags.data, "data", "", "`DIR`ectory of the server with --url; else where its fresh one is made")
	c.Flags().StringArrayVar(&flags.agents, "agent", nil, "generate load at this `ADDR`ess, where godwit bench agent runs; may be repeated")
	c.Flags().StringVar(&flags.secretFile, "secret-file", "", "with --agent: `FILE` with the secret the agents know")
	c.Flags().StringVar(&flags.out, "out", "", "`FILE` of the result (default a new one in "+benchResults+"/)")
	return c
}

func (a *app) benchRun(ctx context.Context, name string, flags *benchFlags) error {
	watchParent()
	s, err := scenario.Open(name, flags.quick, flags.set...)
	if err != nil {
		return err
	}
	progress := record.NewProgress(a.stderr, time.Now)
	cfg := load.Config{Scenario: s, Command: benchCommandLine(name, flags), Progress: progress}
	if len(flags.agents) > 0 {
		cfg.Remote = flags.agents
		if cfg.Secret, err = readSecret(flags.secretFile); err != nil {
			return err
		}
	}
	if cfg.Program, err = os.Executable(); err != nil {
		return err
	}
	cfg.ProgramArgs = agentArgs
	cfg.Server.Version, cfg.Server.Store = version, "wal+memory"
	if flags.url == "" {
		server, err := startServer(ctx, flags.data, &s)
		if err != nil {
			return err
		}
		defer server.close()
		server.configure(&cfg)
	} else {
		switch {
		case flags.data == "":
			return fmt.Errorf("--url needs --data, the directory whose key the server believes")
		case s.Tokens != scenario.TokensEdDSA:
			return fmt.Errorf("the scenario %s has a key of its own and --url names a server that doesn't know it; add --set 'tokens: %s'", s.Name, scenario.TokensEdDSA)
		}
		cfg.Endpoint = load.Endpoint{URL: flags.url, Metrics: flags.metrics, PID: flags.pid}
		if ops, ok := strings.CutSuffix(flags.metrics, "/metrics"); ok {
			cfg.Endpoint.Edges = ops + edgesPath
		}
		cfg.Dir = flags.data
		cfg.Tokens = func(users []string) ([]string, error) { return mintAll(flags.data, users) }
	}
	run, err := load.Run(ctx, cfg)
	if run == nil {
		return err
	}
	err = errors.Join(err, a.benchWrite(run, flags.out), a.benchPrint(run))
	a.json = false // the summary stays the last line of standard output, a complaint follows elsewhere
	return err
}

// benchCommandLine is how to repeat a run, without what differs by machine.
func benchCommandLine(name string, flags *benchFlags) string {
	line := "godwit bench run " + filepath.Base(name)
	if flags.quick {
		line += " --quick"
	}
	for _, set := range flags.set {
		line += " --set '" + set + "'"
	}
	return line
}

func (a *app) benchWrite(run *result.Run, path string) error {
	if path == "" {
		name, err := result.FileName(run)
		if err != nil {
			return err
		}
		if err := os.MkdirAll(benchResults, 0o755); err != nil {
			return err
		}
		path = filepath.Join(benchResults, name)
	}
	if err := result.Write(path, run); err != nil {
		return err
	}
	_, _ = fmt.Fprintln(a.stderr, "result:", path)
	return nil
}
