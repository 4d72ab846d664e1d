package main

import (
	"math/rand/v2"

	"github.com/cespare/xxhash/v2"
)

// entryID names an entry of a log for ever: the n-th (from 1) that a life
// proposed to it. The zero value names none.
type entryID struct {
	life uint32
	n    uint64
}

// after reports whether e may stand directly behind before in a log: a life
// proposes 1, 2, 3 …, the engine takes them in this order, and what a life left
// unfinished never comes back.
func (e entryID) after(before entryID) bool {
	if e.life == before.life {
		return e.n == before.n+1
	}
	return e.life > before.life && e.n == 1
}

const (
	bodySmallMax = 600
	bodyLargeMax = 8 << 10
)

// appendBody appends the body of an entry, which follows from its name: the
// parent need not be told what the child wrote. It compresses to about half.
func appendBody(dst []byte, seed, log uint64, id entryID) []byte {
	rng := rand.NewPCG(seed^log*0x9e3779b97f4a7c15, uint64(id.life)<<40^id.n)
	size := rng.Uint64() % bodySmallMax
	if rng.Uint64()%64 == 0 {
		size = rng.Uint64() % bodyLargeMax
	}
	for size > 0 {
		for v, i := rng.Uint64(), 0; i < 16 && size > 0; i++ {
			dst = append(dst, 'a'+byte(v&15))
			v >>= 4
			size--
		}
	}
	return dst
}

// bodyHash is the hash of appendBody's bytes. buf is scratch.
func bodyHash(buf []byte, seed, log uint64, id entryID) (hash uint64, scratch []byte) {
	buf = appendBody(buf[:0], seed, log, id)
	return xxhash.Sum64(buf), buf
}
