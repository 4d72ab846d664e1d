package engine

import (
	"math/bits"
	"sync/atomic"
	"time"

	"github.com/godwit-im/godwit/engine/memtable"
	"github.com/godwit-im/godwit/engine/wal"
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

	checkpoints, checkpointNanos, flushedBytes       atomic.Uint64
	merges, mergedBytes, diskFull, erasures, damaged atomic.Uint64
	scrubbed, scrubbedBytes                          atomic.Uint64
}

func (c *counters) synced(d time.Duration) {
	c.syncs.Add(1)
	c.syncNanos.Add(uint64(d))
	i := bits.Len64(uint64(d.Microseconds()) >> fsyncBucketMinBits) // 0 below 16 µs
	c.syncBuckets[min(i, fsyncBuckets-1)].Add(1)
}

// Stats are counters since Open, and sizes now.
type Stats struct {
	Proposals   uint64 // commands taken
	Refused     uint64 // commands refused because the queue was full
	Batches     uint64 // proposed to raft
	Applied     uint64 // batches applied, replay included
	Commands    uint64 // commands applied, replay included
	Frames      uint64 // group commits written to the WAL
	Syncs       uint64
	WALBytes    uint64 // payload of the records given to the WAL
	SyncTime    time.Duration
	SyncBuckets [fsyncBuckets]uint64 // not cumulative; SyncBucketLimit gives the bounds
	QueueBytes  int64                // commands not yet applied
	Logs        int64

	MemtableBytes  int64         // memory of entries and rows that are not on disk yet but in the WAL
	HeadBytes      int64         // memory of the table of heads
	Stalls         uint64        // times an applier waited for a checkpoint
	StallTime      time.Duration // they waited
	Checkpoints    uint64
	CheckpointTime time.Duration
	FlushedBytes   uint64 // written to segments by checkpoints
	Merges         uint64
	MergedBytes    uint64 // written to segments by merges
	Erasures       uint64 // passes that took erased entries from the disk
	OldestErasure  int64  // ms since the Unix epoch when the oldest entry was erased that may still be on disk; 0: there is none
	Scrubbed       uint64 // segments read again to find damage
	ScrubbedBytes  uint64
	ScrubOldest    int64  // ms since the Unix epoch: since then every live segment was written, or read whole; 0: there is none
	CorruptNow     int64  // live segments that the scrub found damaged
	Damaged        uint64 // times a merge or an erasure met a damaged segment
	DiskFull       uint64 // times a checkpoint or a merge found no room
	Segments       int64
	SegmentBytes   int64 // on disk
	Entries        int64 // of all logs, in memory and on disk
	IndexBytes     int64 // memory of the segments' indexes and filters
	Recent         memtable.RecentStats
	CacheHits      uint64
	CacheMisses    uint64
	CacheBytes     int64
	WAL            wal.Stats
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
	st.MemtableBytes, st.Stalls, st.StallTime = s.memory.used(), s.memory.stalls.Load(), time.Duration(s.memory.nanos.Load())
	st.Checkpoints, st.CheckpointTime = c.checkpoints.Load(), time.Duration(c.checkpointNanos.Load())
	st.FlushedBytes, st.Merges, st.MergedBytes = c.flushedBytes.Load(), c.merges.Load(), c.mergedBytes.Load()
	st.DiskFull, st.Erasures, st.Damaged = c.diskFull.Load(), c.erasures.Load(), c.damaged.Load()
	st.CacheHits, st.CacheMisses, st.CacheBytes = s.blocks.Stats()
	st.WAL, st.Recent = s.log.Stats(), s.recent.Stats()
	st.Scrubbed, st.ScrubbedBytes, st.CorruptNow = c.scrubbed.Load(), c.scrubbedBytes.Load(), s.scrub.corruptNow()
	for _, g := range s.groups {
		if oldest := g.oldestErasure(); oldest != 0 && (st.OldestErasure == 0 || oldest < st.OldestErasure) {
			st.OldestErasure = oldest
		}
		g.state.mu.RLock()
		st.Logs += int64(g.state.heads.Len())
		st.Entries += int64(g.state.active.table.Len())
		if g.state.frozen.table != nil {
			st.Entries += int64(g.state.frozen.table.Len())
		}
		st.HeadBytes += g.state.heads.Bytes()
		for _, r := range g.state.live.segments {
			st.Segments++
			st.SegmentBytes += r.Meta().SizeBytes
			st.Entries += int64(r.Meta().Entries)
			st.IndexBytes += r.MemoryBytes()
			if at := s.scrub.at(r.Meta()); st.ScrubOldest == 0 || at < st.ScrubOldest {
				st.ScrubOldest = at
			}
		}
		g.state.mu.RUnlock()
	}
	return st
}
