package engine

import (
	"sync"
	"sync/atomic"
	"time"
)

// memory counts what memtables and dirty rows hold and stops the appliers when
// checkpoints can't follow. An applier that waits holds no lock; what is proposed
// meanwhile fills the queue, and then Propose refuses. The WAL's bound stops the
// proposals, not the appliers: it shrinks only behind what they apply.
type memory struct {
	store *Store
	bytes atomic.Int64
	// limit is when a checkpoint is due. It grows with the store up to
	// Config.MemtableBytes: until it holds much, a small memtable keeps the WAL
	// small, whose files have to be written once before they are of use.
	limit atomic.Int64

	mu     sync.Mutex
	freed  sync.Cond
	closed bool

	stalls atomic.Uint64
	nanos  atomic.Uint64
}

// used is what active and frozen memtables and dirty rows hold now, in bytes.
func (m *memory) used() int64 { return m.bytes.Load() }

// account notes what g holds now. Called by its applier after a batch, and by
// the storage loop after freeze and publish.
func (m *memory) account(g *group) {
	st := &g.state
	st.mu.RLock()
	now := st.bytes() + st.frozen.bytes() + st.rows.FrozenBytes()
	before := g.heldBytes.Swap(now)
	st.mu.RUnlock()
	used := m.bytes.Add(now - before)
	if now < before {
		m.mu.Lock()
		m.freed.Broadcast()
		m.mu.Unlock()
	}
	if m.store.checkpointer != nil && (used >= m.limit.Load() || m.store.walBeyond(m.store.cfg.WALBytesMax/2)) {
		m.store.checkpointer.soon()
	}
}

// setLimit follows what the store holds, in bytes before compression.
func (m *memory) setLimit() {
	stored := int64(0)
	for _, g := range m.store.groups {
		g.state.mu.RLock()
		for _, r := range g.state.live.segments {
			stored += r.Meta().RawBytes
		}
		g.state.mu.RUnlock()
	}
	m.limit.Store(min(max(stored/memtableShare, memtableBytesMin), m.store.cfg.MemtableBytes))
}

// boundClean frees clean rows, those of other groups first, where all of them
// together are more than half of Config.MemtableBytes: they only save reads.
func (m *memory) boundClean(newest *group) {
	bound := m.store.cfg.MemtableBytes / 2
	if newest.state.rows.CleanBytes() > bound {
		newest.state.rows.DropClean()
	}
	total := newest.state.rows.CleanBytes()
	for _, g := range m.store.groups {
		if g == newest {
			continue
		}
		if total += g.state.rows.CleanBytes(); total > bound {
			total -= g.state.rows.CleanBytes()
			g.state.rows.DropClean()
		}
	}
}

// A memtable holds this part of the store, but not less than memtableBytesMin.
const (
	memtableShare    = 4
	memtableBytesMin = 16 << 20
)

// over reports whether nothing more may be applied.
func (m *memory) over() bool { return m.used() >= 2*m.store.cfg.MemtableBytes }

// walBeyond is committer.beyond, false while the store opens. Any goroutine.
func (s *Store) walBeyond(bytes int64) bool {
	return s.committer != nil && s.committer.beyond(bytes)
}

// wait returns when there is room, or when the store ends.
func (m *memory) wait() {
	if !m.over() {
		return
	}
	start := time.Now()
	m.stalls.Add(1)
	m.mu.Lock()
	for !m.closed && m.over() {
		m.store.checkpointer.soon()
		m.freed.Wait()
	}
	m.mu.Unlock()
	m.nanos.Add(uint64(time.Since(start)))
}

// close lets all go that wait.
func (m *memory) close() {
	m.mu.Lock()
	m.closed = true
	m.freed.Broadcast()
	m.mu.Unlock()
}
