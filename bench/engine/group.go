package main

import (
	"sync"
)

// grouper commits messages of many appenders at once, for stores whose own
// group commit is missing or slower: it takes whatever queued during the last
// commit. There is no timer.
type grouper struct {
	commit func([]*pending) error
	kick   chan struct{} // capacity 1
	done   sync.WaitGroup

	mu sync.Mutex
	// queue holds at most one message of each appender.
	queue  []*pending
	closed bool
}

// pending is one appender's message while it waits.
type pending struct {
	user uint32
	text []byte
	ack  chan error // capacity 1
	g    *grouper
}

// newGrouper starts committers goroutines; with several, one may gather while
// another waits for the disk, and commit must bear concurrent calls.
func newGrouper(committers int, commit func([]*pending) error) *grouper {
	g := &grouper{commit: commit, kick: make(chan struct{}, 1)}
	for range committers {
		g.done.Go(g.run)
	}
	return g
}

func (g *grouper) Appender(int) appender { return &pending{ack: make(chan error, 1), g: g} }

// Append queues the message and waits for its commit.
func (p *pending) Append(user uint32, text []byte) error {
	p.user, p.text = user, text
	p.g.mu.Lock()
	p.g.queue = append(p.g.queue, p)
	first := len(p.g.queue) == 1
	p.g.mu.Unlock()
	if first {
		p.g.wake()
	}
	return <-p.ack
}

func (g *grouper) wake() {
	select {
	case g.kick <- struct{}{}:
	default:
	}
}

func (g *grouper) run() {
	var batch []*pending
	for range g.kick {
		g.mu.Lock()
		batch, g.queue = g.queue, batch[:0]
		closed := g.closed
		g.mu.Unlock()
		if closed {
			g.wake() // the next committer ends, too
			return
		}
		if len(batch) == 0 {
			continue
		}
		err := g.commit(batch)
		for _, p := range batch {
			p.ack <- err
		}
	}
}

// close ends the committers. Nobody may be appending.
func (g *grouper) close() {
	g.mu.Lock()
	g.closed = true
	g.mu.Unlock()
	g.wake()
	g.done.Wait()
}
