package godwit

import "encoding/binary"

// The Protobuf side of the decoder. It takes what generated code takes: a known
// number with another wire type is unknown, the last of several scalars counts.
// But it refuses groups, which the schema never had, and a message field given
// twice, whose parts generated code would merge.

const fieldNumberMax = 1<<29 - 1

// nextField reads tags up to the next known field.
func (d *decoder) nextField(m *message) bool {
	for d.pos < d.end {
		tag := d.varint()
		number, wire := tag>>3, uint8(tag&7)
		if number == 0 || number > fieldNumberMax {
			d.malformed()
		}
		if d.err != nil {
			return false
		}
		if number >= uint64(len(m.fields)) || m.fields[number].wire() != wire {
			m.unknown = true
			d.skipField(wire)
			continue
		}
		m.field = int(number)
		bit := uint32(1) << number
		if m.fields[number].class != aMessage || m.seen&bit == 0 {
			m.seen |= bit
			return true
		}
		d.refused = true
		d.skipField(wire)
	}
	if d.err != nil {
		return false
	}
	d.end = m.outer
	return false
}

func (d *decoder) skipField(wire uint8) {
	switch wire {
	case wireVarint:
		d.varint()
	case wireI64:
		d.take(8)
	case wireBytes:
		d.raw()
	case wireI32:
		d.take(4)
	default:
		d.malformed()
	}
}

func (d *decoder) varint() uint64 {
	v, n := binary.Uvarint(d.src[d.pos:d.end])
	if n <= 0 {
		d.malformed()
		return 0
	}
	d.pos += n
	return v
}

// length reads the length of what follows and checks that it is all there.
func (d *decoder) length() int {
	v := d.varint()
	if d.err != nil || v > uint64(d.end-d.pos) {
		d.malformed()
		return 0
	}
	return int(v)
}

func (d *decoder) raw() []byte { return d.take(d.length()) }

func (d *decoder) take(n int) []byte {
	if d.err != nil || n > d.end-d.pos {
		d.malformed()
		return nil
	}
	v := d.src[d.pos : d.pos+n : d.pos+n]
	d.pos += n
	return v
}
