package engine

import (
	"fmt"

	pb "go.etcd.io/raft/v3/raftpb"

	"github.com/godwit-im/godwit/engine/wal"
)

// recovery rebuilds the groups from the WAL's records as they stream by. What
// is known to be committed is applied at once; only entries after the newest
// commit index are held back.
type recovery struct {
	store   *Store
	files   walFiles
	live    map[uint64]bool // ids of the segments that the manifest names
	groups  []recovering
	records int
}

type recovering struct {
	hard hardState
	// applied is the newest index given to the Machine, its term is appliedTerm.
	applied, appliedTerm uint64
	checkpointed         uint64      // what was applied before the WAL
	tail                 []*pb.Entry // contiguous from applied+1
}

// replay takes one record, which lies in that file of the WAL. Its payload stays
// valid and immutable.
func (r *recovery) replay(file uint64, rec wal.Record) error {
	r.records++
	r.files.note(file, &rec)
	if int64(rec.Group) >= int64(len(r.groups)) {
		return fmt.Errorf("%w: record of group %d, there are %d", ErrFormat, rec.Group, len(r.groups))
	}
	g := &r.groups[rec.Group]
	switch rec.Kind {
	case recordEntry:
		return g.entry(rec)
	case recordHardState:
		h, ok := parseHardState(&rec)
		if !ok {
			return fmt.Errorf("%w: hard state of group %d has %d bytes", ErrFormat, rec.Group, len(rec.Payload))
		}
		if h.term < g.hard.term || h.commit < g.hard.commit || h.commit > g.applied+uint64(len(g.tail)) {
			return fmt.Errorf("%w: hard state of group %d: term %d, commit %d after term %d, commit %d, last entry %d",
				ErrFormat, rec.Group, h.term, h.commit, g.hard.term, g.hard.commit, g.applied+uint64(len(g.tail)))
		}
		g.hard = h
		return r.apply(int(rec.Group), h.commit)
	}
	return fmt.Errorf("%w: record of unknown kind %d", ErrFormat, rec.Kind)
}

// entry appends to the tail; an entry of a later term replaces what it contradicts.
func (g *recovering) entry(rec wal.Record) error {
	if rec.Index > 0 && rec.Index <= g.checkpointed {
		return nil // in the segments and rows already
	}
	if rec.Index <= g.applied || rec.Index > g.applied+uint64(len(g.tail))+1 {
		return fmt.Errorf("%w: entry %d of group %d, applied %d, last %d",
			ErrFormat, rec.Index, rec.Group, g.applied, g.applied+uint64(len(g.tail)))
	}
	g.tail = append(g.tail[:rec.Index-g.applied-1], &pb.Entry{
		Type: pb.EntryNormal.Enum(), Term: new(rec.Term), Index: new(rec.Index), Data: rec.Payload,
	})
	return nil
}

// apply gives the tail up to commit to the Machine.
func (r *recovery) apply(id int, commit uint64) error {
	g, target := &r.groups[id], r.store.groups[id]
	n := 0
	for g.applied < commit {
		e := g.tail[n]
		n++
		if len(e.Data) > 0 {
			b, err := parseBatch(e.Data)
			if err != nil {
				return fmt.Errorf("group %d, index %d: %w", id, e.GetIndex(), err)
			}
			if err := r.store.applyBatch(target, e, b, nil, false); err != nil {
				return err
			}
		} else {
			target.state.passed(e.GetIndex(), e.GetTerm())
		}
		g.applied, g.appliedTerm = e.GetIndex(), e.GetTerm()
	}
	rest := copy(g.tail, g.tail[n:])
	clear(g.tail[rest:])
	g.tail = g.tail[:rest]
	return nil
}

// storage returns what raft starts from.
func (g *recovering) storage(voters []uint64) *raftStorage {
	s := &raftStorage{
		entries: g.tail, base: g.applied, baseTerm: g.appliedTerm, applied: g.applied,
	}
	// A commit index is written lazily: what a checkpoint holds was committed.
	s.hard.Term, s.hard.Vote, s.hard.Commit = new(g.hard.term), new(g.hard.vote), new(max(g.hard.commit, g.applied))
	s.conf.Voters = voters
	return s
}
