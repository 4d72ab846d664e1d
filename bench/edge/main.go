// Command edge compares the product's edge with other WebSocket servers in Go
// (gws, gorilla, coder, gobwas), with what is under it (gnet), and with a floor:
// an epoll echo in C without WebSocket. All get the same load in turns, from the
// same raw client, each in a process of its own, servers on one core and clients
// on another.
//
// It refuses to know how the servers work: it sees CPU time, memory, messages
// and their latency. It judges no figure either: a missed target is printed as
// missed, and a figure that could not be measured is null, with the reason.
//
// Settings: GOMAXPROCS is 2 for all, though a server has one core: an event loop
// occupies one of them while it waits. Clients on other machines cost a server no
// wake-ups; here they would, so a client only sleeps while latency is measured.
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	lockThread() // see startChild
	if len(os.Args) == 3 && os.Args[1] == childFlag {
		os.Exit(childMain(os.Args[2]))
	}
	switch err := run(os.Args[1:]); {
	case err == nil, errors.Is(err, flag.ErrHelp):
	case errors.Is(err, errInterrupted):
		os.Exit(130)
	default:
		fmt.Fprintln(os.Stderr, "bench/edge:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	p, err := parsePlan(args, os.Stderr)
	if err != nil {
		return err
	}
	r := newRunner(p, os.Stderr)
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
