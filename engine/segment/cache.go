package segment

import (
	"sync/atomic"

	"github.com/maypok86/otter/v2"
)

// Cache keeps decompressed blocks of all segments, bounded by bytes, safe for
// concurrent use. Overflow: the block least likely to be asked for goes (W-TinyLFU);
// who refers to its bytes keeps them. Blocks of closed segments age out.
type Cache struct {
	blocks       *otter.Cache[cacheKey, []byte]
	readers      atomic.Uint64
	hits, misses atomic.Uint64
}

// cacheKey: readers are numbered, so that a file opened again never meets blocks
// of its former life.
type cacheKey struct {
	reader uint64
	block  uint32
}

// cacheEntryBytes is what an entry costs beside its block: node, hash table, sketch.
// TestCacheHoldsWhatItSays holds it against the heap.
const cacheEntryBytes = 128

// NewCache makes a cache of at most so many bytes.
func NewCache(bytesMax int64) *Cache {
	return &Cache{blocks: otter.Must(&otter.Options[cacheKey, []byte]{
		MaximumWeight: uint64(max(bytesMax, 1)),
		Weigher:       func(_ cacheKey, raw []byte) uint32 { return uint32(cap(raw) + cacheEntryBytes) },
		// Evictions run with the caller: no goroutine, and the bound holds at once.
		Executor: func(fn func()) { fn() },
	})}
}

func (c *Cache) get(reader uint64, block int) ([]byte, bool) {
	raw, ok := c.blocks.GetIfPresent(cacheKey{reader, uint32(block)})
	if ok {
		c.hits.Add(1)
	} else {
		c.misses.Add(1)
	}
	return raw, ok
}

func (c *Cache) add(reader uint64, block int, raw []byte) {
	c.blocks.Set(cacheKey{reader, uint32(block)}, raw)
}

// Stats returns how often a block was there and was not, and the bytes held.
func (c *Cache) Stats() (hits, misses uint64, bytes int64) {
	return c.hits.Load(), c.misses.Load(), int64(c.blocks.WeightedSize())
}

// Close drops all blocks. Readers may go on and find nothing.
func (c *Cache) Close() {
	c.blocks.InvalidateAll()
	c.blocks.StopAllGoroutines()
}
