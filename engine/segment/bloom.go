package segment

import (
	"math/bits"

	"github.com/godwit-im/godwit"
)

// bloom says which logs a segment may hold: 10 bits a log in lines of 64 bytes,
// so that a question costs one cache miss (Putze, Sanders, Singler 2007). About
// 1.2 % of the other logs are taken for its own.
type bloom []byte

const (
	bloomBitsPerLog = 10
	bloomLineBytes  = 64
	bloomProbes     = 6 // of 9 bits each, from one 64-bit word
)

// bloomBytes is the size of a filter. logs is below 2^48.
func bloomBytes(logs uint64) int64 {
	lineBits := uint64(bloomLineBytes * 8)
	return int64((logs*bloomBitsPerLog + lineBits - 1) / lineBits * bloomLineBytes)
}

// mix is the finalizer of SplitMix64: dense ids become random words.
func mix(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// line returns the 64 bytes for log and the word its probes come from.
func (f bloom) line(log godwit.LogID) ([]byte, uint64) {
	h := mix(uint64(log) + 0x9e3779b97f4a7c15)
	i, _ := bits.Mul64(h, uint64(len(f)/bloomLineBytes))
	return f[i*bloomLineBytes : (i+1)*bloomLineBytes], mix(h)
}

func (f bloom) add(log godwit.LogID) {
	line, h := f.line(log)
	for range bloomProbes {
		line[h>>3&63] |= 1 << (h & 7)
		h >>= 9
	}
}

func (f bloom) mayContain(log godwit.LogID) bool {
	if len(f) == 0 {
		return false
	}
	line, h := f.line(log)
	for range bloomProbes {
		if line[h>>3&63]&(1<<(h&7)) == 0 {
			return false
		}
		h >>= 9
	}
	return true
}
