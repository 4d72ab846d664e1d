package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"syscall"
	"time"

	"github.com/godwit-im/godwit/internal/netlab"
)

// inside tells the second run of this program that its network namespace is fresh.
const inside = "EDGEFAULTS_INSIDE"

// supervise runs the campaign; with hosts of their own, in a second run of this
// program whose network namespace is fresh.
func supervise(o options) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	watchParent()
	if o.Netns && os.Getenv(inside) == "" {
		return again(ctx)
	}
	say("%d edges with %d sessions each, %g messages/s, router %s", o.Edges, o.Sessions, o.Rate, o.Router)
	r, err := campaign(ctx, o)
	switch {
	case ctx.Err() != nil:
		fmt.Fprintln(os.Stderr, "edgefaults: interrupted")
		return exitInterrupted
	case err != nil && r == nil:
		fmt.Fprintln(os.Stderr, "edgefaults:", err)
		return exitFailed
	case err != nil:
		r.missed("the campaign broke off: %v", err)
	}
	r.write(os.Stderr)
	if o.Report != "" {
		if err := r.save(o.Report); err != nil {
			fmt.Fprintln(os.Stderr, "edgefaults:", err)
			return exitFailed
		}
	}
	if o.JSON {
		fmt.Println(r.line())
	}
	if !r.Passed() {
		return exitFailed
	}
	return 0
}

func again(ctx context.Context) int {
	if missing := netlab.Missing(); missing != "" {
		fmt.Fprintln(os.Stderr, "edgefaults: -netns needs", missing)
		return exitUsage
	}
	self, err := os.Executable()
	if err != nil {
		fmt.Fprintln(os.Stderr, "edgefaults:", err)
		return exitFailed
	}
	runtime.LockOSThread() // the child dies with this thread
	cmd := exec.CommandContext(ctx, self, os.Args[1:]...)
	cmd.Env = append(os.Environ(), inside+"=1")
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	netlab.Private(cmd)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = time.Minute
	err = cmd.Run()
	if cmd.ProcessState == nil || cmd.ProcessState.ExitCode() < 0 {
		fmt.Fprintln(os.Stderr, "edgefaults:", err)
		return exitFailed
	}
	return cmd.ProcessState.ExitCode()
}

// watchParent ends this process when "go run" or whoever started it is killed; its
// children die with it.
func watchParent() {
	parent := os.Getppid()
	if parent == 1 {
		return
	}
	go func() {
		for range time.Tick(200 * time.Millisecond) {
			if os.Getppid() != parent {
				os.Exit(exitFailed)
			}
		}
	}()
}

func say(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "edgefaults: "+format+"\n", args...)
}
