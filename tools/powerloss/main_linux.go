package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// workerArgument is the hidden first argument of the worker; options follow.
//
// The worker does the rounds in a mount namespace of its own: whatever ends it,
// its mounts and loop devices go with it.
const workerArgument = "powerloss-worker"

const (
	exitFailed      = 1
	exitInterrupted = 130
	buildTime       = 10 * time.Minute
	workerEndTime   = 60 * time.Second // to clean up after a signal
)

// packagePath is this program, for go build.
const packagePath = "github.com/godwit-im/godwit/tools/powerloss"

var errInterrupted = errors.New("interrupted")

// supervise prepares a run, starts the worker and removes what is left.
func supervise(o options) int {
	if err := prepare(&o); err != nil {
		fmt.Fprintln(os.Stderr, "powerloss:", err)
		return exitUsage
	}
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	code, err := superviseWorker(&o, signals)
	err = errors.Join(err, os.RemoveAll(o.Work))
	if err != nil {
		fmt.Fprintln(os.Stderr, "powerloss:", err)
		code = max(code, exitFailed)
	}
	return code
}

// prepare checks what can be checked ahead and makes the work directory.
func prepare(o *options) error {
	if os.Geteuid() != 0 {
		return errors.New("must run as root: it mounts file systems on loop devices")
	}
	if err := checkTools(o.Filesystems); err != nil {
		return err
	}
	if _, err := exec.LookPath("strace"); err != nil {
		return errors.New("strace is missing; install the Debian package strace")
	}
	if err := checkPlace(o.Dir); err != nil {
		return err
	}
	for _, path := range []*string{&o.Report, &o.Seeded, &o.Keep} {
		if *path == "" {
			continue
		}
		var err error
		if *path, err = filepath.Abs(*path); err != nil {
			return err
		}
	}
	work, err := os.MkdirTemp(o.Dir, "godwit-powerloss-")
	if err != nil {
		return err
	}
	o.Work, err = filepath.Abs(work)
	return err
}

func superviseWorker(o *options, signals <-chan os.Signal) (code int, err error) {
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	done := make(chan struct{})
	defer func() { cancel(nil); <-done }()
	go func() {
		defer close(done)
		select {
		case <-signals:
			cancel(errInterrupted)
		case <-ctx.Done():
		}
	}()
	if o.Seeded == "" {
		if err := buildSeeded(ctx, o); err != nil {
			if errors.Is(context.Cause(ctx), errInterrupted) {
				return exitInterrupted, nil
			}
			return exitUsage, err
		}
	}
	if out, err := exec.CommandContext(ctx, "git", "rev-parse", "--short=12", "HEAD").Output(); err == nil {
		o.Commit = strings.TrimSpace(string(out))
	}
	self, err := os.Executable()
	if err != nil {
		return exitFailed, err
	}
	argument, err := json.Marshal(o)
	if err != nil {
		return exitFailed, err
	}
	worker := exec.CommandContext(ctx, self, workerArgument, string(argument))
	worker.Stdout, worker.Stderr = os.Stdout, os.Stderr
	worker.SysProcAttr = &syscall.SysProcAttr{Unshareflags: unix.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	worker.Cancel = func() error { return worker.Process.Signal(syscall.SIGTERM) }
	worker.WaitDelay = workerEndTime
	err = worker.Run()
	if worker.ProcessState == nil {
		return exitFailed, fmt.Errorf("start the worker: %w", err)
	}
	if code = worker.ProcessState.ExitCode(); code < 0 {
		return exitFailed, fmt.Errorf("the worker: %w", err)
	}
	return code, nil
}

// buildSeeded builds this program with the planted faults.
func buildSeeded(ctx context.Context, o *options) error {
	ctx, cancel := context.WithTimeout(ctx, buildTime)
	defer cancel()
	o.Seeded = filepath.Join(o.Work, "seeded")
	cmd := exec.CommandContext(ctx, "go", "build", "-tags", "seededbugs", "-o", o.Seeded, packagePath)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build the program with planted faults (run this inside of the module, or give -seeded-binary): %w\n%s", err, out)
	}
	return nil
}

// workerMain does the rounds and says what came of it.
func workerMain(arguments []string) int {
	var o options
	if len(arguments) != 1 || json.Unmarshal([]byte(arguments[0]), &o) != nil {
		fmt.Fprintln(os.Stderr, "powerloss: a worker is started by its supervisor only")
		return exitUsage
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	begun := time.Now()
	r := &runner{options: o, report: newReport(&o, kernelVersion()), progress: func(format string, args ...any) {
		fmt.Fprintf(os.Stderr, "powerloss: "+format+"\n", args...)
	}}
	err := r.run(ctx)
	r.report.Complete = err == nil
	r.report.Seconds = time.Since(begun).Seconds()
	passed := r.report.judge()
	r.report.write(os.Stdout)
	if err == nil && o.Report != "" {
		err = r.report.save(o.Report)
	}
	switch {
	case err != nil && ctx.Err() != nil:
		fmt.Fprintln(os.Stderr, "powerloss: interrupted")
		return exitInterrupted
	case err != nil:
		fmt.Fprintln(os.Stderr, "powerloss:", err)
		return exitFailed
	case !passed:
		return exitFailed
	}
	return 0
}
