package chat

import (
	"sync/atomic"

	"github.com/godwit-im/godwit"
)

const (
	changeWorkers = 2
	// changesMax bounds the changes that look or wait to. Overflow: a further one
	// fails as unavailable.
	changesMax = 4096
)

// change is a request whose command needs something that only the store knows, a
// record or a scan: it looks at a view, after a ReadIndex, and then its command is
// proposed. Exactly one of Fail, applied and finish ends it.
type change interface {
	waiter
	// place is the raft group to look at, and to propose to.
	place() int
	// look makes the command.
	look(v View) (command []byte, next step)
	// finish ends a change whose look said stepDone.
	finish()
}

// step is what comes after a look.
type step uint8

const (
	stepPropose step = iota
	stepAgain        // another look: place has changed
	stepDone         // nothing is to be proposed
)

// changes runs them. A change is in ready at most once.
type changes struct {
	service *Service
	ready   chan change // as long as changesMax: a send to it never blocks
	pending atomic.Int64
}

func newChanges(s *Service) *changes {
	return &changes{service: s, ready: make(chan change, changesMax)}
}

// start begins a change; it does not block.
func (cs *changes) start(c change) {
	if cs.pending.Add(1) > changesMax {
		cs.end(c, godwit.ErrUnavailable)
		return
	}
	cs.await(c)
}

// end takes a change out, as failed unless err is nil.
func (cs *changes) end(c change, err error) {
	cs.pending.Add(-1)
	if err != nil {
		c.Fail(err)
	}
}

func (cs *changes) await(c change) {
	cs.service.cfg.Store.ReadIndex(c.place(), func(err error) {
		if err != nil {
			cs.end(c, godwit.ErrUnavailable)
			return
		}
		cs.ready <- c
	})
}

// run is a worker's goroutine.
func (cs *changes) run() {
	for {
		select {
		case <-cs.service.stop:
			return
		case c := <-cs.ready:
			cs.look(c)
		}
	}
}

func (cs *changes) look(c change) {
	command, next, err := cs.view(c)
	switch {
	case err != nil:
		cs.end(c, err)
	case next == stepAgain:
		cs.await(c)
	case next == stepDone:
		cs.end(c, nil)
		c.finish()
	default:
		cs.end(c, nil)
		if err := cs.service.cfg.Store.Propose(c.place(), command, c); err != nil {
			c.Fail(err)
		}
	}
}

// view lets a change look at what is visible now.
func (cs *changes) view(c change) (command []byte, next step, err error) {
	s := cs.service
	group := c.place()
	v := s.cfg.Store.View(group)
	defer v.Close()
	command, next = c.look(v)
	if err := v.Err(); err != nil {
		s.cfg.Logger.Error("read failed", "group", group, "error", err)
		return nil, stepDone, godwit.ErrInternal
	}
	return command, next, nil
}
