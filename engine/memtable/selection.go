package memtable

import (
	"iter"

	"github.com/godwit-im/godwit"
)

// selection picks the records of one log that Recent keeps: they are offered
// from the newest to the oldest, so what counts is seen first.
type selection struct {
	conversations, perConversation int
	bytesMax                       int

	chosen  []godwit.Record // newest first
	counts  []convCount
	full    int // conversations that have all their records
	bytes   int
	dropped godwit.Seq // the newest that was not chosen, 0: none
	packed  []byte     // scratch
}

type convCount struct {
	conv uint32
	n    int
}

func (s *selection) reset() {
	clear(s.chosen) // it must not keep the records' memory alive
	s.chosen, s.counts, s.full, s.bytes, s.dropped = s.chosen[:0], s.counts[:0], 0, packedHeader, 0
}

// offer takes r or not, and reports whether an older one has a chance.
func (s *selection) offer(r godwit.Record) bool {
	size := recordOverhead + len(r.Meta) + len(r.Body)
	if s.bytes+size > s.bytesMax {
		s.drop(r.Seq)
		return false
	}
	count := s.count(r.Conv)
	if count == nil || count.n == s.perConversation {
		s.drop(r.Seq)
		return s.full < s.conversations
	}
	if count.n++; count.n == s.perConversation {
		s.full++
	}
	s.bytes += size
	s.chosen = append(s.chosen, r)
	return true
}

func (s *selection) drop(seq godwit.Seq) { s.dropped = max(s.dropped, seq) }

// count returns the count of a conversation, nil if it is one too many.
func (s *selection) count(conv uint32) *convCount {
	for i := range s.counts {
		if s.counts[i].conv == conv {
			return &s.counts[i]
		}
	}
	if len(s.counts) == s.conversations {
		return nil
	}
	s.counts = append(s.counts, convCount{conv: conv})
	return &s.counts[len(s.counts)-1]
}

// put selects from records, which are ascending and complete from a sequence.
func (s *selection) put(records []godwit.Record, head, from godwit.Seq) packed {
	for i := len(records) - 1; i >= 0 && s.offer(records[i]); i-- {
	}
	return s.pack(head, from)
}

// extend selects from newer, newest first, and then from what old has. It
// returns nil if newer has nothing new.
func (s *selection) extend(old packed, newer iter.Seq[godwit.Record]) packed {
	var head, lowest godwit.Seq
	more, joined := true, false
	for r := range newer {
		if joined = r.Seq <= old.head(); joined {
			break
		}
		if lowest = r.Seq; head == 0 {
			head = r.Seq
		}
		if more = s.offer(r); !more {
			break
		}
	}
	if head == 0 {
		return nil
	}
	for i := old.len() - 1; more && i >= 0; i-- {
		more = s.offer(old.record(i))
	}
	from := lowest
	if joined || lowest == old.head()+1 {
		from = old.from()
	}
	return s.pack(head, from)
}

// pack returns the chosen records in a piece of their own.
func (s *selection) pack(head, from godwit.Seq) packed {
	if s.dropped > 0 {
		from = max(from, s.dropped+1)
	}
	s.packed = appendPacked(s.packed[:0], head, from, s.chosen)
	return append(packed(nil), s.packed...)
}
