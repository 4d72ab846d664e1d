package segment

import (
	"encoding/binary"
	"fmt"

	"github.com/godwit-im/godwit"
)

// The directory lists every log of a segment, ascending, with its newest
// sequence, in chunks: checksum, payload length, then the payload: count, and
// per log the distance to the one before (the first: the log itself) and the
// sequence.
const (
	chunkBytes     = 32 << 10 // of a payload, about
	chunkBytesMax  = chunkBytes + 64
	chunkHeadBytes = 8
	headBytesMin   = 2 // of a log
)

// directory collects the heads of a segment being written.
type directory struct {
	full    [][]byte // payloads of full chunks
	current []byte   // pairs of the chunk being filled
	count   uint64   // in current
	lastLog godwit.LogID
}

func (d *directory) add(log godwit.LogID, seq godwit.Seq) {
	if d.count == 0 {
		d.lastLog = 0
	}
	d.current = binary.AppendUvarint(d.current, uint64(log-d.lastLog))
	d.current = binary.AppendUvarint(d.current, uint64(seq))
	d.lastLog = log
	d.count++
	if len(d.current) >= chunkBytes {
		d.endChunk()
	}
}

func (d *directory) endChunk() {
	if d.count == 0 {
		return
	}
	payload := make([]byte, 0, len(d.current)+binary.MaxVarintLen32)
	d.full = append(d.full, append(binary.AppendUvarint(payload, d.count), d.current...))
	d.current, d.count = d.current[:0], 0
}

// appendChunk writes a payload as it lies at offset.
func appendChunk(dst []byte, origin uint64, offset int64, payload []byte) []byte {
	from := len(dst)
	dst = binary.LittleEndian.AppendUint32(dst, 0)
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(payload)))
	dst = append(dst, payload...)
	binary.LittleEndian.PutUint32(dst[from:], sum(origin, offset, dst[from+4:]))
	return dst
}

// chunk reads the heads of one payload.
type chunk struct {
	in   input
	left uint64
	log  godwit.LogID
	some bool // a head was read: the next has a greater log
}

func startChunk(payload []byte, last godwit.LogID, some bool) (chunk, error) {
	c := chunk{in: input{b: payload}}
	c.left = c.in.uvarint()
	if c.in.bad || c.left == 0 || c.left > uint64(c.in.rest())/headBytesMin {
		return c, errBlock("a directory chunk has a wrong count")
	}
	first := c.in
	if log := godwit.LogID(first.uvarint()); some && log <= last {
		return c, errBlock("the directory is not in order")
	}
	return c, nil
}

// next reads a head; the caller looks at left first.
func (c *chunk) next() (godwit.LogID, godwit.Seq, error) {
	delta, seq := c.in.uvarint(), c.in.uvarint()
	log := c.log + godwit.LogID(delta)
	c.left--
	if c.in.bad || log < c.log || c.some && delta == 0 || seq > seqMax || c.left == 0 && c.in.rest() != 0 {
		return 0, 0, errBlock("a directory entry is out of bounds")
	}
	c.log, c.some = log, true
	return log, godwit.Seq(seq), nil
}

// headReader streams the directory of a segment.
type headReader struct {
	r      *Reader
	w      window
	offset int64 // of the next chunk
	chunk  chunk
	log    godwit.LogID
	some   bool
	count  uint64
	chunks uint32
}

func newHeadReader(r *Reader) headReader {
	return headReader{r: r, w: r.window(r.foot.bloomOffset), offset: r.foot.directoryOffset}
}

// next returns the next log and its newest sequence; false at the end.
func (h *headReader) next() (log godwit.LogID, seq godwit.Seq, ok bool, err error) {
	if h.chunk.left == 0 {
		if h.offset == h.r.foot.bloomOffset {
			if h.count != h.r.foot.meta.Logs || h.chunks != h.r.foot.chunks {
				return 0, 0, false, h.r.corrupt(h.offset, fmt.Sprintf("the directory has %d logs, the footer says %d", h.count, h.r.foot.meta.Logs))
			}
			return 0, 0, false, nil
		}
		if err := h.load(); err != nil {
			return 0, 0, false, err
		}
	}
	if log, seq, err = h.chunk.next(); err != nil {
		return 0, 0, false, h.r.corrupt(h.offset, err.Error())
	}
	h.log, h.some = log, true
	h.count++
	return log, seq, true, nil
}

func (h *headReader) load() error {
	room := h.r.foot.bloomOffset - h.offset
	if room < chunkHeadBytes {
		return h.r.corrupt(h.offset, "the directory is cut off")
	}
	head, err := h.w.at(h.offset, chunkHeadBytes)
	if err != nil {
		return err
	}
	n := int64(binary.LittleEndian.Uint32(head[4:]))
	if n > chunkBytesMax || n > room-chunkHeadBytes {
		return h.r.corrupt(h.offset, "a directory chunk is too long")
	}
	b, err := h.w.at(h.offset, int(chunkHeadBytes+n))
	if err != nil {
		return err
	}
	if sum(h.r.origin, h.offset, b[4:]) != binary.LittleEndian.Uint32(b) {
		return h.r.corrupt(h.offset, "a directory chunk's checksum is wrong")
	}
	if h.chunk, err = startChunk(b[chunkHeadBytes:], h.log, h.some); err != nil {
		return h.r.corrupt(h.offset, err.Error())
	}
	h.offset += chunkHeadBytes + n
	h.chunks++
	return nil
}
