// Command engine compares the product's storage engine, raft included, with the
// stores that one would take instead: Pebble, Badger, bbolt and NATS JetStream.
// All get the same workload in turns on the same disk, each in a process of its
// own, with the settings that were fastest for them; what was written is read
// again and compared.
//
// It refuses to know how the stores work: it sees durable appends, pages,
// processor time, memory and bytes. It judges no figure either: a missed target
// is printed as missed; only wrong data is a failure.
//
// Settings tried for Pebble on this workload: each appender its own synced
// batch (best up to 64 appenders), the same without waiting inside the commit
// (ApplyNoSyncWait: no faster), and one batch for all that queued, by one
// committer (best at 1024) or two (slower).
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"syscall"
)

func main() {
	runtime.LockOSThread() // see startChild
	if len(os.Args) == 3 && os.Args[1] == childFlag {
		os.Exit(childMain(os.Args[2]))
	}
	switch err := run(os.Args[1:]); {
	case err == nil, errors.Is(err, flag.ErrHelp):
	case errors.Is(err, errInterrupted):
		os.Exit(130)
	default:
		fmt.Fprintln(os.Stderr, "bench/engine:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	p, err := parsePlan(args, os.Stderr)
	if err != nil {
		return err
	}
	r := &runner{plan: p, progress: os.Stderr}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	defer signal.Stop(signals)
	go func() {
		for range signals {
			r.interrupt()
		}
	}()
	if err := r.run(); err != nil {
		return err
	}
	s := summarize(r)
	table := os.Stdout
	if p.json {
		table = os.Stderr
	}
	writeTables(table, r, s)
	if p.full {
		path, err := writeResult(p.results, r, s, args)
		if err != nil {
			return err
		}
		fmt.Fprintln(os.Stderr, "wrote", path)
	}
	if p.json {
		line, err := json.Marshal(s)
		if err != nil {
			return err
		}
		fmt.Printf("%s\n", line)
	}
	return nil
}
