package segment

import (
	"encoding/binary"
	"slices"

	"github.com/godwit-im/godwit"
)

// builder collects one block before compression. Columns, not rows: all numbers
// of a block stand before all Metas, and those before all Bodies, because zstd
// finds more in likes beside likes. A piece is the part of a run in this block.
type builder struct {
	heads, metas, bodies []byte // finished pieces; metas and bodies of all

	records   int
	pieces    int
	baseTime  int64 // the first record's; others are relative to it
	lastLog   godwit.LogID
	firstLog  godwit.LogID
	firstSeq  godwit.Seq // of the first piece, for the index
	continues bool       // the first piece goes on with a run of the block before

	// The piece being collected, if open.
	open          bool
	log           godwit.LogID
	older         uint32
	runFirst      godwit.Seq // 0: no record yet
	first         godwit.Seq
	count         int
	lastSeq       godwit.Seq
	lastTime      int64
	convs         []convState
	lastConv      int // ordinal of the last record's
	holes         bool
	explicitPrevs bool
	gaps          []byte
	ordinals      []byte
	prevs         []byte
	times         []byte
	metaSizes     []byte
	bodySizes     []byte
}

// convState is a conversation of a piece: its number, the distance from its first
// record back to Prev (0: none), and its newest record so far.
type convState struct {
	number   uint32
	distance uint64
	last     godwit.Seq
}

// The flags of a piece, under its count.
const (
	flagContinued = 1 << iota // the run began in an earlier block
	flagHoles                 // sequences are missing within the piece
	flagConvs                 // more than one conversation
	flagPrevs                 // some Prev is not the record before it in the piece
	flagBits      = 4
)

// bytes is about how large the block is by now.
func (b *builder) bytes() int {
	n := len(b.heads) + len(b.metas) + len(b.bodies) + 16
	if b.open {
		n += 24 + 3*len(b.convs) + len(b.gaps) + len(b.ordinals) + len(b.times) + len(b.metaSizes) + len(b.bodySizes)
	}
	return n
}

// begin starts a piece. runFirst is not 0 if the run began in an earlier block.
func (b *builder) begin(log godwit.LogID, older uint32, runFirst godwit.Seq) {
	b.open, b.log, b.older, b.runFirst = true, log, older, runFirst
	b.first, b.count, b.lastSeq, b.lastConv, b.holes, b.explicitPrevs = 0, 0, 0, -1, false, false
	b.convs, b.gaps, b.ordinals, b.prevs = b.convs[:0], b.gaps[:0], b.ordinals[:0], b.prevs[:0]
	b.times, b.metaSizes, b.bodySizes = b.times[:0], b.metaSizes[:0], b.bodySizes[:0]
}

// add appends a record to the open piece; Meta and Body are copied.
func (b *builder) add(r *godwit.Record) {
	if b.records == 0 {
		b.baseTime = r.Time
	}
	if b.count == 0 {
		b.first, b.lastTime = r.Seq, b.baseTime
	} else {
		gap := uint64(r.Seq-b.lastSeq) - 1
		b.holes = b.holes || gap > 0
		b.gaps = binary.AppendUvarint(b.gaps, gap)
	}
	distance := uint64(0)
	if r.Prev != 0 {
		distance = uint64(r.Seq - r.Prev)
	}
	ordinal := b.ordinal(r.Conv)
	prev := uint64(0) // as expected
	if ordinal == len(b.convs) {
		b.convs = append(b.convs, convState{number: r.Conv, distance: distance})
	} else if r.Prev != b.convs[ordinal].last {
		b.explicitPrevs = true
		prev = 1 + distance
	}
	b.convs[ordinal].last = r.Seq
	b.ordinals = binary.AppendUvarint(b.ordinals, uint64(ordinal))
	b.prevs = binary.AppendUvarint(b.prevs, prev)
	b.times = binary.AppendVarint(b.times, r.Time-b.lastTime)
	b.metaSizes = binary.AppendUvarint(b.metaSizes, uint64(len(r.Meta)))
	b.bodySizes = binary.AppendUvarint(b.bodySizes, uint64(len(r.Body)))
	b.metas = append(b.metas, r.Meta...)
	b.bodies = append(b.bodies, r.Body...)
	b.lastSeq, b.lastTime, b.lastConv = r.Seq, r.Time, ordinal
	b.count++
	b.records++
}

// ordinal returns the place of a conversation in the piece's list, or its end.
func (b *builder) ordinal(number uint32) int {
	if b.lastConv >= 0 && b.convs[b.lastConv].number == number {
		return b.lastConv
	}
	if i := slices.IndexFunc(b.convs, func(c convState) bool { return c.number == number }); i >= 0 {
		return i
	}
	return len(b.convs)
}

// end finishes the open piece, if there is one.
func (b *builder) end() {
	if !b.open {
		return
	}
	b.open = false
	continued := b.runFirst != 0 && b.count > 0
	if b.pieces == 0 {
		b.firstLog, b.firstSeq, b.continues = b.log, b.first, continued
	}
	flags := uint64(0)
	for i, on := range [...]bool{continued, b.holes, len(b.convs) > 1, b.explicitPrevs} {
		if on {
			flags |= 1 << i
		}
	}
	h := binary.AppendUvarint(b.heads, uint64(b.log-b.lastLog))
	h = binary.AppendUvarint(h, uint64(b.count)<<flagBits|flags)
	h = binary.AppendUvarint(h, uint64(b.older))
	if b.count > 0 {
		h = binary.AppendUvarint(h, uint64(b.first))
		if continued {
			h = binary.AppendUvarint(h, uint64(b.first-b.runFirst))
		}
		if flags&flagConvs != 0 {
			h = binary.AppendUvarint(h, uint64(len(b.convs)))
		}
		for _, c := range b.convs {
			h = binary.AppendUvarint(binary.AppendUvarint(h, uint64(c.number)), c.distance)
		}
		if b.holes {
			h = append(h, b.gaps...)
		}
		if flags&flagConvs != 0 {
			h = append(h, b.ordinals...)
		}
		if b.explicitPrevs {
			h = append(h, b.prevs...)
		}
		h = append(append(append(h, b.times...), b.metaSizes...), b.bodySizes...)
	}
	b.heads, b.lastLog = h, b.log
	b.pieces++
}

// appendTo writes the block of all finished pieces and says where its bodies begin.
func (b *builder) appendTo(dst []byte) (block []byte, bodiesAt int) {
	dst = binary.AppendUvarint(dst, uint64(len(b.heads)))
	dst = binary.AppendUvarint(dst, uint64(len(b.metas)))
	dst = binary.AppendVarint(dst, b.baseTime)
	dst = append(append(dst, b.heads...), b.metas...)
	return append(dst, b.bodies...), len(dst)
}

// reset begins the next block and keeps the memory.
func (b *builder) reset() {
	b.heads, b.metas, b.bodies = b.heads[:0], b.metas[:0], b.bodies[:0]
	b.records, b.pieces, b.baseTime, b.lastLog, b.open = 0, 0, 0, 0, false
}
