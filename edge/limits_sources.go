package edge

import (
	"encoding/binary"
	"net/netip"
	"sync"
)

// source is an address as far as whoever uses it can't choose freely: an IPv4
// address, the /64 of an IPv6 one. 0 is nobody: not counted.
type source uint64

// ipv4Source and localSource lie in prefixes of IPv6 that are never assigned.
const (
	ipv4Source  source = 1 << 32
	localSource source = 1 // ::/64, which holds ::1
)

func sourceOf(addr netip.Addr) source {
	addr = addr.Unmap()
	switch {
	case addr.Is4():
		b := addr.As4()
		return ipv4Source | source(binary.BigEndian.Uint32(b[:]))
	case addr.Is6():
		b := addr.As16()
		return max(localSource, source(binary.BigEndian.Uint64(b[:8])))
	}
	return 0
}

// sources counts, for each address, the sockets that have not proved who they
// are. It holds only addresses that have some, so connections bound it. Any
// loop calls it; a source's turn at the lock is a map operation.
type sources struct {
	max    uint32 // sockets of one source
	shards [sourceShards]sourceShard
}

const (
	sourceShards   = 16
	sourcesKeepMax = 1024 // a shard's table that was larger is given back when empty
)

type sourceShard struct {
	mu     sync.Mutex
	counts map[source]uint32
	peak   int // addresses the table has held at once
}

func (t *sources) shard(s source) *sourceShard {
	const mix = 0x9E3779B97F4A7C15 // the golden ratio: neighbouring addresses spread out
	return &t.shards[uint64(s)*mix>>60]
}

// enter counts one socket; false when its source has as many as it may.
func (t *sources) enter(s source) bool {
	if s == 0 {
		return true
	}
	sh := t.shard(s)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	n := sh.counts[s]
	if n >= t.max {
		return false
	}
	if sh.counts == nil {
		sh.counts = map[source]uint32{}
	}
	sh.counts[s] = n + 1
	sh.peak = max(sh.peak, len(sh.counts))
	return true
}

// leave takes back one enter.
func (t *sources) leave(s source) {
	if s == 0 {
		return
	}
	sh := t.shard(s)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	switch n := sh.counts[s]; n {
	case 0:
		panic("BUG: a socket left a source that it had not entered")
	case 1:
		delete(sh.counts, s)
	default:
		sh.counts[s] = n - 1
	}
	if len(sh.counts) == 0 && sh.peak > sourcesKeepMax {
		sh.counts, sh.peak = nil, 0
	}
}

// size is the number of addresses and of sockets counted now.
func (t *sources) size() (addresses, sockets int) {
	for i := range t.shards {
		sh := &t.shards[i]
		sh.mu.Lock()
		addresses += len(sh.counts)
		for _, n := range sh.counts {
			sockets += int(n)
		}
		sh.mu.Unlock()
	}
	return addresses, sockets
}
