package engine

import (
	"math/bits"
	"sync/atomic"
	"time"
)

// fsyncBuckets are powers of two in microseconds: bucket i counts syncs below
// 16 µs << i, the last one all slower ones.
const (
	fsyncBuckets       = 16
	fsyncBucketMinBits = 4
)

// counters are written by the engine's goroutines and read by Stats at any
// time; each is independent, so atomics suffice.
type counters struct {
	proposals, refused, batches, applied, commands atomic.Uint64
	frames, syncs, walBytes                        atomic.Uint64
	syncNanos                                      atomic.Uint64
	syncBuckets                                    [fsyncBuckets]atomic.Uint64
	queueBytes                                     atomic.Int64
}

func (c *counters) synced(d time.Duration) {
	c.syncs.Add(1)
	c.syncNanos.Add(uint64(d))
	i := bits.Len64(uint64(d.Microseconds()) >> fsyncBucketMinBits) // 0 below 16 µs
	c.syncBuckets[min(i, fsyncBuckets-1)].Add(1)
}

// Stats are counters since Open, and sizes now.
type Stats struct {
	Proposals     uint64 // commands taken
	Refused       uint64 // commands refused because the queue was full
	Batches       uint64 // proposed to raft
	Applied       uint64 // batches applied, replay included
	Commands      uint64 // commands applied, replay included
	Frames        uint64 // group commits written to the WAL
	Syncs         uint64
	WALBytes      uint64 // payload of the records given to the WAL
	SyncTime      time.Duration
	SyncBuckets   [fsyncBuckets]uint64 // not cumulative; SyncBucketLimit gives the bounds
	QueueBytes    int64                // commands not yet applied
	MemtableBytes int64                // bodies and metas
	Entries       int64
	Logs          int64
	Rows          int64
	RowBytes      int64
}

// SyncBucketLimit returns the upper bound of bucket i of Stats.SyncBuckets; the
// last bucket has none and returns 0.
func SyncBucketLimit(i int) time.Duration {
	if i >= fsyncBuckets-1 {
		return 0
	}
	return time.Microsecond << (fsyncBucketMinBits + i)
}

// Stats gathers the counters. It takes each group's read lock for a moment.
func (s *Store) Stats() Stats {
	c := &s.counters
	st := Stats{
		Proposals: c.proposals.Load(), Refused: c.refused.Load(), Batches: c.batches.Load(),
		Applied: c.applied.Load(), Commands: c.commands.Load(),
		Frames: c.frames.Load(), Syncs: c.syncs.Load(), WALBytes: c.walBytes.Load(),
		SyncTime: time.Duration(c.syncNanos.Load()), QueueBytes: c.queueBytes.Load(),
	}
	for i := range st.SyncBuckets {
		st.SyncBuckets[i] = c.syncBuckets[i].Load()
	}
	for _, g := range s.groups {
		g.state.mu.RLock()
		st.MemtableBytes += g.state.bodyBytes
		st.Entries += int64(g.state.records.n)
		st.Logs += int64(len(g.state.heads))
		st.Rows += int64(g.state.tree.Len())
		st.RowBytes += g.state.rows.bytes
		g.state.mu.RUnlock()
	}
	return st
}
