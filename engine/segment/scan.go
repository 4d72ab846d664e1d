package segment

import (
	"fmt"

	"github.com/godwit-im/godwit"
)

// Scanner reads a whole segment in order, in large reads past the cache, and checks
// every checksum, count and order on the way. One goroutine.
//
//	s := r.Scan()
//	for s.NextRun() {
//		for s.Next() {
//			use(s.Log(), s.Older(), s.Record())
//		}
//	}
//	err := s.Err()
type Scanner struct {
	r      *Reader
	heads  headReader
	disk   window
	i      int // the next block
	raw    []byte
	walker walker
	inside bool // walker stands in a block
	err    error

	piece   piece // the one decoded last
	places  []place
	pending bool // piece begins a run that NextRun has not taken

	started  bool
	log      godwit.LogID
	older    uint32
	runFirst godwit.Seq
	last     godwit.Seq // sequence returned last
	head     godwit.Seq
	at       int
	record   godwit.Record
	entries  uint64
}

// Scan begins at the first log. The caller keeps its reference until the end.
func (r *Reader) Scan() *Scanner {
	return &Scanner{r: r, heads: newHeadReader(r), disk: r.window(r.foot.directoryOffset)}
}

// NextRun goes to the next log, past the rest of this one.
func (s *Scanner) NextRun() bool {
	for s.started && s.Next() {
	}
	if s.err != nil {
		return false
	}
	if !s.pending && !s.fetch() {
		s.finish()
		return false
	}
	log, head, ok, err := s.heads.next()
	if err != nil {
		return s.fail(err)
	}
	p := &s.piece
	if !ok || log != p.log || head < p.last || s.started && log <= s.log || p.flags&flagContinued != 0 {
		return s.corrupt("runs and directory do not agree")
	}
	s.started, s.pending = true, false
	s.log, s.older, s.head, s.runFirst, s.last, s.at = log, p.older, head, p.first, 0, 0
	return true
}

// Next goes to the next entry of the log.
func (s *Scanner) Next() bool {
	for !s.pending && s.err == nil {
		if s.at < len(s.places) {
			p := &s.places[s.at]
			if p.seq <= s.last {
				return s.corrupt("sequences do not ascend")
			}
			s.record, s.last = p.record(s.raw), p.seq
			s.at++
			s.entries++
			return true
		}
		if !s.fetch() {
			s.places, s.at = s.places[:0], 0
			return false
		}
		if s.pending = s.piece.log != s.log; s.pending {
			return false
		}
		if s.piece.older != s.older || s.piece.runFirst != s.runFirst || s.piece.flags&flagContinued == 0 {
			return s.corrupt("a run goes on as another one")
		}
		s.at = 0
	}
	return false
}

// fetch decodes the next piece, of the next block if need be; false at the end.
func (s *Scanner) fetch() bool {
	for s.err == nil {
		if s.inside {
			ok, err := s.walker.next()
			if ok && err == nil {
				s.places, err = s.walker.places(s.places)
			}
			if err != nil {
				return s.fail(s.r.wrap(s.r.index.offset(s.i-1), err))
			}
			if ok {
				s.piece = s.walker.piece
				return true
			}
			s.inside = false
		}
		if s.i == s.r.index.len() {
			return false
		}
		s.load()
	}
	return false
}

func (s *Scanner) load() {
	offset, n := s.r.index.span(s.i)
	b, err := s.disk.at(offset, n)
	if err != nil {
		s.fail(err)
		return
	}
	if s.raw, err = openBlock(s.raw, b, s.r.origin, offset, s.r.foot.rawMax); err == nil {
		err = s.walker.start(s.raw)
	}
	if err == nil {
		first := s.walker // a look ahead at what the index says
		var ok bool
		if ok, err = first.next(); err == nil {
			p := &first.piece
			if !ok || p.log != s.r.index.log(s.i) || p.first != s.r.index.seq(s.i) || p.flags&flagContinued != 0 != s.r.index.continued(s.i) {
				err = errBlock("the block does not begin where the index says")
			}
		}
		s.walker.convs = first.convs
	}
	if err != nil {
		s.fail(s.r.wrap(offset, err))
		return
	}
	s.i++
	s.inside = true
}

// finish holds the counts against the footer.
func (s *Scanner) finish() {
	if s.err != nil {
		return
	}
	if _, _, ok, err := s.heads.next(); err != nil {
		s.fail(err)
	} else if ok {
		s.corrupt("the directory has logs without a run")
	} else if s.entries != s.r.meta.Entries {
		s.corrupt(fmt.Sprintf("%d entries, the footer says %d", s.entries, s.r.meta.Entries))
	}
}

func (s *Scanner) fail(err error) bool {
	s.err = err
	return false
}

func (s *Scanner) corrupt(cause string) bool {
	return s.fail(s.r.corrupt(s.r.index.offset(max(0, s.i-1)), cause))
}

// Log is the log of the run.
func (s *Scanner) Log() godwit.LogID { return s.log }

// Older is the generation of the next older segment with entries of the log.
func (s *Scanner) Older() uint32 { return s.older }

// Head is the newest sequence the log ever had here, dropped ones included.
func (s *Scanner) Head() godwit.Seq { return s.head }

// Record is the entry, its bytes included valid until the next call of Next or NextRun.
func (s *Scanner) Record() *godwit.Record { return &s.record }

// Err is nil after a scan that saw everything.
func (s *Scanner) Err() error { return s.err }

// read is the bytes read from disk so far.
func (s *Scanner) read() int64 { return s.disk.read + s.heads.w.read }
