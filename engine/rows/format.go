package rows

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
)

// The first byte of an internal key says what it is; see
// docs/formats/rowstore.md.
const (
	kindCheckpoint = 'c'
	kindFormat     = 'f'
	kindRow        = 'r'
	kindSegment    = 's'
)

const (
	groupKeyBytes   = 1 + 4             // kind, group
	segmentKeyBytes = groupKeyBytes + 8 // and the segment's id

	formatVersion     = 1 // of the key layout
	checkpointVersion = 1
	segmentVersion    = 1

	crcBytes        = 4
	formatBytes     = 1 + crcBytes
	checkpointBytes = 1 + 8 + 8 + 8 + 4 + 8 + crcBytes
	segmentBytesMin = 1 + crcBytes
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Checkpoint is how far a group's rows and segments have come.
type Checkpoint struct {
	Applied     uint64 // raft index of the newest batch in it
	Term        uint64 // of that index
	Stamp       int64  // of that batch; ms since the Unix epoch
	Generation  uint32 // checkpoints of the group so far
	NextSegment uint64 // id of the next segment to be written
}

func appendGroupKey(dst []byte, kind byte, group uint32) []byte {
	return binary.BigEndian.AppendUint32(append(dst, kind), group)
}

func appendRowKey(dst []byte, group uint32, key []byte) []byte {
	return append(appendGroupKey(dst, kindRow, group), key...)
}

func appendSegmentKey(dst []byte, group uint32, id uint64) []byte {
	return binary.BigEndian.AppendUint64(appendGroupKey(dst, kindSegment, group), id)
}

// prefixEnd appends the smallest key above all that start with prefix; nothing
// if there is none.
func prefixEnd(dst, prefix []byte) []byte {
	for n := len(prefix); n > 0; n-- {
		if prefix[n-1] != 0xff {
			dst = append(dst, prefix[:n]...)
			dst[len(dst)-1]++
			return dst
		}
	}
	return dst
}

// seal appends the checksum of key and value[from:] to value: it ties a value
// to its key.
func seal(key, value []byte) []byte {
	return binary.LittleEndian.AppendUint32(value, checksum(key, value))
}

func checksum(key, value []byte) uint32 {
	return crc32.Update(crc32.Update(0, castagnoli, key), castagnoli, value)
}

// unseal checks a sealed value of at least sizeMin bytes and returns what
// stands between its version and its checksum.
func unseal(what string, key, value []byte, version byte, sizeMin int) ([]byte, error) {
	if len(value) == 0 {
		return nil, fmt.Errorf("%w: %s %x is empty", ErrCorrupt, what, key)
	}
	if len(value) < 1+crcBytes {
		return nil, fmt.Errorf("%w: %s %x has %d bytes", ErrCorrupt, what, key, len(value))
	}
	body, sum := value[:len(value)-crcBytes], binary.LittleEndian.Uint32(value[len(value)-crcBytes:])
	if checksum(key, body) != sum {
		return nil, fmt.Errorf("%w: checksum of %s %x", ErrCorrupt, what, key)
	}
	if body[0] != version {
		return nil, fmt.Errorf("%w: %s %x has version %d, this program knows %d", ErrVersion, what, key, body[0], version)
	}
	if len(value) < sizeMin {
		return nil, fmt.Errorf("%w: %s %x has %d bytes, want %d", ErrCorrupt, what, key, len(value), sizeMin)
	}
	return body[1:], nil
}

// appendTo appends the value that stands at key.
func (c *Checkpoint) appendTo(dst, key []byte) []byte {
	value := make([]byte, 0, checkpointBytes)
	value = append(value, checkpointVersion)
	value = binary.LittleEndian.AppendUint64(value, c.Applied)
	value = binary.LittleEndian.AppendUint64(value, c.Term)
	value = binary.LittleEndian.AppendUint64(value, uint64(c.Stamp))
	value = binary.LittleEndian.AppendUint32(value, c.Generation)
	value = binary.LittleEndian.AppendUint64(value, c.NextSegment)
	return append(dst, seal(key, value)...)
}

func parseCheckpoint(key, value []byte) (Checkpoint, error) {
	b, err := unseal("checkpoint", key, value, checkpointVersion, checkpointBytes)
	if err != nil {
		return Checkpoint{}, err
	}
	if len(value) != checkpointBytes {
		return Checkpoint{}, fmt.Errorf("%w: checkpoint %x has %d bytes, want %d", ErrCorrupt, key, len(value), checkpointBytes)
	}
	return Checkpoint{
		Applied:     binary.LittleEndian.Uint64(b),
		Term:        binary.LittleEndian.Uint64(b[8:]),
		Stamp:       int64(binary.LittleEndian.Uint64(b[16:])),
		Generation:  binary.LittleEndian.Uint32(b[24:]),
		NextSegment: binary.LittleEndian.Uint64(b[28:]),
	}, nil
}

func appendSegment(dst, key, meta []byte) []byte {
	value := make([]byte, 0, segmentBytesMin+len(meta))
	value = append(append(value, segmentVersion), meta...)
	return append(dst, seal(key, value)...)
}

// parseSegment returns the id in key and the meta in value, which it aliases.
func parseSegment(key, value []byte) (id uint64, meta []byte, err error) {
	if len(key) != segmentKeyBytes {
		return 0, nil, fmt.Errorf("%w: segment key %x has %d bytes, want %d", ErrCorrupt, key, len(key), segmentKeyBytes)
	}
	meta, err = unseal("segment", key, value, segmentVersion, segmentBytesMin)
	return binary.BigEndian.Uint64(key[groupKeyBytes:]), meta, err
}
