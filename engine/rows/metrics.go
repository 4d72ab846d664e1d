package rows

// Metrics are counters since Open and sizes now.
type Metrics struct {
	DiskBytes int64 // all files

	CacheBytes             int64
	CacheHits, CacheMisses int64

	// CommittedBytes is what batches brought. Written are the bytes that it cost:
	// log, flushed tables, compacted tables.
	CommittedBytes    int64
	WrittenLogBytes   int64
	WrittenFlushBytes int64
	WrittenMergeBytes int64

	MemTableBytes int64
	// MergeDebtBytes estimates the bytes of compactions that are due.
	MergeDebtBytes int64
	Tables         int64
	// ReadLayers is how many tables a lookup without filters may have to look at.
	ReadLayers int64
}

// WriteAmplification returns the bytes written per byte committed.
func (m *Metrics) WriteAmplification() float64 {
	if m.CommittedBytes == 0 {
		return 0
	}
	return float64(m.WrittenLogBytes+m.WrittenFlushBytes+m.WrittenMergeBytes) / float64(m.CommittedBytes)
}

// Metrics returns the metrics, all zero once the DB is closed.
func (db *DB) Metrics() Metrics {
	if db.closed.Load() {
		return Metrics{}
	}
	p := db.pebble.Metrics()
	m := Metrics{
		DiskBytes:       int64(p.DiskSpaceUsage()),
		CacheBytes:      p.BlockCache.Size,
		CacheHits:       p.BlockCache.Hits,
		CacheMisses:     p.BlockCache.Misses,
		CommittedBytes:  int64(p.WAL.BytesIn),
		WrittenLogBytes: int64(p.WAL.BytesWritten),
		MemTableBytes:   int64(p.MemTable.Size),
		MergeDebtBytes:  int64(p.Compact.EstimatedDebt),
		ReadLayers:      int64(p.ReadAmp()),
	}
	for i := range p.Levels {
		level := &p.Levels[i]
		m.WrittenFlushBytes += int64(level.TableBytesFlushed)
		m.WrittenMergeBytes += int64(level.TableBytesCompacted)
		m.Tables += level.TablesCount
	}
	return m
}
