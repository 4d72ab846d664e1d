package main

import (
	"fmt"
	"sync"

	"github.com/godwit-im/godwit"
)

// Faults that can be planted between a client and the checker, to show that a run
// fails when a promise is broken.
const (
	plantNone    = ""
	plantLose    = "lose"
	plantDup     = "dup"
	plantReorder = "reorder"
)

// planted hands deliveries to the checker; with a plant, one of them wrongly. It is
// the hundredth, so that it lies in the middle of traffic.
type planted struct {
	what  string
	check *checker

	mu    sync.Mutex
	count int
	kept  func() // the delivery that was held back, of keptOf
	of    [2]int // receiver and sender
	done  bool
}

const plantAt = 100

func (p *planted) received(user int, seq godwit.Seq, sender, number int) bool {
	if p.what == plantNone {
		return p.check.received(user, seq, sender, number)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.count++
	switch {
	case p.kept != nil && p.of == [2]int{user, sender}:
		defer p.kept()
		p.kept = nil
	case p.done || p.count < plantAt:
	case p.what == plantLose:
		p.done = true
		return false
	case p.what == plantDup:
		p.done = true
		defer p.check.received(user, seq, sender, number)
	case p.what == plantReorder:
		p.done, p.of = true, [2]int{user, sender}
		p.kept = func() { p.check.received(user, seq, sender, number) }
		return false
	}
	return p.check.received(user, seq, sender, number)
}

func validPlant(what string) error {
	switch what {
	case plantNone, plantLose, plantDup, plantReorder:
		return nil
	}
	return fmt.Errorf("-plant %s: want lose, dup or reorder", what)
}
