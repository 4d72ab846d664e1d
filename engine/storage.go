package engine

import (
	"fmt"
	"slices"

	"go.etcd.io/raft/v3"
	pb "go.etcd.io/raft/v3/raftpb"
)

// raftStorage is what raft reads of one group's log: the entries that are
// synced in the WAL and not yet applied, and a bounded run of applied ones for
// followers that are a little behind. Owned by the raft loop.
type raftStorage struct {
	hard pb.HardState
	conf pb.ConfState
	// entries are contiguous; entries[0] has index base+1. base is an applied
	// entry (0: the empty log) whose term is baseTerm.
	entries  []*pb.Entry
	base     uint64
	baseTerm uint64
	applied  uint64
	// appliedBytes is the payload of entries[:applied-base].
	appliedBytes int
}

// Applied entries kept beyond need: a follower further behind gets a snapshot.
const (
	recentEntriesMax = 1024
	recentBytesMax   = 1 << 20
)

var _ raft.Storage = (*raftStorage)(nil)

// InitialState returns what was recovered.
func (s *raftStorage) InitialState() (*pb.HardState, *pb.ConfState, error) {
	return &s.hard, &s.conf, nil
}

// Entries returns [lo, hi) up to maxSize bytes, at least one.
func (s *raftStorage) Entries(lo, hi, maxSize uint64) ([]*pb.Entry, error) {
	if lo <= s.base {
		return nil, raft.ErrCompacted
	}
	if hi > s.last()+1 {
		return nil, raft.ErrUnavailable
	}
	run := s.entries[lo-s.base-1 : hi-s.base-1]
	var size uint64
	for i, e := range run {
		size += uint64(len(e.Data)) + entryOverheadBytes
		if size > maxSize && i > 0 {
			run = run[:i]
			break
		}
	}
	return run[:len(run):len(run)], nil
}

// entryOverheadBytes is an upper bound of an entry's encoding beside its data.
const entryOverheadBytes = 32

// Term returns the term of entry i.
func (s *raftStorage) Term(i uint64) (uint64, error) {
	switch {
	case i < s.base:
		return 0, raft.ErrCompacted
	case i == s.base:
		return s.baseTerm, nil
	case i > s.last():
		return 0, raft.ErrUnavailable
	}
	return s.entries[i-s.base-1].GetTerm(), nil
}

// LastIndex returns the newest synced index.
func (s *raftStorage) LastIndex() (uint64, error) { return s.last(), nil }

// FirstIndex returns the oldest index that Entries can give.
func (s *raftStorage) FirstIndex() (uint64, error) { return s.base + 1, nil }

// Snapshot is never ready: a lone voter sends none. In a cluster it will be a
// list of segments.
func (s *raftStorage) Snapshot() (*pb.Snapshot, error) {
	return nil, raft.ErrSnapshotTemporarilyUnavailable
}

func (s *raftStorage) last() uint64 { return s.base + uint64(len(s.entries)) }

// append adds entries that are synced now, replacing those they contradict.
func (s *raftStorage) append(entries []*pb.Entry) {
	if len(entries) == 0 {
		return
	}
	first := entries[0].GetIndex()
	if first <= s.applied || first > s.last()+1 {
		panic(fmt.Sprintf("BUG: append at %d, applied %d, last %d", first, s.applied, s.last()))
	}
	if keep := first - s.base - 1; keep < uint64(len(s.entries)) {
		// raft may hold runs of the old slice: copy, never overwrite a slot of it.
		s.entries = slices.Clone(s.entries[:keep])
	}
	s.entries = append(s.entries, entries...)
}

// appliedTo drops applied entries beyond the recent run.
func (s *raftStorage) appliedTo(index uint64) {
	for s.applied < index {
		s.applied++
		s.appliedBytes += len(s.entries[s.applied-s.base-1].Data)
	}
	drop := 0
	for uint64(drop) < s.applied-s.base &&
		(s.applied-s.base-uint64(drop) > recentEntriesMax || s.appliedBytes > recentBytesMax) {
		s.appliedBytes -= len(s.entries[drop].Data)
		drop++
	}
	if drop == 0 {
		return
	}
	s.baseTerm = s.entries[drop-1].GetTerm()
	s.base += uint64(drop)
	s.entries = s.entries[drop:] // not cleared: a message may still hold the run
}
