package memtable

import (
	"iter"
	"math/bits"
	"slices"
)

// slots maps 64-bit keys to non-zero 64-bit values in 16 bytes each, without
// pointers. It is extendible hashing over small shards: the top bits of a key's
// hash pick the shard through dir, and a shard grows by an eighth or splits
// alone, so that no insertion copies more than 256 KiB at any size.
//
// Within a shard the entries lie in the order of their hashes, at their home
// position or right of it (linear probing, Robin Hood). So a search ends at the
// first larger hash, and growing is one pass from left to right.
type slots struct {
	dir    []uint32 // shard of each prefix of depth bits
	shards []shard
	depth  uint8
	n      int
	held   int64 // bytes of all shards' tables
}

type shard struct {
	table []slot
	n     int32
	depth uint8 // bits of the hash that all its entries share
}

// slot is free if value is 0. hash is the mixed key, which unmix turns back.
type slot struct{ hash, value uint64 }

const (
	slotBytes  = 16
	shardBytes = 32
	// A shard is full at 23/25 = 92 %: after growing by an eighth it is at 82 %,
	// which is 19.6 bytes per entry.
	fullNumerator, fullDenominator = 23, 25
	// splitSlots is the size from which a full shard splits instead of growing.
	splitSlots = 16 << 10
	// overflowMax is the room behind the last home for what was pushed right.
	overflowMax = 64
	// pageSlots: the allocator hands out pages of 8 KiB above 32 KiB.
	pageSlots = 8 << 10 / slotBytes
)

// mix is a bijection of 64-bit words that spreads dense keys over all bits.
func mix(x uint64) uint64 {
	x ^= x >> 32
	x *= 0xd6e8feb86659fd93
	x ^= x >> 32
	x *= 0xd6e8feb86659fd93
	return x ^ x>>32
}

// unmix is the inverse of mix.
func unmix(x uint64) uint64 {
	x ^= x >> 32
	x *= 0xcfee444d8b59a89b
	x ^= x >> 32
	x *= 0xcfee444d8b59a89b
	return x ^ x>>32
}

// home is where an entry would lie if it were alone. It grows with hash.
func (s *shard) home(hash uint64) int {
	homes := len(s.table) - min(len(s.table)/8, overflowMax)
	hi, _ := bits.Mul64(hash<<s.depth, uint64(homes))
	return int(hi)
}

// find returns the position of hash, or else where it would have to be.
func (s *shard) find(hash uint64) (i int, ok bool) {
	for i = s.home(hash); i < len(s.table); i++ {
		e := &s.table[i]
		if e.value == 0 || e.hash > hash {
			return i, false
		}
		if e.hash == hash {
			return i, true
		}
	}
	return i, false
}

// get returns the value of key, or 0.
func (s *slots) get(key uint64) uint64 {
	if s.n == 0 {
		return 0
	}
	hash := mix(key)
	sh := &s.shards[s.dir[hash>>(64-s.depth)]]
	if i, ok := sh.find(hash); ok {
		return sh.table[i].value
	}
	return 0
}

// at returns the value of key for reading and writing, valid until the next
// call. A new key's is 0: the caller must set it at once.
func (s *slots) at(key uint64) *uint64 {
	if s.n == 0 {
		s.dir, s.shards = []uint32{0}, make([]shard, 1)
	}
	hash := mix(key)
	for {
		sh := &s.shards[s.dir[hash>>(64-s.depth)]]
		i, ok := sh.find(hash)
		if ok {
			return &sh.table[i].value
		}
		if int(sh.n)*fullDenominator < len(sh.table)*fullNumerator && sh.insert(i, hash) {
			s.n++
			return &sh.table[i].value
		}
		s.makeRoom(hash)
	}
}

// insert puts hash at position i and moves what lies there right, up to the
// next free slot. It reports false if there is none.
func (s *shard) insert(i int, hash uint64) bool {
	free := i
	for free < len(s.table) && s.table[free].value != 0 {
		free++
	}
	if free == len(s.table) {
		return false
	}
	copy(s.table[i+1:free+1], s.table[i:free])
	s.table[i] = slot{hash: hash}
	s.n++
	return true
}

// makeRoom grows or splits the shard of hash.
func (s *slots) makeRoom(hash uint64) {
	at := s.dir[hash>>(64-s.depth)]
	old := s.shards[at]
	s.held -= int64(len(old.table)) * slotBytes
	if len(old.table) < splitSlots {
		step := max(len(old.table)/8, min(len(old.table), pageSlots), 4)
		s.shards[at] = rebuilt(old.table, old.depth, len(old.table)+step)
		s.held += int64(len(s.shards[at].table)) * slotBytes
		return
	}
	// The halves are neighbours in hash order: the cut is at the first entry
	// whose next bit is set.
	bit := uint64(1) << (63 - old.depth)
	cut := len(old.table)
	for cut > 0 && (old.table[cut-1].value == 0 || old.table[cut-1].hash&bit != 0) {
		cut--
	}
	if old.depth == s.depth {
		s.doubleDir()
	}
	upper := uint32(len(s.shards))
	s.shards = append(s.shards, rebuilt(old.table[cut:], old.depth+1, 0))
	s.shards[at] = rebuilt(old.table[:cut], old.depth+1, 0)
	s.held += int64(len(s.shards[at].table)+len(s.shards[upper].table)) * slotBytes
	span := 1 << (s.depth - old.depth)
	first := int(hash>>(64-s.depth)) &^ (span - 1)
	for i := first + span/2; i < first+span; i++ {
		s.dir[i] = upper
	}
}

func (s *slots) doubleDir() {
	dir := make([]uint32, 0, 2*len(s.dir))
	for _, shard := range s.dir {
		dir = append(dir, shard, shard)
	}
	s.dir = dir
	s.depth++
}

// rebuilt returns a shard of the entries of old with at least want slots, or as
// many as leave room for a while if want is smaller than that.
func rebuilt(old []slot, depth uint8, want int) shard {
	n := 0
	for i := range old {
		if old[i].value != 0 {
			n++
		}
	}
	for want = max(want, n+n/5, 4); ; want += want/8 + 1 {
		s := shard{table: newTable(want), depth: depth}
		if s.fill(old) {
			return s
		}
	}
}

// fill places the entries of old, which are in order. It reports false if the
// last ones were pushed over the end.
func (s *shard) fill(old []slot) bool {
	next := 0
	for _, e := range old {
		if e.value == 0 {
			continue
		}
		i := max(next, s.home(e.hash))
		if i >= len(s.table) {
			return false
		}
		s.table[i] = e
		s.n++
		next = i + 1
	}
	return true
}

// newTable returns about n free slots: as many as the allocator would spend on
// them anyway, and whole pages rounded down if n is large.
func newTable(n int) []slot {
	if n > 4*pageSlots {
		n = n / pageSlots * pageSlots
	}
	table := slices.Grow([]slot(nil), n)
	return table[:cap(table)]
}

// all yields every key and value in the order of the hashes, which depends on
// the keys alone and not on how they came.
func (s *slots) all() iter.Seq2[uint64, uint64] {
	return func(yield func(key, value uint64) bool) {
		for i, at := range s.dir {
			if i > 0 && s.dir[i-1] == at {
				continue
			}
			for _, e := range s.shards[at].table {
				if e.value != 0 && !yield(unmix(e.hash), e.value) {
					return
				}
			}
		}
	}
}

// bytes returns the memory held.
func (s *slots) bytes() int64 {
	return s.held + int64(cap(s.dir))*4 + int64(cap(s.shards))*shardBytes
}
