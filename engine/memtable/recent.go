package memtable

import (
	"fmt"
	"iter"
	"sync"

	"github.com/godwit-im/godwit"
)

// RecentConfig says how much Recent keeps.
type RecentConfig struct {
	// BytesMax bounds the memory held. 0 keeps nothing.
	BytesMax int64
	// Conversations is how many of a log are kept, the newest ones. Default 5.
	Conversations int
	// PerConversation is how many records of each are kept. Default 15.
	PerConversation int
	// Shards divide the logs and BytesMax among as many mutexes. Default 16.
	Shards int
}

func (c *RecentConfig) withDefaults() RecentConfig {
	d := *c
	if d.Conversations == 0 {
		d.Conversations = 5
	}
	if d.PerConversation == 0 {
		d.PerConversation = 15
	}
	if d.Shards == 0 {
		d.Shards = 16
	}
	return d
}

func (c *RecentConfig) validate() error {
	const many = 1 << 16
	if c.BytesMax < 0 || c.Conversations < 1 || c.Conversations > many ||
		c.PerConversation < 1 || c.PerConversation > many || c.Shards < 1 || c.Shards > many {
		return fmt.Errorf("memtable: recent cache of %d bytes, %d conversations by %d records, %d shards: want 0 or more bytes and 1 to %d of each",
			c.BytesMax, c.Conversations, c.PerConversation, c.Shards, many)
	}
	return nil
}

// Recent caches the newest records of the newest conversations of warm logs:
// those of users online here. It stands for what is in segments: the owner looks
// at its tables for what is newer. What it does not hold may well exist, except
// where Since says that it knows.
//
// Safe for concurrent use. Records it returns alias memory that never changes.
type Recent struct {
	cfg        RecentConfig
	shards     []recentShard
	selections sync.Pool // of *selection
}

// Mark is a moment in the life of a log in a Recent; see Put.
type Mark uint64

// RecentStats is what a Recent holds and how often it knew the answer.
type RecentStats struct {
	Logs, Bytes  int64
	Hits, Misses uint64 // calls of Entry and Since
	Cooled       uint64 // logs that had to go for others
	Refused      uint64 // Puts that came too late or did not fit
}

// NewRecent returns an empty cache.
func NewRecent(cfg RecentConfig) (*Recent, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	c := &Recent{cfg: cfg, shards: make([]recentShard, cfg.Shards)}
	shardMax := cfg.BytesMax / int64(cfg.Shards)
	for i := range c.shards {
		c.shards[i].init(shardMax)
	}
	c.selections.New = func() any {
		return &selection{
			conversations:   cfg.Conversations,
			perConversation: cfg.PerConversation,
			bytesMax:        int(min(packedMax, shardMax/4)),
		}
	}
	return c, nil
}

func (c *Recent) shard(log godwit.LogID) *recentShard {
	return &c.shards[mix(uint64(log))%uint64(len(c.shards))]
}

func (c *Recent) selection() *selection {
	s := c.selections.Get().(*selection)
	s.reset()
	return s
}

func (c *Recent) release(s *selection) {
	clear(s.chosen)
	c.selections.Put(s)
}

// Mark must be called before the records for a Put are read.
func (c *Recent) Mark(log godwit.LogID) Mark {
	s := c.shard(log)
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.drops
}

// Put makes log warm. records are ascending, with none missing between from and
// head, the newest sequence that segments hold of log; older ones may be among
// them too. It reports whether log is warm: if log was dropped since mark, or
// its shard was, the records are not to be trusted and nothing happens.
func (c *Recent) Put(log godwit.LogID, mark Mark, from, head godwit.Seq, records []godwit.Record) bool {
	if n := len(records); n > 0 && records[n-1].Seq > head || head > SeqMax {
		panic(fmt.Sprintf("BUG: log %#x ends at sequence %d, but has a later record", uint64(log), head))
	}
	sel := c.selection()
	defer c.release(sel)
	p := sel.put(records, head, from)
	s := c.shard(log)
	s.mu.Lock()
	defer s.mu.Unlock()
	if mark != s.drops {
		s.refused++
		return false
	}
	if i, ok := s.at[log]; ok && s.entries[i].packed.head() > head {
		s.touch(i)
		return true // a flush came in between: what is there is newer
	}
	return s.put(log, p)
}

// Extend adds what a flush wrote to a segment, newest first, if log is warm.
// newer may be called more than once, and must not use the cache.
func (c *Recent) Extend(log godwit.LogID, newer iter.Seq[godwit.Record]) {
	s := c.shard(log)
	old := s.get(log)
	for old != nil {
		sel := c.selection()
		p := sel.extend(old, newer)
		c.release(sel)
		if p == nil {
			return
		}
		old = s.replace(log, old, p)
	}
}

// Drop makes log cold, and every Put with an older Mark fail: after it, no
// record that was read before can be found here.
func (c *Recent) Drop(log godwit.LogID) {
	s := c.shard(log)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.drops++
	if i, ok := s.at[log]; ok {
		s.remove(i)
	}
}

// Clear drops every log.
func (c *Recent) Clear() {
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.Lock()
		s.drops++
		s.reset()
		s.mu.Unlock()
	}
}

// Warm reports whether log is warm, which counts as a use of it.
func (c *Recent) Warm(log godwit.LogID) bool {
	s := c.shard(log)
	s.mu.Lock()
	defer s.mu.Unlock()
	i, ok := s.at[log]
	if ok {
		s.touch(i)
	}
	return ok
}

// Entry returns a record of log. If it has none, a segment may.
func (c *Recent) Entry(log godwit.LogID, seq godwit.Seq) (godwit.Record, bool) {
	s := c.shard(log)
	p := s.use(log)
	if p != nil {
		if i := p.search(seq); i < p.len() && p.seq(i) == seq {
			s.hits.Add(1)
			return p.record(i), true
		}
	}
	s.misses.Add(1)
	return godwit.Record{}, false
}

// Since appends to dst the records of log after a sequence, up to and including
// through: up to limit records and bytesMax bytes of Meta and Body, but at least
// one if there is one. It reports false, and appends nothing, unless it is sure
// that segments hold no other record there.
func (c *Recent) Since(log godwit.LogID, after, through godwit.Seq, limit, bytesMax int, dst []godwit.Record) ([]godwit.Record, bool) {
	s := c.shard(log)
	p := s.use(log)
	if p == nil || p.from() > after+1 || p.head() < through {
		s.misses.Add(1)
		return dst, false
	}
	s.hits.Add(1)
	n := 0
	for i := p.search(after + 1); i < p.len() && p.seq(i) <= through; i++ {
		r := p.record(i)
		bytesMax -= len(r.Meta) + len(r.Body)
		if n > 0 && (n >= limit || bytesMax < 0) {
			break
		}
		dst = append(dst, r)
		n++
	}
	return dst, true
}

// Stats returns the present numbers.
func (c *Recent) Stats() RecentStats {
	var st RecentStats
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.Lock()
		st.Logs += int64(len(s.at))
		st.Bytes += s.bytes
		st.Cooled += s.cooled
		st.Refused += s.refused
		s.mu.Unlock()
		st.Hits += s.hits.Load()
		st.Misses += s.misses.Load()
	}
	return st
}
