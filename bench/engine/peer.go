package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// peer stores messages of users, each user's in the order of a sequence that
// starts at 1. It is open and owned by one child process.
type peer interface {
	// Appender returns the handle of one goroutine among so many; users are below
	// openOptions.Users.
	Appender(among int) appender
	// Settle brings everything into its final place and returns when no work is
	// left, or as soon as stop is closed.
	Settle(stop <-chan struct{}) error
	// Prepare takes the newest sequence of every user, which a store without heads
	// of its own keeps in memory. They are computed: reading them would warm up
	// what is to be read cold, and mapped pages can't be dropped from the cache.
	Prepare(heads []uint32)
	// Page calls fn for up to limit messages of a user. from is 0 first, then
	// what the call before returned; 0 again: that was all. text is valid during
	// fn. It may be called by several goroutines.
	Page(user uint32, from uint64, limit int, fn func(text []byte)) (next uint64, err error)
	// Count returns how many messages are stored.
	Count() (uint64, error)
	Close() error
}

// appender appends for one goroutine. Append returns when the message is
// durable; text must not be changed and is not kept.
type appender interface {
	Append(user uint32, text []byte) error
}

// openOptions are the same for all peers.
type openOptions struct {
	Dir        string
	Users      uint32 // numbers of users are below it
	Compress   bool
	CacheBytes int64
	// MicrosPerSync is what the empty peer pretends a sync takes.
	MicrosPerSync float64
	// Profile is where the process writes its CPU profile, from the opening until
	// it has settled; empty: nowhere.
	Profile string
	// Sample names users that will be read; a peer without an index keeps these.
	Sample []uint32
}

// errNoReads: the peer can't read pages.
var errNoReads = errors.New("this peer has no pages")

// Names of the peers; peerEmpty stores nothing and shows what the harness costs.
const (
	peerEngine = "godwit"
	peerPebble = "pebble"
	peerLog    = "log"
	peerEmpty  = "empty"
)

var openers = map[string]func(openOptions) (peer, error){
	peerEngine:  openEngine,
	peerPebble:  openPebble,
	peerLog:     openLog,
	peerEmpty:   openEmpty,
	"badger":    openBadger,
	"bbolt":     openBolt,
	"jetstream": openJetStream,
}

// allPeers are the stores of the full comparison, in the table's order.
var allPeers = []string{peerEngine, peerLog, peerPebble, "badger", "bbolt", "jetstream"}

// parsePeers reads a comma-separated list, which may be empty, of stores that
// take part beside the engine and Pebble.
func parsePeers(list string) ([]string, error) {
	names := []string{peerEngine, peerPebble}
	for _, name := range strings.FieldsFunc(list, func(r rune) bool { return r == ',' || r == ' ' }) {
		if !slices.Contains(allPeers, name) {
			return nil, fmt.Errorf("peer %q is not one of %s", name, strings.Join(allPeers, ", "))
		}
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names, nil
}

// compresses tells which stores can.
func compresses(name string) bool { return name != peerLog && name != "bbolt" && name != peerEmpty }

func openPeer(name string, o openOptions) (peer, error) {
	open, ok := openers[name]
	if !ok {
		return nil, fmt.Errorf("no peer %q", name)
	}
	p, err := open(o)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", name, err)
	}
	return p, nil
}
