package engine

import (
	"slices"

	"github.com/godwit-im/godwit"
	"github.com/godwit-im/godwit/engine/memtable"
	"github.com/godwit-im/godwit/engine/segment"
)

// walk is where a View stands in one log. A log's entries lie in pieces: the
// active memtable, the frozen one, segments; each points to the next older.
type walk struct {
	log        LogID
	head       godwit.Seq
	generation uint32 // of the newest piece, 0: the log is empty
	at         piece
	upper      godwit.Seq // sequences above it lie in newer pieces than at
}

// piece is a run of entries of one log in one place. first is 0 for no piece.
type piece struct {
	table   *memtable.Table
	segment *segment.Reader
	first   godwit.Seq
	older   uint32 // generation of the next older piece
}

// touch makes log the one v stands in.
func (v *View) touch(log LogID) {
	if v.walk.generation != 0 && v.walk.log == log {
		return
	}
	if !v.locked {
		v.lock()
	}
	seq, generation, _ := v.state.heads.Get(log)
	v.walk = walk{log: log, head: seq, generation: generation}
}

// inMemory reports whether a generation is that of a memtable.
func (v *View) inMemory(generation uint32) bool {
	return generation == v.active.generation || v.frozen.table != nil && generation == v.frozen.generation
}

// pieceAt returns the piece a pointer leads to.
func (v *View) pieceAt(generation uint32) piece {
	switch {
	case generation == 0:
		return piece{}
	case generation == v.active.generation:
		return v.pieceIn(&v.active)
	case v.frozen.table != nil && generation == v.frozen.generation:
		return v.pieceIn(&v.frozen)
	}
	v.unlock()
	for i := v.live.find(generation); i >= 0; i-- {
		s := v.live.segments[i]
		// A pointer names its segment. Where retention took that away, the filters
		// of older ones tell which to ask.
		if !s.MayContain(v.walk.log) {
			continue
		}
		first, _, older, ok, err := s.Run(&v.cursor, v.walk.log)
		switch {
		case err != nil:
			v.fail(err)
			return piece{}
		case ok && first != 0:
			return piece{segment: s, first: first, older: older}
		case ok && older == 0:
			return piece{} // all of it was erased here, and there is no more
		case ok:
			i = v.live.find(older) + 1
		}
	}
	return piece{}
}

// pieceIn is the piece of the log in a memtable that holds some of it.
func (v *View) pieceIn(l *layer) piece {
	relock := !v.locked && l.generation == v.active.generation
	if relock {
		v.state.mu.RLock()
		defer v.state.mu.RUnlock()
	}
	first, _ := l.table.First(v.walk.log)
	return piece{table: l.table, first: first, older: l.olderOf(v.walk.log)}
}

// find returns the entry at seq, which is not above the head. Going down from
// entry to entry it never looks at a piece twice.
func (v *View) find(seq godwit.Seq) (Entry, bool) {
	w := &v.walk
	if seq > w.upper {
		w.at = piece{}
	}
	for w.at.first == 0 || w.at.first > seq {
		next, upper := w.generation, w.head
		if w.at.first != 0 {
			next, upper = w.at.older, w.at.first-1
		}
		if next != 0 && !v.inMemory(next) {
			if e, ok := v.store.recent.Entry(w.log, seq); ok {
				return e, true
			}
		}
		at := v.pieceAt(next)
		if at.first == 0 {
			return Entry{}, false
		}
		w.at, w.upper = at, upper
	}
	if w.at.segment != nil {
		v.unlock()
		e, ok, err := w.at.segment.Entry(&v.cursor, w.log, seq)
		v.fail(err)
		return e, ok
	}
	if !v.locked && w.at.table == v.active.table {
		v.state.mu.RLock()
		defer v.state.mu.RUnlock()
	}
	return w.at.table.Entry(w.log, seq)
}

// page collects entries of a log, ascending.
type page struct {
	dst      []Entry
	limit    int
	bytesMax int
	conv     uint32     // 0: all
	through  godwit.Seq // 0: the head
	n, bytes int
	more     bool // an entry did not fit
}

// take adds e if it belongs to the page, and reports whether to go on.
func (p *page) take(e *Entry) bool {
	if p.conv != 0 && e.Conv != p.conv {
		return true
	}
	p.bytes += len(e.Meta) + len(e.Body)
	if p.n > 0 && (p.n >= p.limit || p.bytes > p.bytesMax) {
		p.more = true
		return false
	}
	p.n++
	p.dst = append(p.dst, *e)
	return true
}

// ascend gives p the entries from seq on until it has enough.
func (v *View) ascend(from godwit.Seq, p *page) {
	w := &v.walk
	var room [16]piece
	pieces := room[:0] // newest first
	through := w.head
	if p.through != 0 {
		through = min(through, p.through)
	}
	for next := w.generation; next != 0; {
		if !v.inMemory(next) {
			done, goOn := v.ascendRecent(pieces, &from, through, p)
			if !goOn {
				return
			}
			if done {
				break
			}
		}
		at := v.pieceAt(next)
		if at.first == 0 {
			break
		}
		pieces, next = append(pieces, at), at.older
		if at.first <= from {
			break
		}
	}
	for i, at := range slices.Backward(pieces) {
		upper := through
		if i > 0 {
			upper = min(upper, pieces[i-1].first-1)
		}
		if from = max(from, at.first); from > upper {
			continue
		}
		if !v.ascendPiece(at, from, upper, p) {
			return
		}
	}
}

// ascendRecent serves what is older than the newest pieces from the recent cache
// and moves from behind it. done: that was all of it.
func (v *View) ascendRecent(newest []piece, from *godwit.Seq, through godwit.Seq, p *page) (done, goOn bool) {
	upper := through
	if len(newest) > 0 {
		upper = min(upper, newest[len(newest)-1].first-1)
	}
	for *from <= upper {
		var ok bool
		v.buf, ok = v.store.recent.Since(v.walk.log, *from-1, upper, chunkEntries, chunkBytes, v.buf[:0])
		if !ok {
			return false, true
		}
		if len(v.buf) == 0 {
			*from = upper + 1
		}
		for i := range v.buf {
			e := &v.buf[i]
			if *from = e.Seq + 1; !v.erased.has(v.walk.log, e) && !p.take(e) {
				return true, false
			}
		}
	}
	return true, true
}

// chunkEntries is how many entries of a memtable are taken at once: the read
// lock is not held for longer.
const chunkEntries = 64

func (v *View) ascendPiece(at piece, from, upper godwit.Seq, p *page) (goOn bool) {
	log := v.walk.log
	if at.segment != nil {
		v.unlock()
		goOn = true
		err := at.segment.Ascend(&v.cursor, log, from, func(e *Entry) bool {
			if e.Seq > upper {
				return false
			}
			goOn = v.erased.has(log, e) || p.take(e)
			return goOn
		})
		v.fail(err)
		return goOn && err == nil
	}
	for from <= upper {
		if !v.locked && at.table == v.active.table {
			v.state.mu.RLock()
			v.buf = at.table.Since(log, from-1, chunkEntries, chunkBytes, v.buf[:0])
			v.state.mu.RUnlock()
		} else {
			v.buf = at.table.Since(log, from-1, chunkEntries, chunkBytes, v.buf[:0])
		}
		if len(v.buf) == 0 {
			return true
		}
		for i := range v.buf {
			e := &v.buf[i]
			if e.Seq > upper {
				return true
			}
			from = e.Seq + 1
			if !v.erased.has(log, e) && !p.take(e) {
				return false
			}
		}
	}
	return true
}

const chunkBytes = 256 << 10

// backward collects a page of one conversation by following Entry.Prev.
func (v *View) backward(conv uint32, p Page, dst []Entry) (_ []Entry, more bool) {
	seq := v.startBackward(conv, p)
	start, bytes := len(dst), 0
	for seq != 0 {
		e, ok := v.find(seq)
		if !ok || e.Conv != conv || v.erased.has(v.walk.log, &e) {
			break // erased, with everything before it
		}
		bytes += len(e.Meta) + len(e.Body)
		if n := len(dst) - start; n > 0 && (n >= p.Limit || bytes > p.BytesMax) {
			more = true
			break
		}
		dst = append(dst, e)
		seq = e.Prev
	}
	slices.Reverse(dst[start:])
	return dst, more
}

// startBackward returns the newest sequence of the conversation below p.Before,
// or one that is of no entry. A client names an entry it has, whose Prev tells;
// for any other Before the chain is followed from its beginning.
func (v *View) startBackward(conv uint32, p Page) godwit.Seq {
	if p.Before == 0 || p.Before > p.Newest {
		return p.Newest
	}
	if e, ok := v.find(p.Before); ok && e.Conv == conv {
		return e.Prev
	}
	seq := p.Newest
	for seq >= p.Before {
		e, ok := v.find(seq)
		if !ok || e.Conv != conv {
			return 0
		}
		seq = e.Prev
	}
	return seq
}
