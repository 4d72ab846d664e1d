package auth

import (
	"crypto/sha256"
	"sync"

	"github.com/godwit-im/godwit"
)

// cacheShards spreads the verifying goroutines; a power of two up to 256.
const cacheShards = 16

// digest names a token. Two tokens with one digest would be a collision of
// SHA-256, so what was believed of one is never said of another.
type digest = [sha256.Size]byte

// cached is what a verified token said, and which generation of keys believed it.
type cached struct {
	who        godwit.Identity // Expires is exp, without leeway
	generation uint64
}

// cache remembers verified tokens: long-polling shows the same one with every
// request, and after a restart of the network everyone shows theirs again. Each
// shard keeps the tokens of its current and its former period; a period ends
// when a share of tokens was used in it, and then the former ones are forgotten.
// So about the last `size` tokens used are known, and at most twice as many.
type cache struct {
	shareMax int
	shards   [cacheShards]cacheShard
}

type cacheShard struct {
	mu              sync.Mutex
	current, former map[digest]cached
}

func newCache(size int) *cache {
	c := &cache{shareMax: (size + cacheShards - 1) / cacheShards}
	for i := range c.shards {
		c.shards[i].current = map[digest]cached{}
	}
	return c
}

// get returns what the token said if keys of this generation believed it.
func (c *cache) get(d digest, generation uint64) (who godwit.Identity, ok bool) {
	s := &c.shards[d[0]%cacheShards]
	s.mu.Lock()
	defer s.mu.Unlock()
	entry, ok := s.current[d]
	if !ok {
		if entry, ok = s.former[d]; ok && entry.generation == generation {
			s.put(d, entry, c.shareMax)
		}
	}
	return entry.who, ok && entry.generation == generation
}

func (c *cache) put(d digest, generation uint64, who godwit.Identity) {
	s := &c.shards[d[0]%cacheShards]
	s.mu.Lock()
	defer s.mu.Unlock()
	s.put(d, cached{who, generation}, c.shareMax)
}

func (s *cacheShard) put(d digest, entry cached, shareMax int) {
	if _, has := s.current[d]; !has && len(s.current) >= shareMax {
		s.former, s.current = s.current, make(map[digest]cached)
	}
	s.current[d] = entry
}
