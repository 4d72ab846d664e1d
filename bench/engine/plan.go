package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"
	"time"
)

// plan is what a run does. Everything is bounded in time.
type plan struct {
	quick, full, json bool
	dir               string // where the run makes its own directory
	results           string // where a full run writes its file
	peers             []string
	compress          bool
	cacheBytes        int64
	profiles          string // directory for CPU profiles, empty: none

	// Interleaved rounds: every store, then every store again.
	appenders     []int
	rounds        int           // 0: as many as roundsBudget allows, roundsMin to roundsMax
	roundsBudget  time.Duration // no round begins that would not end by then
	roundUsers    uint32
	roundMessages map[int]uint64 // by appenders; the deadline may come first
	roundDeadline time.Duration
	quiet         time.Duration // for the store's own work after a round, part of its CPU

	// The fill: messages over users, from fillAppenders. Without fresh it goes on
	// in the stores of the rounds, whose messages count.
	fresh        bool
	fillUsers    uint32
	fillMessages uint64
	fillDeadline time.Duration
	settle       time.Duration
	pages        int // read cold, then warm, each of another user
	sample       int // users whose every message is compared

	// ownCaches: drop only the caches of the run's own files. For tests.
	ownCaches bool

	// budget ends the fill early so that all of the run stays within its promise.
	// 0: no promise.
	budget time.Duration

	large largePlan
}

// largePlan is the part of a full run that only the engine takes.
type largePlan struct {
	firstUsers, users uint32 // resident bytes per user: the slope between both
	messages          uint64 // then so many in all, for the time to reopen
	deadline          time.Duration
}

const fillAppenders = 1024

// Bounds of the interleaved rounds: fewer have no median.
const (
	roundsMin = 3
	roundsMax = 5
)

// parsePlan reads the command line.
//
//tidy:long the flags, then the sizes of the three kinds of run, side by side
func parsePlan(args []string, usage io.Writer) (*plan, error) {
	p := &plan{}
	flags := flag.NewFlagSet("engine", flag.ContinueOnError)
	flags.SetOutput(usage)
	flags.BoolVar(&p.quick, "quick", false, "small, within 40 s: 200 k users, over 1 M messages, Pebble alone as peer")
	flags.BoolVar(&p.full, "full", false, "everything: all peers, 10 M users, reopening over 10 GB; writes a file of results (about half an hour)")
	flags.BoolVar(&p.json, "json", false, "end with one line of JSON; the table goes to stderr")
	flags.StringVar(&p.dir, "dir", "", "make the run's directory here (default: $TMPDIR, else the current directory)")
	flags.StringVar(&p.results, "results", "bench/results", "directory for the file of a full run")
	flags.BoolVar(&p.compress, "compress", true, "stores compress, each its best way")
	cacheMiB := flags.Int64("cache", 128, "block cache of each store, MiB")
	flags.StringVar(&p.profiles, "cpuprofile", "", "write the CPU profile of each store's process into this directory")
	peers := flags.String("peers", "", "more stores, of "+strings.Join(allPeers, ",")+"; the engine and Pebble always take part")
	rounds := flags.Int("rounds", 0, "interleaved rounds, at least 3 (default 5; quick: 3 to 5, as time allows)")
	users := flags.Uint("users", 0, "users of the fill")
	messages := flags.Uint64("messages", 0, "messages of the fill")
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	switch {
	case flags.NArg() > 0:
		return nil, fmt.Errorf("unexpected argument %q", flags.Arg(0))
	case p.quick && p.full:
		return nil, errors.New("-quick and -full exclude each other")
	case *rounds != 0 && *rounds < roundsMin:
		return nil, fmt.Errorf("-rounds is at least %d: the ratios are those of medians", roundsMin)
	case *users > 100_000_000 || *messages > 1<<40 || *cacheMiB < 1 || *cacheMiB > 1<<20:
		return nil, errors.New("-users, -messages or -cache is out of range")
	}
	p.cacheBytes = *cacheMiB << 20
	p.rounds = roundsMax
	switch {
	case p.quick:
		p.appenders = []int{64, 1024}
		p.roundUsers, p.fillUsers, p.fillMessages = 200_000, 200_000, 1_050_000
		p.roundMessages = map[int]uint64{64: 30_000, 1024: 100_000}
		p.rounds, p.roundsBudget = 0, 13*time.Second
		p.roundDeadline, p.quiet = 1500*time.Millisecond, 200*time.Millisecond
		p.fillDeadline, p.settle, p.budget = 10*time.Second, 2500*time.Millisecond, 29*time.Second
		p.pages, p.sample = 400, 1000
	default:
		p.appenders = []int{1, 64, 1024}
		p.roundUsers, p.fillUsers, p.fillMessages, p.fresh = 1_000_000, 100_000, 5_000_000, true
		p.roundMessages = map[int]uint64{1: 1 << 40, 64: 1 << 40, 1024: 1 << 40}
		p.roundDeadline, p.quiet = 4*time.Second, time.Second
		p.fillDeadline, p.settle = 2*time.Minute, 40*time.Second
		p.pages, p.sample = 2000, 2000
	}
	if p.full {
		p.large = largePlan{firstUsers: 1_000_000, users: 10_000_000, messages: 160_000_000, deadline: 15 * time.Minute}
		*peers = strings.Join(allPeers, ",")
	}
	if *rounds > 0 {
		p.rounds = *rounds
	}
	if *users > 0 {
		p.fillUsers = uint32(*users)
		if p.quick {
			p.roundUsers = p.fillUsers
		}
	}
	if *messages > 0 {
		p.fillMessages = *messages
	}
	var err error
	p.peers, err = parsePeers(*peers)
	return p, err
}

func (p *plan) open(dir string, users uint32) openOptions {
	return openOptions{Dir: dir, Users: users, Compress: p.compress, CacheBytes: p.cacheBytes}
}
