package memtable

import (
	"sync"
	"sync/atomic"

	"github.com/godwit-im/godwit"
)

// recentShard holds the packed logs of a Recent whose hash falls to it, in the
// order of their last use. What is beyond bytesMax goes, the longest unused first.
type recentShard struct {
	hits, misses atomic.Uint64
	bytesMax     int64

	mu      sync.Mutex
	at      map[godwit.LogID]uint32 // index in entries
	entries []recentEntry           // 0 is the ring's anchor: its newer is the longest unused
	free    uint32                  // first of the entries without a log, chained by newer; 0: none
	bytes   int64
	drops   Mark
	cooled  uint64
	refused uint64
}

type recentEntry struct {
	packed       packed
	log          godwit.LogID
	newer, older uint32
}

// recentOverhead is what a log takes besides its packed bytes: an entry and a
// place in the map, both with room to grow.
const recentOverhead = 40*5/4 + 2*16

func (s *recentShard) init(bytesMax int64) {
	s.bytesMax = bytesMax
	s.reset()
}

func (s *recentShard) reset() {
	s.at, s.entries, s.free, s.bytes = map[godwit.LogID]uint32{}, make([]recentEntry, 1), 0, 0
}

func (p packed) held() int64 { return int64(cap(p)) + recentOverhead }

// get returns what is kept of log, nil if it is cold.
func (s *recentShard) get(log godwit.LogID) packed {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.entries[s.at[log]].packed // the anchor's is nil
}

// use is get by a reader.
func (s *recentShard) use(log godwit.LogID) packed {
	s.mu.Lock()
	defer s.mu.Unlock()
	i, ok := s.at[log]
	if !ok {
		return nil
	}
	s.touch(i)
	return s.entries[i].packed
}

// put sets what is kept of log, as the last used. It reports whether it fits.
// The caller holds mu, as for all methods below.
func (s *recentShard) put(log godwit.LogID, p packed) bool {
	i, ok := s.at[log]
	if ok {
		s.remove(i)
	}
	if p.held() > s.bytesMax {
		s.refused++
		return false
	}
	s.makeRoom(p.held())
	i = s.free
	if i != 0 {
		s.free = s.entries[i].newer
	} else {
		i = uint32(len(s.entries))
		s.entries = append(s.entries, recentEntry{})
	}
	s.at[log] = i
	s.entries[i] = recentEntry{packed: p, log: log}
	s.link(i)
	s.bytes += p.held()
	return true
}

// replace sets what is kept of log if it is still old. Otherwise it returns
// what is kept now.
func (s *recentShard) replace(log godwit.LogID, old, p packed) packed {
	s.mu.Lock()
	defer s.mu.Unlock()
	i, ok := s.at[log]
	if !ok {
		return nil
	}
	e := &s.entries[i]
	if &e.packed[0] != &old[0] {
		return e.packed
	}
	s.bytes -= old.held()
	e.packed = nil
	s.makeRoom(p.held())
	if _, ok = s.at[log]; ok { // it was not the longest unused itself
		e.packed = p
		s.bytes += p.held()
	}
	return nil
}

// makeRoom cools logs until n more bytes fit.
func (s *recentShard) makeRoom(n int64) {
	for s.bytes+n > s.bytesMax && len(s.at) > 0 {
		s.remove(s.entries[0].newer)
		s.cooled++
	}
}

func (s *recentShard) remove(i uint32) {
	e := &s.entries[i]
	s.unlink(i)
	delete(s.at, e.log)
	if e.packed != nil {
		s.bytes -= e.packed.held()
	}
	*e = recentEntry{newer: s.free}
	s.free = i
}

func (s *recentShard) touch(i uint32) {
	s.unlink(i)
	s.link(i)
}

// link makes entry i the last used.
func (s *recentShard) link(i uint32) {
	last := s.entries[0].older
	s.entries[i].older, s.entries[i].newer = last, 0
	s.entries[last].newer = i
	s.entries[0].older = i
}

func (s *recentShard) unlink(i uint32) {
	e := &s.entries[i]
	s.entries[e.older].newer = e.newer
	s.entries[e.newer].older = e.older
}
