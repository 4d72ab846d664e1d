package main

import (
	"fmt"
	"slices"
)

// Kinds of violations.
const (
	kindLost         = "lost"         // acknowledged, or once served to a reader, and gone
	kindPhantom      = "phantom"      // never proposed
	kindDuplicate    = "duplicate"    // twice in its log
	kindOrder        = "order"        // not where it was, or not in the order of the proposals
	kindAltered      = "altered"      // other bytes than proposed
	kindHead         = "head"         // the log's head is not its newest sequence
	kindUnerased     = "unerased"     // erased and back again
	kindInconsistent = "inconsistent" // rows, logs and pages contradict each other
	kindNotOpened    = "not-opened"   // the store did not open
	kindHung         = "hung"         // it did not get on in time
	kindCrashed      = "crashed"      // the engine stopped although the disk worked
	kindNotStopped   = "not-stopped"  // the engine went on although the disk had failed
)

// kinds are all of them, in the order of a report.
var kinds = []string{
	kindLost, kindPhantom, kindDuplicate, kindOrder, kindAltered, kindHead, kindUnerased,
	kindInconsistent, kindNotOpened, kindHung, kindCrashed, kindNotStopped,
}

// violation is one thing that must not be.
type violation struct {
	kind string
	text string
}

// found is an entry that a reader got.
type found struct {
	seq  uint64
	id   entryID
	hash uint64
}

// model is what the logs of one store must hold and what they may hold. It is
// told what children say; it never looks at a store.
type model struct {
	seed uint64
	logs map[uint64]*logModel
	buf  []byte
}

// logModel is one log. What a reader got once must stay: a store may not serve
// what the next power failure takes away.
type logModel struct {
	known    []entryID // [seq-1]; zero: not acknowledged to us
	proposed map[uint32]uint64
	erased   uint64   // up to here all is gone
	erasing  []uint64 // may or may not have happened
}

func newModel(seed uint64) *model { return &model{seed: seed, logs: map[uint64]*logModel{}} }

func (m *model) log(id uint64) *logModel {
	l := m.logs[id]
	if l == nil {
		l = &logModel{proposed: map[uint32]uint64{}}
		m.logs[id] = l
	}
	return l
}

func (m *model) propose(log uint64, id entryID) {
	l := m.log(log)
	l.proposed[id.life] = max(l.proposed[id.life], id.n)
}

// acked notes an acknowledgement that was read before the power failed.
func (m *model) acked(log uint64, f found) []violation {
	var bad []violation
	complain := m.complainer(log, &bad)
	l := m.log(log)
	var hash uint64
	hash, m.buf = bodyHash(m.buf, m.seed, log, f.id)
	switch {
	case f.seq == 0 || f.id.n == 0 || f.id.n > l.proposed[f.id.life]:
		complain(kindPhantom, f.seq, "acknowledged %v, proposed up to %d", f.id, l.proposed[f.id.life])
		return bad
	case f.hash != hash:
		complain(kindAltered, f.seq, "%v acknowledged with another hash", f.id)
	case f.seq <= uint64(len(l.known)) && l.known[f.seq-1] != entryID{} && l.known[f.seq-1] != f.id:
		complain(kindOrder, f.seq, "acknowledged %v and before it %v", f.id, l.known[f.seq-1])
	}
	for uint64(len(l.known)) < f.seq {
		l.known = append(l.known, entryID{})
	}
	l.known[f.seq-1] = f.id
	return bad
}

func (m *model) erase(log, upTo uint64) {
	l := m.log(log)
	l.erasing = append(l.erasing, upTo)
}

func (m *model) erasedAcked(log, upTo uint64) {
	l := m.log(log)
	l.erased = max(l.erased, upTo)
}

// compare judges everything that a reader found in a log, and takes it as what
// must be there from now on.
func (m *model) compare(log, head uint64, entries []found) []violation {
	var bad []violation
	l := m.log(log)
	prefix := head // what is gone from the front
	if len(entries) > 0 {
		prefix = entries[0].seq - 1
	}
	complain := m.complainer(log, &bad)
	if prefix < l.erased {
		kind := kindUnerased
		if len(entries) == 0 {
			kind = kindHead
		}
		complain(kind, prefix+1, "erased up to %d, head %d", l.erased, head)
	}
	gone := l.erased
	if slices.Contains(l.erasing, prefix) {
		gone = max(gone, prefix)
	}
	m.compareEntries(log, l, min(gone, prefix), entries, complain)
	l.compareKnown(gone, entries, complain)
	last := gone
	if len(entries) > 0 {
		last = entries[len(entries)-1].seq
	}
	if head != last {
		complain(kindHead, head, "the newest entry is %d", last)
	}
	l.settle(gone, entries)
	return bad
}

type complain func(kind string, seq uint64, format string, args ...any)

func (m *model) complainer(log uint64, bad *[]violation) complain {
	return func(kind string, seq uint64, format string, args ...any) {
		text := fmt.Sprintf("log %#x, sequence %d: %s", log, seq, fmt.Sprintf(format, args...))
		*bad = append(*bad, violation{kind, text})
	}
}

// compareEntries looks at each entry and at its neighbour. Up to gone there
// is none.
func (m *model) compareEntries(log uint64, l *logModel, gone uint64, entries []found, complain complain) {
	before, seq := entryID{}, gone // of the entry before, zero: not known
	if gone > 0 && gone <= uint64(len(l.known)) {
		before = l.known[gone-1]
	}
	seen := map[entryID]bool{}
	for _, e := range entries {
		var hash uint64
		hash, m.buf = bodyHash(m.buf, m.seed, log, e.id)
		switch {
		case e.id.n == 0 || e.id.n > l.proposed[e.id.life]:
			complain(kindPhantom, e.seq, "%v, proposed up to %d", e.id, l.proposed[e.id.life])
		case e.hash != hash:
			complain(kindAltered, e.seq, "%v", e.id)
		case seen[e.id]:
			complain(kindDuplicate, e.seq, "%v", e.id)
		case e.seq != seq+1:
			complain(kindOrder, e.seq, "after sequence %d", seq)
		case (before != entryID{} || e.seq == 1) && !e.id.after(before):
			complain(kindOrder, e.seq, "%v after %v", e.id, before)
		}
		seen[e.id] = true
		before, seq = e.id, e.seq
	}
}

// compareKnown looks for what was acknowledged.
func (l *logModel) compareKnown(gone uint64, entries []found, complain complain) {
	at := make(map[entryID]uint64, len(entries))
	for _, e := range entries {
		at[e.id] = e.seq
	}
	for i, id := range l.known {
		seq := uint64(i) + 1
		if id == (entryID{}) || seq <= gone {
			continue
		}
		switch where, ok := at[id]; {
		case !ok:
			complain(kindLost, seq, "%v", id)
		case where != seq:
			complain(kindOrder, seq, "%v is at %d", id, where)
		}
	}
}

// settle makes what was found the truth.
func (l *logModel) settle(gone uint64, entries []found) {
	last := gone
	if len(entries) > 0 {
		last = max(last, entries[len(entries)-1].seq)
	}
	known := make([]entryID, last)
	copy(known, l.known[:min(gone, uint64(len(l.known)))])
	for _, e := range entries {
		if e.seq > 0 && e.seq <= last {
			known[e.seq-1] = e.id
		}
	}
	l.known, l.erased, l.erasing = known, gone, nil
}
