package segment

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
)

// A file is: header, blocks, directory, bloom filter, block index, footer.
// docs/formats/segment.md has the diagrams; the constants are from there.
const (
	formatVersion = 1
	headerBytes   = 64
	footerBytes   = 256

	headerMagic = "\x7fgwitSeg"
	footerMagic = "GWSegEnd"

	// blockRawMax bounds what a block may claim to hold before compression: one
	// record of RecordBytesMax in a block of its own, with room to spare.
	blockRawMax = RecordBytesMax + 2*blockBytesMax

	seqMax    = 1<<40 - 1 // a sequence has 40 bits in the head table and the block index
	offsetMax = 1<<39 - 1 // a block begins below this
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// sum is CRC32C over the place and the bytes, so that a good block in a wrong
// place is a bad one. origin is the id the file was written under.
func sum(origin uint64, offset int64, b []byte) uint32 {
	var place [16]byte
	binary.LittleEndian.PutUint64(place[0:], origin)
	binary.LittleEndian.PutUint64(place[8:], uint64(offset))
	return crc32.Update(crc32.Update(0, castagnoli, place[:]), castagnoli, b)
}

func appendHeader(dst []byte, m *Meta) []byte {
	le := binary.LittleEndian
	from := len(dst)
	dst = append(dst, headerMagic...)
	dst = le.AppendUint32(dst, formatVersion)
	dst = le.AppendUint32(dst, m.Group)
	dst = le.AppendUint64(dst, m.ID)
	dst = le.AppendUint64(dst, uint64(m.Created))
	dst = append(dst, make([]byte, headerBytes-4-(len(dst)-from))...)
	return le.AppendUint32(dst, crc32.Checksum(dst[from:], castagnoli))
}

// checkHeader says whether b is the header of the file m describes.
func checkHeader(b []byte, m *Meta) error {
	if len(b) != headerBytes || string(b[:8]) != headerMagic {
		return errBlock("no segment: the magic is missing")
	}
	if crc32.Checksum(b[:headerBytes-4], castagnoli) != binary.LittleEndian.Uint32(b[headerBytes-4:]) {
		return errBlock("the header's checksum is wrong")
	}
	if v := binary.LittleEndian.Uint32(b[8:]); v != formatVersion {
		return fmt.Errorf("%w: segment version %d, this program knows %d", ErrVersion, v, formatVersion)
	}
	if !bytes.Equal(b, appendHeader(nil, m)) {
		return errBlock("header and footer are of different segments")
	}
	return nil
}

// footer is the last footerBytes of a file: where the sections are.
type footer struct {
	meta                                      Meta
	directoryOffset, bloomOffset, indexOffset int64 // blocks end where the directory begins
	blocks                                    uint64
	bloomSum, indexSum                        uint32
	rawMax                                    uint32 // the largest block before compression
	chunks                                    uint32 // of the directory
}

func (f *footer) appendTo(dst []byte) []byte {
	le := binary.LittleEndian
	from := len(dst)
	dst = f.meta.AppendTo(dst)
	for _, v := range [...]uint64{uint64(f.directoryOffset), uint64(f.bloomOffset), uint64(f.indexOffset), f.blocks} {
		dst = le.AppendUint64(dst, v)
	}
	for _, v := range [...]uint32{f.bloomSum, f.indexSum, f.rawMax, f.chunks} {
		dst = le.AppendUint32(dst, v)
	}
	dst = append(dst, make([]byte, footerBytes-16-(len(dst)-from))...)
	dst = le.AppendUint32(dst, crc32.Checksum(dst[from:], castagnoli))
	dst = le.AppendUint32(dst, formatVersion)
	return append(dst, footerMagic...)
}

// parseFooter reads the last bytes of a file of sizeBytes. Every claim of a
// footer it returns lies within the file.
func parseFooter(b []byte, sizeBytes int64) (f footer, err error) {
	le := binary.LittleEndian
	if len(b) != footerBytes || string(b[footerBytes-8:]) != footerMagic {
		return f, errBlock("no footer: the file is cut off or no segment")
	}
	if crc32.Checksum(b[:footerBytes-16], castagnoli) != le.Uint32(b[footerBytes-16:]) {
		return f, errBlock("the footer's checksum is wrong")
	}
	if v := le.Uint32(b[footerBytes-12:]); v != formatVersion {
		// A flipped bit in the version itself would look the same: Verify tells.
		return f, fmt.Errorf("%w: segment version %d, this program knows %d", ErrVersion, v, formatVersion)
	}
	if f.meta, err = ParseMeta(b[:metaBytes]); err != nil {
		return f, err
	}
	at := b[metaBytes:]
	f.directoryOffset, f.bloomOffset, f.indexOffset = int64(le.Uint64(at)), int64(le.Uint64(at[8:])), int64(le.Uint64(at[16:]))
	f.blocks = le.Uint64(at[24:])
	f.bloomSum, f.indexSum, f.rawMax, f.chunks = le.Uint32(at[32:]), le.Uint32(at[36:]), le.Uint32(at[40:]), le.Uint32(at[44:])
	end := sizeBytes - footerBytes
	switch {
	case f.meta.SizeBytes != sizeBytes:
		return f, errBlock(fmt.Sprintf("the file has %d bytes, its footer says %d", sizeBytes, f.meta.SizeBytes))
	case f.directoryOffset < headerBytes || f.bloomOffset < f.directoryOffset || f.indexOffset < f.bloomOffset || end < f.indexOffset:
		return f, errBlock("the footer's sections overlap")
	case f.blocks > uint64(end-f.indexOffset)/indexEntryBytesMin, f.rawMax > blockRawMax,
		f.meta.Logs > uint64(f.bloomOffset-f.directoryOffset), f.bloomOffset+bloomBytes(f.meta.Logs) != f.indexOffset:
		return f, errBlock("the footer's counts do not fit its sections")
	}
	return f, nil
}
