package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/godwit-im/godwit"
	"github.com/godwit-im/godwit/engine"
)

// childArgument is the hidden first argument of a child; a childSpec follows.
const childArgument = "powerloss-child"

// childSpec is one life, as the child is told of it.
type childSpec struct {
	Dir      string
	Seed     uint64
	Life     uint32
	Groups   int
	Memtable int64
	WAL      int64
	// Entries per log after which the child closes the store and ends, 0: it
	// goes on until it is told to close or killed.
	Entries uint64
}

const (
	proposers       = 8
	logsPerProposer = 4
	window          = 16 // proposals in flight per proposer
	statsEvery      = 25 * time.Millisecond
	eraseEvery      = 400 * time.Millisecond
	lateAckTime     = 300 * time.Millisecond // for acknowledgements after the end to show
)

// Exit codes of a child.
const (
	exitUsage  = 2
	exitOrphan = 3 // the parent is gone
	exitFatal  = 4
	exitOpen   = 5
)

// logIDs are the logs of one proposer; each has a partition of its own.
func logIDs(proposer int) (logs []uint64) {
	for i := range logsPerProposer {
		n := proposer*logsPerProposer + i
		logs = append(logs, uint64(godwit.NewLogID(godwit.Partition(n*131%godwit.Partitions), uint64(n)+1)))
	}
	return logs
}

// child is the process whose power fails.
type child struct {
	spec  childSpec
	out   *os.File
	store *engine.Store
	stop  chan struct{} // closed: proposers finish
}

// say writes one line. Any goroutine.
func (c *child) say(kind lineKind, text string, v ...uint64) {
	if _, err := c.out.Write(appendLine(make([]byte, 0, 96), kind, text, v...)); err != nil {
		os.Exit(exitOrphan)
	}
}

// childMain is the whole life of a child. Its parent's end ends it, too: the
// pipe it reads from closes.
func childMain(arguments []string) int {
	signal.Ignore(syscall.SIGINT, syscall.SIGTERM, syscall.SIGPIPE) // the parent decides
	c := &child{out: os.Stdout, stop: make(chan struct{})}
	if len(arguments) != 1 || json.Unmarshal([]byte(arguments[0]), &c.spec) != nil {
		fmt.Fprintln(os.Stderr, "powerloss: a child is started by its parent only")
		return exitUsage
	}
	go c.listen()
	var err error
	if c.store, err = engine.Open(c.config(), newMachine(c.spec.Groups)); err != nil {
		c.say(lineFailed, "open: "+err.Error())
		return exitOpen
	}
	if err := c.dump(); err != nil {
		c.say(lineFailed, err.Error())
		return exitOpen
	}
	c.say(lineReady, "")
	ended := make(chan struct{})
	var counting sync.WaitGroup
	counting.Go(func() { c.count(ended) })
	counting.Go(func() { c.eraseOften(ended) })
	var proposing sync.WaitGroup
	for n := range proposers {
		proposing.Go(func() { newProposer(c, n).run() })
	}
	proposing.Wait()
	close(ended)
	counting.Wait()
	if err := c.store.Close(); err != nil {
		c.say(lineFailed, "close: "+err.Error())
		return exitFatal
	}
	c.say(lineClosed, "")
	return 0
}

// listen waits for the request to close, a byte, or for the parent's end.
func (c *child) listen() {
	var b [1]byte
	for range 2 {
		if n, err := os.Stdin.Read(b[:]); n == 0 || err != nil {
			os.Exit(exitOrphan)
		}
		close(c.stop)
	}
}

// config is a store so small that everything happens within seconds.
func (c *child) config() engine.Config {
	return engine.Config{
		Dir: c.spec.Dir, Groups: c.spec.Groups,
		MemtableBytes: c.spec.Memtable, WALBytesMax: c.spec.WAL,
		QueueBytesMax: 1 << 20, CommandBytesMax: 64 << 10, BatchBytesMax: 128 << 10,
		CacheBytes: 2 << 20, RowCacheBytes: 2 << 20, RecentBytes: 1 << 20,
		EraseWithin: 500 * time.Millisecond, ScrubEvery: time.Second, ScrubBytesPerSecond: 32 << 20,
		Fatal: func(err error) {
			c.say(lineFatal, err.Error())
			time.Sleep(lateAckTime)
			os.Exit(exitFatal)
		},
	}
}

// count says the counters now and then, and once at the end.
func (c *child) count(ended <-chan struct{}) {
	tick := time.NewTicker(statsEvery)
	defer tick.Stop()
	for last := false; !last; {
		select {
		case <-tick.C:
		case <-ended:
			last = true
		}
		st := c.store.Stats()
		c.say(lineStats, "", st.Checkpoints, st.Merges, st.Erasures, st.WAL.Recycled, st.Frames, st.Stalls)
	}
}

// eraseOften takes what was erased from the disk more often than the engine
// would.
func (c *child) eraseOften(ended <-chan struct{}) {
	tick := time.NewTicker(eraseEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			if c.store.EraseNow() != nil {
				return // the engine stops, and says why
			}
		case <-ended:
			return
		}
	}
}

// dump says everything a reader finds.
func (c *child) dump() error {
	out := bufio.NewWriterSize(c.out, 64<<10)
	logs := int64(0)
	for n := range proposers {
		for _, log := range logIDs(n) {
			d := dumper{child: c, out: out, log: log}
			if err := d.run(); err != nil {
				return errors.Join(fmt.Errorf("read log %#x: %w", log, err), out.Flush())
			}
			if d.head > 0 {
				logs++
			}
		}
	}
	if all := c.store.Stats().Logs; all != logs {
		_, _ = out.Write(appendLine(nil, lineInconsistent, fmt.Sprintf("%d logs have entries, the store counts %d", logs, all)))
	}
	return out.Flush()
}

// proposer writes to its logs until it is stopped or has written enough. What
// is in flight is answered in the order in which it was proposed.
type proposer struct {
	*child
	rng      *rand.Rand
	logs     []uint64
	proposed [logsPerProposer]uint64
	acked    [logsPerProposer]uint64 // newest sequence
	inFlight []*waiter
	command  []byte
}

// erasePerProposals: one proposal of so many is an erasure.
const erasePerProposals = 400

func newProposer(c *child, n int) *proposer {
	return &proposer{child: c, logs: logIDs(n), rng: rand.New(rand.NewPCG(c.spec.Seed^uint64(c.spec.Life), uint64(n)))}
}

func (p *proposer) run() {
	defer func() {
		for len(p.inFlight) > 0 && p.finish() {
		}
	}()
	for {
		select {
		case <-p.stop:
			return
		default:
		}
		i, ok := p.choose()
		if !ok {
			return
		}
		for len(p.inFlight) >= window {
			if !p.finish() {
				return
			}
		}
		if !p.propose(i) {
			return
		}
	}
}

// choose picks a log that has not got all its entries.
func (p *proposer) choose() (i int, ok bool) {
	i = p.rng.IntN(logsPerProposer)
	if p.spec.Entries == 0 {
		return i, true
	}
	for range logsPerProposer {
		if i = (i + 1) % logsPerProposer; p.proposed[i] < p.spec.Entries {
			return i, true
		}
	}
	return 0, false
}

// propose queues one command; false: the store is closed.
func (p *proposer) propose(i int) bool {
	w := &waiter{log: p.logs[i], done: make(chan answer, 1)}
	if p.acked[i] > 0 && p.rng.IntN(erasePerProposals) == 0 {
		w.upTo = 1 + p.rng.Uint64N(p.acked[i])
		p.command = append(p.command[:0], eraseCommand(w.log, w.upTo)...)
		p.say(lineErase, "", w.log, w.upTo)
	} else {
		w.id = entryID{p.spec.Life, p.proposed[i] + 1}
		w.hash, p.command = bodyHash(p.command, p.spec.Seed, w.log, w.id)
		p.command = appendCommand(p.command[:0], p.spec.Seed, w.log, w.id)
		p.say(linePropose, "", w.log, uint64(w.id.life), w.id.n)
	}
	for {
		err := p.store.Propose(p.store.Group(godwit.LogID(w.log).Partition()), p.command, w)
		switch {
		case err == nil:
			p.inFlight = append(p.inFlight, w)
			if w.upTo == 0 {
				p.proposed[i]++
			}
			return true
		case len(p.inFlight) == 0 || !p.finish(): // not a full queue: the store stops
			return false
		}
	}
}

// finish waits for the oldest proposal; false: it failed, and so the store.
func (p *proposer) finish() bool {
	w := p.inFlight[0]
	p.inFlight = p.inFlight[1:]
	a := <-w.done
	if a.err != nil {
		return false
	}
	if w.upTo > 0 {
		p.say(lineErased, "", w.log, w.upTo)
		return true
	}
	p.say(lineAcked, "", w.log, a.seq, uint64(w.id.life), w.id.n, w.hash)
	for i, log := range p.logs {
		if log == w.log {
			p.acked[i] = a.seq
		}
	}
	return true
}
