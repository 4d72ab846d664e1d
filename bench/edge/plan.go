package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// plan is what a run does. Everything is bounded in time.
type plan struct {
	quick, full, json bool
	results           string // where a full run writes its file
	profiles          string // directory for CPU profiles, empty: none
	servers           []string

	// Interleaved rounds: every server, then every server again. More than
	// roundsMin are taken as long as the phase's share of the time lasts.
	roundsMin, roundsMax int
	echoShare, pushShare time.Duration

	memorySteps []int // idle connections at which memory is read
	connections int   // of each server in the echo rounds
	active      []int // of those, how many send
	warm        time.Duration
	measure     time.Duration
	calls       bool // count system calls

	sessions   int // of each server in the push rounds
	flood      time.Duration
	paced      time.Duration
	broadcasts int // in one round
}

// Fixed by the targets.
const (
	pipelined      = 16
	pacedPerSecond = 10_000
	floodWorkers   = 1
)

// filesBeside is what a server opens beside its connections: the edge keeps 512
// free of its own accord.
const filesBeside = 600

const examples = `
Examples:
  go run ./bench/edge -quick -json      small, within 40 s, one line of JSON at the end
  go run ./bench/edge                   all servers, some minutes
  go run ./bench/edge -full             everything, and a file in bench/results (about 10 minutes)
  go run ./bench/edge -servers gws -cpuprofile /tmp/profiles
`

// allPeers are the servers beside the edge and the floor.
var allPeers = []string{nameGws, nameGnet, nameGobwas, nameGorilla, nameCoder}

// parsePlan reads the command line.
//
//tidy:long the flags, then the sizes of the three kinds of run, side by side
func parsePlan(args []string, usage io.Writer) (*plan, error) {
	p := &plan{}
	flags := flag.NewFlagSet("edge", flag.ContinueOnError)
	flags.SetOutput(usage)
	flags.Usage = func() {
		fmt.Fprintln(usage, "Compares the edge with other WebSocket servers. It needs two cores and gcc.")
		flags.PrintDefaults()
		fmt.Fprint(usage, examples)
	}
	flags.BoolVar(&p.quick, "quick", false, "small, within 40 s: 5,000 sessions, gws and the floor alone beside the edge")
	flags.BoolVar(&p.full, "full", false, "everything: all servers, up to 19,000 connections; writes a file of results")
	flags.BoolVar(&p.json, "json", false, "end with one line of JSON; the tables go to stderr")
	flags.StringVar(&p.results, "results", "bench/results", "directory for the file of a full run")
	flags.StringVar(&p.profiles, "cpuprofile", "", "write CPU profiles of the servers into this directory")
	peers := flags.String("servers", "", "servers beside the edge, the floor and gws, of "+strings.Join(allPeers, ",")+" (default all; quick: none)")
	rounds := flags.Int("rounds", 0, "interleaved rounds, at least 3 (default 5 to 7; full: 11)")
	sessions := flags.Int("sessions", 0, "connections of each server")
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	switch {
	case flags.NArg() > 0:
		return nil, fmt.Errorf("unexpected argument %q", flags.Arg(0))
	case p.quick && p.full:
		return nil, errors.New("-quick and -full exclude each other")
	case *rounds != 0 && *rounds < 3:
		return nil, errors.New("-rounds is at least 3: the figures are medians")
	case *sessions != 0 && (*sessions < 100 || *sessions > 100_000):
		return nil, errors.New("-sessions is 100 to 100,000")
	}
	list := slices.Clone(allPeers)
	switch {
	case p.full:
		p.roundsMin, p.roundsMax = 11, 11
		p.memorySteps = []int{5_000, 10_000, 19_000}
		p.connections, p.active, p.sessions = 10_000, []int{1_000, 10_000}, 10_000
		p.warm, p.measure, p.calls = 300*time.Millisecond, time.Second, true
		p.flood, p.paced, p.broadcasts = time.Second, time.Second, 5
	default:
		p.roundsMin, p.roundsMax = 5, 7
		p.memorySteps = []int{1_000, 3_000, 5_000}
		p.connections, p.active, p.sessions = 5_000, []int{1_000}, 5_000
		p.warm, p.measure, p.calls = 100*time.Millisecond, 250*time.Millisecond, !p.quick
		p.flood, p.paced, p.broadcasts = 400*time.Millisecond, 300*time.Millisecond, 2
		p.echoShare, p.pushShare = 9*time.Second, 9*time.Second
		if p.quick {
			list = []string{nameGws}
		}
	}
	if *peers != "" {
		list = strings.Split(*peers, ",")
		if !slices.Contains(list, nameGws) {
			list = append([]string{nameGws}, list...) // the ratios are to it
		}
	}
	if *rounds > 0 {
		p.roundsMin, p.roundsMax = *rounds, *rounds
	}
	if n := *sessions; n > 0 {
		p.memorySteps = []int{n / 5, n * 3 / 5, n}
		p.connections, p.sessions = n, n
		p.active = []int{min(n, p.active[0])}
	}
	for _, name := range list {
		if !slices.Contains(allPeers, name) {
			return nil, fmt.Errorf("no server is called %q; there are %s", name, strings.Join(allPeers, ", "))
		}
	}
	p.servers = append([]string{nameEdge, nameFloor}, list...)
	return p, nil
}

// filesNeeded is the most that one process opens.
func (p *plan) filesNeeded() int {
	return max(slices.Max(p.memorySteps), p.connections, p.sessions) + filesBeside
}
