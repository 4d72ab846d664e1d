package segment

import (
	"encoding/binary"
	"fmt"

	"github.com/godwit-im/godwit"
)

// Meta is what the manifest keeps about a segment; the file's footer has the same.
// Create is given ID, Group, the generations, Tier, the raft indexes and Created;
// the Writer fills in the rest.
type Meta struct {
	ID    uint64 // of the file, unique within its folder
	Group uint32 // raft group
	// FirstGeneration and LastGeneration are the checkpoints of the group whose
	// entries lie here; 1 ≤ first ≤ last.
	FirstGeneration, LastGeneration uint32
	Tier                            uint8 // 0: flushed; the caller's business otherwise

	Entries, Logs     uint64 // Logs counts those without entries, too
	SizeBytes         int64  // of the whole file
	RawBytes          int64  // of all blocks before compression
	FirstLog, LastLog godwit.LogID
	MinTime, MaxTime  int64 // of the entries' Time; 0 without entries
	FirstIndex        uint64
	LastIndex         uint64 // FirstIndex to LastIndex: the raft entries it was made from
	Created           int64  // ms since the Unix epoch

	SHA256 [32]byte // of everything before the footer
}

const (
	metaVersion = 1
	metaBytes   = 144
)

// AppendTo writes the Meta as the manifest and the footer keep it.
func (m *Meta) AppendTo(dst []byte) []byte {
	le := binary.LittleEndian
	dst = append(dst, metaVersion, m.Tier, 0, 0)
	for _, v := range [...]uint32{m.Group, m.FirstGeneration, m.LastGeneration} {
		dst = le.AppendUint32(dst, v)
	}
	for _, v := range [...]uint64{
		m.ID, m.Entries, m.Logs, uint64(m.SizeBytes), uint64(m.RawBytes), uint64(m.FirstLog), uint64(m.LastLog),
		uint64(m.MinTime), uint64(m.MaxTime), m.FirstIndex, m.LastIndex, uint64(m.Created),
	} {
		dst = le.AppendUint64(dst, v)
	}
	return append(dst, m.SHA256[:]...)
}

// ParseMeta reads what AppendTo wrote, and nothing else.
func ParseMeta(src []byte) (Meta, error) {
	if len(src) > 0 && src[0] > metaVersion {
		return Meta{}, fmt.Errorf("%w: meta version %d, this program knows up to %d", ErrVersion, src[0], metaVersion)
	}
	if len(src) != metaBytes || src[0] != metaVersion || src[2] != 0 || src[3] != 0 {
		return Meta{}, fmt.Errorf("%w: meta of %d bytes is none", ErrCorrupt, len(src))
	}
	le := binary.LittleEndian
	u64 := func(i int) uint64 { return le.Uint64(src[16+8*i:]) }
	m := Meta{
		Tier: src[1], Group: le.Uint32(src[4:]), FirstGeneration: le.Uint32(src[8:]), LastGeneration: le.Uint32(src[12:]),
		ID: u64(0), Entries: u64(1), Logs: u64(2), SizeBytes: int64(u64(3)), RawBytes: int64(u64(4)),
		FirstLog: godwit.LogID(u64(5)), LastLog: godwit.LogID(u64(6)), MinTime: int64(u64(7)), MaxTime: int64(u64(8)),
		FirstIndex: u64(9), LastIndex: u64(10), Created: int64(u64(11)),
	}
	copy(m.SHA256[:], src[112:])
	switch {
	case m.FirstGeneration == 0 || m.FirstGeneration > m.LastGeneration:
		return Meta{}, fmt.Errorf("%w: meta with generations %d to %d", ErrCorrupt, m.FirstGeneration, m.LastGeneration)
	case m.SizeBytes < 0 || m.RawBytes < 0 || m.FirstLog > m.LastLog || m.MinTime > m.MaxTime:
		return Meta{}, fmt.Errorf("%w: meta of segment %d contradicts itself", ErrCorrupt, m.ID)
	}
	return m, nil
}
