package segment

import (
	"slices"

	"github.com/godwit-im/godwit"
)

// piece is the part of a run that lies in one block.
type piece struct {
	log      godwit.LogID
	older    uint32
	runFirst godwit.Seq // first sequence of the whole run up to here
	first    godwit.Seq // 0: the run is empty
	last     godwit.Seq
	count    int
	flags    uint64
}

// place is one record of a decoded piece, without pointers.
type place struct {
	seq, prev            godwit.Seq
	time                 int64
	metaAt, bodyAt       uint32 // in the block
	metaBytes, bodyBytes uint32
	conv                 uint32
}

// record makes the record at p out of its block.
func (p *place) record(raw []byte) godwit.Record {
	metaEnd, bodyEnd := p.metaAt+p.metaBytes, p.bodyAt+p.bodyBytes
	return godwit.Record{
		Seq: p.seq, Conv: p.conv, Prev: p.prev, Time: p.time,
		Meta: raw[p.metaAt:metaEnd:metaEnd], Body: raw[p.bodyAt:bodyEnd:bodyEnd],
	}
}

// walker reads a decompressed block piece by piece: next, then places or skip.
// It trusts nothing: a checksum proves only that somebody wrote the bytes.
type walker struct {
	in             input // the heads
	piece          piece
	metaAt, bodyAt uint64 // of the next record
	metaEnd, end   uint64
	baseTime       int64
	lastLog        godwit.LogID
	started        bool // a piece was read
	convs          []convState
}

const (
	errHeads  errBlock = "a block's numbers are cut off"
	errBounds errBlock = "a block's numbers contradict each other"
)

// start begins with a block.
func (w *walker) start(raw []byte) error {
	in := input{b: raw}
	heads, metas, baseTime := in.uvarint(), in.uvarint(), in.varint()
	rest := uint64(in.rest())
	if in.bad || len(raw) > blockRawMax || heads > rest || metas > rest-heads {
		return errHeads
	}
	from := uint64(in.at)
	w.in = input{b: raw[from : from+heads]}
	w.metaAt, w.metaEnd = from+heads, from+heads+metas
	w.bodyAt, w.end = w.metaEnd, uint64(len(raw))
	w.baseTime, w.lastLog, w.started, w.piece = baseTime, 0, false, piece{}
	return nil
}

// next reads the head of the next piece; false at the end of the block.
func (w *walker) next() (bool, error) {
	if w.in.rest() == 0 {
		if w.metaAt != w.metaEnd || w.bodyAt != w.end {
			return false, errBounds
		}
		return false, nil
	}
	delta, count := w.in.uvarint(), w.in.uvarint()
	older := w.in.uvarint()
	p := piece{log: w.lastLog + godwit.LogID(delta), older: uint32(older), flags: count & (1<<flagBits - 1)}
	count >>= flagBits
	if w.in.bad || p.log < w.lastLog || w.started && delta == 0 || older > 1<<32-1 || count > uint64(w.in.rest())/3 {
		return false, errBounds
	}
	w.lastLog, w.started, p.count = p.log, true, int(count)
	if count == 0 {
		w.piece = p
		if p.flags != 0 {
			return false, errBounds
		}
		return true, nil
	}
	first, back := w.in.uvarint(), uint64(0)
	if p.flags&flagContinued != 0 {
		back = w.in.uvarint()
	}
	if w.in.bad || first == 0 || first-1 > seqMax-count || back >= first || p.flags&flagContinued != 0 && back == 0 {
		return false, errBounds
	}
	p.first, p.runFirst = godwit.Seq(first), godwit.Seq(first-back)
	w.piece = p
	return true, w.conversations()
}

// conversations reads the list of the piece's conversations.
func (w *walker) conversations() error {
	n := uint64(1)
	if w.piece.flags&flagConvs != 0 {
		if n = w.in.uvarint(); n < 2 || n > uint64(w.piece.count) || n > uint64(w.in.rest())/2 {
			return errBounds
		}
	}
	w.convs = slices.Grow(w.convs[:0], int(n))
	for range n {
		number, distance := w.in.uvarint(), w.in.uvarint()
		if number > 1<<32-1 {
			return errBounds
		}
		w.convs = append(w.convs, convState{number: uint32(number), distance: distance})
	}
	if w.in.bad {
		return errHeads
	}
	return nil
}

// skip passes over the records of the piece.
func (w *walker) skip() error {
	n := w.piece.count
	columns := 1 // times
	for _, flag := range [...]uint64{flagConvs, flagPrevs} {
		if w.piece.flags&flag != 0 {
			columns++
		}
	}
	if w.piece.flags&flagHoles != 0 {
		w.in.skip(n - 1)
	}
	w.in.skip(columns * n)
	for range n {
		w.metaAt += min(w.in.uvarint(), blockRawMax)
	}
	for range n {
		w.bodyAt += min(w.in.uvarint(), blockRawMax)
	}
	if w.in.bad || w.metaAt > w.metaEnd || w.bodyAt > w.end {
		return errBounds
	}
	return nil
}

// places decodes the records of the piece into dst, which it overwrites.
func (w *walker) places(dst []place) ([]place, error) {
	p := &w.piece
	dst = slices.Grow(dst[:0], p.count)[:p.count]
	if p.count == 0 {
		return dst, nil
	}
	w.sequences(dst)
	if err := w.prevs(dst); err != nil {
		return dst[:0], err
	}
	time := w.baseTime
	for i := range dst {
		time += w.in.varint()
		dst[i].time = time
	}
	for i := range dst {
		n := w.in.uvarint()
		if n > w.metaEnd-w.metaAt {
			return dst[:0], errBounds
		}
		dst[i].metaAt, dst[i].metaBytes = uint32(w.metaAt), uint32(n)
		w.metaAt += n
	}
	for i := range dst {
		n := w.in.uvarint()
		if n > w.end-w.bodyAt {
			return dst[:0], errBounds
		}
		dst[i].bodyAt, dst[i].bodyBytes = uint32(w.bodyAt), uint32(n)
		w.bodyAt += n
	}
	if w.in.bad || dst[p.count-1].seq > seqMax {
		return dst[:0], errBounds
	}
	return dst, nil
}

// sequences fills in Seq and, in conv, the ordinal.
func (w *walker) sequences(dst []place) {
	seq, holes := w.piece.first, w.piece.flags&flagHoles != 0
	for i := range dst {
		if holes && i > 0 {
			seq += godwit.Seq(min(w.in.uvarint(), seqMax))
		}
		dst[i].seq = seq
		seq++
	}
	w.piece.last = seq - 1
	several := w.piece.flags&flagConvs != 0
	for i := range dst {
		if dst[i].conv = 0; several {
			dst[i].conv = uint32(min(w.in.uvarint(), 1<<32-1))
		}
	}
}

// prevs fills in Conv and Prev: the record before of the same conversation in
// this piece, if nothing else is said.
func (w *walker) prevs(dst []place) error {
	explicit := w.piece.flags&flagPrevs != 0
	for i := range dst {
		p, said := &dst[i], uint64(0)
		if explicit {
			said = w.in.uvarint()
		}
		if p.conv >= uint32(len(w.convs)) {
			return errBounds
		}
		c := &w.convs[p.conv]
		p.conv, p.prev = c.number, c.last
		if c.last == 0 || said != 0 {
			distance := said - 1
			if c.last == 0 {
				distance = c.distance
			}
			if distance >= uint64(p.seq) {
				return errBounds
			}
			if p.prev = 0; distance != 0 {
				p.prev = p.seq - godwit.Seq(distance)
			}
		}
		c.last = p.seq
	}
	return nil
}
