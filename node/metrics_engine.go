package node

func engineSeries() []series {
	return append(commitSeries(), storageSeries()...)
}

// commitSeries is the way of a command to the disk.
func commitSeries() []series {
	return []series{
		counter("engine_proposals_total", "Commands taken.", func(s *snapshot) float64 { return float64(s.engine.Proposals) }),
		counter("engine_refused_total", "Commands refused because the queue was full.", func(s *snapshot) float64 { return float64(s.engine.Refused) }),
		counter("engine_batches_total", "Batches proposed to raft.", func(s *snapshot) float64 { return float64(s.engine.Batches) }),
		counter("engine_batches_applied_total", "Batches applied, replay included.", func(s *snapshot) float64 { return float64(s.engine.Applied) }),
		counter("engine_commands_applied_total", "Commands applied, replay included.", func(s *snapshot) float64 { return float64(s.engine.Commands) }),
		gauge("engine_queue_bytes", "Bytes of commands not yet applied.", func(s *snapshot) float64 { return float64(s.engine.QueueBytes) }),
		counter("engine_wal_frames_total", "Group commits written to the WAL.", func(s *snapshot) float64 { return float64(s.engine.Frames) }),
		counter("engine_wal_bytes_total", "Bytes of records given to the WAL.", func(s *snapshot) float64 { return float64(s.engine.WALBytes) }),
		counter("engine_wal_written_bytes_total", "Bytes of frames written to the WAL, padding included.", func(s *snapshot) float64 { return float64(s.engine.WAL.Bytes) }),
		gauge("engine_wal_live_bytes", "Size of the WAL's files that are needed.", func(s *snapshot) float64 { return float64(s.engine.WAL.LiveBytes) }),
		gauge("engine_wal_pool_bytes", "Size of WAL files that wait to be used again.", func(s *snapshot) float64 { return float64(s.engine.WAL.PoolBytes) }),
		counter("engine_wal_recycled_total", "WAL files used again.", func(s *snapshot) float64 { return float64(s.engine.WAL.Recycled) }),
		counter("engine_stalls_total", "Times an applier waited because checkpoints did not follow.", func(s *snapshot) float64 { return float64(s.engine.Stalls) }),
		counter("engine_stall_seconds_total", "Time appliers waited because checkpoints did not follow.", func(s *snapshot) float64 { return s.engine.StallTime.Seconds() }),
	}
}

// since is the time between two times in ms, in seconds; 0 if there is none.
func since(now, then int64) float64 {
	if then == 0 {
		return 0
	}
	return max(0, float64(now-then)/1000)
}

// storageSeries is what is stored, and what it takes to keep it in order.
func storageSeries() []series {
	return []series{
		gauge("engine_entries", "Entries of all logs.", func(s *snapshot) float64 { return float64(s.engine.Entries) }),
		gauge("engine_logs", "Logs that hold an entry.", func(s *snapshot) float64 { return float64(s.engine.Logs) }),
		gauge("engine_memtable_bytes", "Memory of entries and rows that are not in segments yet.", func(s *snapshot) float64 { return float64(s.engine.MemtableBytes) }),
		gauge("engine_head_bytes", "Memory of the table of all logs' heads.", func(s *snapshot) float64 { return float64(s.engine.HeadBytes) }),
		counter("engine_checkpoints_total", "Checkpoints of a raft group.", func(s *snapshot) float64 { return float64(s.engine.Checkpoints) }),
		counter("engine_checkpoint_seconds_total", "Time checkpoints took.", func(s *snapshot) float64 { return s.engine.CheckpointTime.Seconds() }),
		counter("engine_flushed_bytes_total", "Bytes of segments written by checkpoints.", func(s *snapshot) float64 { return float64(s.engine.FlushedBytes) }),
		counter("engine_merges_total", "Merges of segments.", func(s *snapshot) float64 { return float64(s.engine.Merges) }),
		counter("engine_merged_bytes_total", "Bytes of segments written by merges.", func(s *snapshot) float64 { return float64(s.engine.MergedBytes) }),
		counter("engine_disk_full_total", "Times a checkpoint or a merge found no room on the disk.", func(s *snapshot) float64 { return float64(s.engine.DiskFull) }),
		counter("engine_scrubbed_total", "Segments read again to find damage.", func(s *snapshot) float64 { return float64(s.engine.Scrubbed) }),
		counter("engine_scrubbed_bytes_total", "Bytes of segments read again to find damage.", func(s *snapshot) float64 { return float64(s.engine.ScrubbedBytes) }),
		gauge("engine_scrub_age_seconds", "Time since when every live segment was written, or read again as a whole.", func(s *snapshot) float64 { return since(s.now, s.engine.ScrubOldest) }),
		gauge("engine_corrupt_segments", "Live segments found damaged.", func(s *snapshot) float64 { return float64(s.engine.CorruptNow) }),
		gauge("engine_segments", "Live segments.", func(s *snapshot) float64 { return float64(s.engine.Segments) }),
		gauge("engine_segment_bytes", "Size of the live segments on disk.", func(s *snapshot) float64 { return float64(s.engine.SegmentBytes) }),
		gauge("engine_segment_index_bytes", "Memory of the segments' indexes and filters.", func(s *snapshot) float64 { return float64(s.engine.IndexBytes) }),
		counter("engine_block_hits_total", "Segment blocks found in the cache.", func(s *snapshot) float64 { return float64(s.engine.CacheHits) }),
		counter("engine_block_misses_total", "Segment blocks read from disk.", func(s *snapshot) float64 { return float64(s.engine.CacheMisses) }),
		counter("engine_recent_hits_total", "Entries of warm logs found in the recent cache.", func(s *snapshot) float64 { return float64(s.engine.Recent.Hits) }),
		counter("engine_recent_misses_total", "Entries that the recent cache did not have.", func(s *snapshot) float64 { return float64(s.engine.Recent.Misses) }),
		gauge("engine_recent_logs", "Warm logs: users whose newest messages are in the recent cache.", func(s *snapshot) float64 { return float64(s.engine.Recent.Logs) }),
		gauge("engine_recent_bytes", "Memory of the recent cache.", func(s *snapshot) float64 { return float64(s.engine.Recent.Bytes) }),
		counter("engine_erasures_total", "Passes that took erased entries from the disk.", func(s *snapshot) float64 { return float64(s.engine.Erasures) }),
		gauge("engine_erasure_oldest_timestamp_ms", "When the oldest entry was erased that may still be on disk, ms since the Unix epoch; 0: there is none.", func(s *snapshot) float64 { return float64(s.engine.OldestErasure) }),
		gauge("engine_block_cache_bytes", "Memory of the cache of segment blocks.", func(s *snapshot) float64 { return float64(s.engine.CacheBytes) }),
	}
}
