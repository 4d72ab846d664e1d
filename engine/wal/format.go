package wal

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math/bits"
)

// Kind tells what a record is. It is opaque here: the engine gives it and gets it back.
type Kind uint8

// Record is one entry of one raft group.
type Record struct {
	Group uint32
	Kind  Kind
	Term  uint64
	Index uint64
	// Payload is read, not kept, by Append. The one given to replay belongs to the
	// callee for ever; payloads of a frame share one buffer.
	Payload []byte
}

// All integers on disk are little endian. See docs/formats/wal.md.
const (
	formatVersion     = 1
	fileHeaderBytes   = 64 // the rest of the first block is zero
	frameHeaderBytes  = 64
	recordHeaderBytes = 25
	blockBytesMin     = 512
	blockBytesMax     = 64 << 10

	fileMagic  = 0x6c6157746977647f // "\x7fdwitWal"
	frameMagic = 0x464c5747         // "GWLF"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// fileHeader stands in the first 64 bytes of a file. It is durable before the
// file gets its name and never changes while the file has that name.
type fileHeader struct {
	id         uint64 // random: frames of another life of these blocks carry another
	sequence   uint64 // the file's place in the log, 1, 2, 3 …; equal to its name
	sizeBytes  int64  // of the whole file, a multiple of blockBytes
	blockBytes int64  // a power of two; frames start at multiples of it
}

// appendTo appends the 64 bytes of the header.
func (h fileHeader) appendTo(dst []byte) []byte {
	start := len(dst)
	dst = binary.LittleEndian.AppendUint64(dst, fileMagic)
	dst = binary.LittleEndian.AppendUint32(dst, formatVersion)
	dst = binary.LittleEndian.AppendUint32(dst, uint32(h.blockBytes))
	dst = binary.LittleEndian.AppendUint64(dst, h.id)
	dst = binary.LittleEndian.AppendUint64(dst, h.sequence)
	dst = binary.LittleEndian.AppendUint64(dst, uint64(h.sizeBytes))
	dst = append(dst, make([]byte, 20)...)
	return binary.LittleEndian.AppendUint32(dst, crc32.Checksum(dst[start:], castagnoli))
}

// parseFileHeader reads a header. The error is ErrVersion, or says what is wrong.
func parseFileHeader(src []byte) (fileHeader, error) {
	var h fileHeader
	if len(src) < fileHeaderBytes {
		return h, fmt.Errorf("the file is shorter than its header")
	}
	src = src[:fileHeaderBytes]
	if binary.LittleEndian.Uint64(src) != fileMagic {
		return h, fmt.Errorf("the header does not start with the magic number")
	}
	if crc32.Checksum(src[:fileHeaderBytes-4], castagnoli) != binary.LittleEndian.Uint32(src[fileHeaderBytes-4:]) {
		return h, fmt.Errorf("the header's checksum is wrong")
	}
	if version := binary.LittleEndian.Uint32(src[8:]); version != formatVersion {
		return h, fmt.Errorf("%w: the file has version %d, this program reads version %d; start the program that wrote it, or a newer one",
			ErrVersion, version, formatVersion)
	}
	h.blockBytes = int64(binary.LittleEndian.Uint32(src[12:]))
	h.id = binary.LittleEndian.Uint64(src[16:])
	h.sequence = binary.LittleEndian.Uint64(src[24:])
	h.sizeBytes = int64(binary.LittleEndian.Uint64(src[32:]))
	if !validBlock(h.blockBytes) || h.sizeBytes < fileBlocksMin*h.blockBytes || h.sizeBytes%h.blockBytes != 0 || h.id == 0 || h.sequence == 0 {
		return h, fmt.Errorf("the header's checksum is right but its fields contradict each other")
	}
	return h, nil
}

func validBlock(n int64) bool {
	return n >= blockBytesMin && n <= blockBytesMax && bits.OnesCount64(uint64(n)) == 1
}

// frameHeader starts a frame. Its checksum covers every field, the payload's
// checksum among them, so a claim (syncedUpTo, oldestFile, newestFile) can be
// believed even if the payload is torn.
type frameHeader struct {
	payloadCRC   uint32
	payloadBytes uint32
	records      uint32 // 0: a trailer, which only carries claims
	lsn          uint64 // frames are numbered 1, 2, 3 … through all files
	fileID       uint64
	syncedUpTo   uint64 // every frame up to this LSN was synced before this one was written
	oldestFile   uint64 // files before this sequence may be missing
	newestFile   uint64 // files up to this sequence exist
}

// putFrameHeader fills the first 64 bytes of frame.
func putFrameHeader(frame []byte, h frameHeader) {
	b := frame[:frameHeaderBytes]
	binary.LittleEndian.PutUint32(b, frameMagic)
	binary.LittleEndian.PutUint32(b[8:], h.payloadCRC)
	binary.LittleEndian.PutUint32(b[12:], h.payloadBytes)
	binary.LittleEndian.PutUint32(b[16:], h.records)
	binary.LittleEndian.PutUint32(b[20:], 0)
	binary.LittleEndian.PutUint64(b[24:], h.lsn)
	binary.LittleEndian.PutUint64(b[32:], h.fileID)
	binary.LittleEndian.PutUint64(b[40:], h.syncedUpTo)
	binary.LittleEndian.PutUint64(b[48:], h.oldestFile)
	binary.LittleEndian.PutUint64(b[56:], h.newestFile)
	binary.LittleEndian.PutUint32(b[4:], crc32.Checksum(b[8:], castagnoli))
}

// parseFrameHeader reads a header; ok is false if there is none or it is damaged.
func parseFrameHeader(src []byte) (h frameHeader, ok bool) {
	if len(src) < frameHeaderBytes || binary.LittleEndian.Uint32(src) != frameMagic {
		return h, false
	}
	b := src[:frameHeaderBytes]
	if crc32.Checksum(b[8:], castagnoli) != binary.LittleEndian.Uint32(b[4:]) {
		return h, false
	}
	h.payloadCRC = binary.LittleEndian.Uint32(b[8:])
	h.payloadBytes = binary.LittleEndian.Uint32(b[12:])
	h.records = binary.LittleEndian.Uint32(b[16:])
	h.lsn = binary.LittleEndian.Uint64(b[24:])
	h.fileID = binary.LittleEndian.Uint64(b[32:])
	h.syncedUpTo = binary.LittleEndian.Uint64(b[40:])
	h.oldestFile = binary.LittleEndian.Uint64(b[48:])
	h.newestFile = binary.LittleEndian.Uint64(b[56:])
	return h, true
}

// frameBytes is the room a payload takes in a file, header and padding included.
func frameBytes(payloadBytes, blockBytes int64) int64 {
	return (frameHeaderBytes + payloadBytes + blockBytes - 1) &^ (blockBytes - 1)
}

// appendRecord appends the bytes of a record.
func appendRecord(dst []byte, r *Record) []byte {
	dst = binary.LittleEndian.AppendUint32(dst, r.Group)
	dst = append(dst, byte(r.Kind))
	dst = binary.LittleEndian.AppendUint64(dst, r.Term)
	dst = binary.LittleEndian.AppendUint64(dst, r.Index)
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(r.Payload)))
	return append(dst, r.Payload...)
}

// parseRecord reads one record; its Payload aliases src.
func parseRecord(src []byte) (r Record, rest []byte, ok bool) {
	if len(src) < recordHeaderBytes {
		return r, src, false
	}
	r.Group = binary.LittleEndian.Uint32(src)
	r.Kind = Kind(src[4])
	r.Term = binary.LittleEndian.Uint64(src[5:])
	r.Index = binary.LittleEndian.Uint64(src[13:])
	end := recordHeaderBytes + int64(binary.LittleEndian.Uint32(src[21:]))
	if end > int64(len(src)) {
		return r, src, false
	}
	r.Payload = src[recordHeaderBytes:end:end]
	return r, src[end:], true
}
