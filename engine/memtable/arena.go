package memtable

import (
	"math/bits"
	"slices"
)

// arena hands out pieces of memory that are named by 32-bit references in units
// of 8 bytes, and never moves or frees one. Chunk i spans chunkSize(i) bytes of
// the address space, which double from 1 KiB to 1 MiB, so a reference is
// resolved by arithmetic.
type arena struct {
	chunks [][]byte
	open   int   // 1 + the chunk that small pieces come from, 0: none yet; its length is what is used
	held   int64 // bytes of all chunks
}

// ref names a piece. 0 names none.
type ref uint32

const (
	unit            = 8
	chunkMinBits    = 10
	chunkMaxBits    = 20
	chunkSliceBytes = 24
	// refsEnd is the number of chunks that references reach.
	refsEnd = 1<<(32+3-chunkMaxBits) + chunkMaxBits - chunkMinBits - 1
)

func chunkSize(i int) int { return 1 << min(chunkMinBits+i, chunkMaxBits) }

// address returns the address of chunk i's first byte. All are one chunkMin
// higher than they need be, so that no reference is 0.
func address(i int) uint64 {
	const doublings = chunkMaxBits - chunkMinBits
	if i < doublings {
		return 1 << (chunkMinBits + i)
	}
	return uint64(i-doublings+1) << chunkMaxBits
}

// at returns the memory from r to the end of its chunk's used part.
func (a *arena) at(r ref) []byte {
	addr := uint64(r) * unit
	if addr < 1<<chunkMaxBits {
		i := bits.Len64(addr>>chunkMinBits) - 1
		return a.chunks[i][addr-1<<(chunkMinBits+i):]
	}
	i := int(addr>>chunkMaxBits) + chunkMaxBits - chunkMinBits - 1
	return a.chunks[i][addr&(1<<chunkMaxBits-1):]
}

// alloc returns n bytes to write, n > 0. A piece that would be a large part of
// a chunk gets one of its own: only its first byte must be within reach of a
// reference, and the open chunk goes on.
func (a *arena) alloc(n int) (ref, []byte) {
	n = (n + unit - 1) &^ (unit - 1)
	if a.open > 0 {
		c := &a.chunks[a.open-1]
		if used := len(*c); n <= cap(*c)-used {
			*c = (*c)[:used+n]
			return ref((address(a.open-1) + uint64(used)) / unit), (*c)[used:]
		}
	}
	i := len(a.chunks)
	if i >= refsEnd {
		panic("BUG: a memtable of 32 GiB")
	}
	size := chunkSize(i)
	if n > size/4 {
		size = n
	} else {
		a.open = i + 1
	}
	chunk := slices.Grow([]byte(nil), size)
	a.held += int64(cap(chunk))
	// Nothing may begin beyond the chunk's span, should its memory reach further.
	a.chunks = append(a.chunks, chunk[:n:size])
	return ref(address(i) / unit), a.chunks[i]
}

// bytes returns the memory held.
func (a *arena) bytes() int64 { return a.held + int64(cap(a.chunks))*chunkSliceBytes }
