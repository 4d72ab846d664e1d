package wal

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
)

// A planted bug is a check that recovery lacks. It is planted from outside: the
// image is rewritten so that the check passes wherever the check matters, which
// is what recovery without the check would see. Nothing in the log knows of it.

// forge visits every block that starts like a frame and writes its header again
// as change wants it.
func forge(fs *crashFS, change func(file fileHeader, block []byte, h *frameHeader, headerOK bool) bool) {
	for _, n := range fs.names {
		file, err := parseFileHeader(n.data)
		if err != nil {
			continue
		}
		for off := file.blockBytes; off+frameHeaderBytes <= int64(len(n.data)); off += file.blockBytes {
			block := n.data[off:]
			if binary.LittleEndian.Uint32(block) != frameMagic {
				continue
			}
			_, headerOK := parseFrameHeader(block)
			binary.LittleEndian.PutUint32(block[4:], crc32.Checksum(block[8:frameHeaderBytes], castagnoli))
			h, _ := parseFrameHeader(block)
			if change(file, block, &h, headerOK) {
				putFrameHeader(block, h)
			} else if !headerOK {
				block[4]++ // as bad as it was
			}
		}
	}
}

func truePayloadCRC(block []byte, h *frameHeader) bool {
	if int64(h.payloadBytes) > int64(len(block)-frameHeaderBytes) {
		return false
	}
	h.payloadCRC = crc32.Checksum(block[frameHeaderBytes:][:h.payloadBytes], castagnoli)
	return true
}

// noChecksum: any checksum is right.
func noChecksum(fs *crashFS) {
	forge(fs, func(_ fileHeader, block []byte, h *frameHeader, _ bool) bool { return truePayloadCRC(block, h) })
}

// partialChecksum: only the header is covered, the payload is not.
func partialChecksum(fs *crashFS) {
	forge(fs, func(_ fileHeader, block []byte, h *frameHeader, headerOK bool) bool {
		return headerOK && truePayloadCRC(block, h)
	})
}

// noFileID: a frame of any life counts as one of this life.
func noFileID(fs *crashFS) {
	forge(fs, func(file fileHeader, _ []byte, h *frameHeader, headerOK bool) bool {
		h.fileID = file.id
		return headerOK
	})
}

// unchanged shows that forging itself breaks nothing.
func unchanged(fs *crashFS) {
	forge(fs, func(_ fileHeader, _ []byte, _ *frameHeader, headerOK bool) bool { return headerOK })
}

// noClaims: the tail rule is applied in the middle, whatever later frames say.
func noClaims(fs *crashFS) {
	forge(fs, func(_ fileHeader, _ []byte, h *frameHeader, headerOK bool) bool {
		h.syncedUpTo = 0
		return headerOK
	})
}

// flipCovered flips a byte of a frame that a later one says was synced.
func flipCovered(fs *crashFS, rng *rand.Rand) bool {
	type place struct {
		data []byte
		lsn  uint64
	}
	var places []place
	covered := uint64(0)
	for _, name := range slices.Sorted(maps.Keys(fs.names)) {
		data := fs.names[name].data
		file, err := parseFileHeader(data)
		if err != nil || !strings.HasSuffix(name, fileSuffix) {
			continue
		}
		for off := file.blockBytes; off < int64(len(data)); off += file.blockBytes {
			h, ok := parseFrameHeader(data[off:])
			if !ok || h.fileID != file.id || off+frameHeaderBytes+int64(h.payloadBytes) > int64(len(data)) {
				continue
			}
			covered = max(covered, h.syncedUpTo)
			if h.records > 0 {
				places = append(places, place{data[off:][:frameHeaderBytes+h.payloadBytes], h.lsn})
			}
		}
	}
	places = slices.DeleteFunc(places, func(p place) bool { return p.lsn > covered })
	if len(places) == 0 {
		return false
	}
	p := places[rng.IntN(len(places))]
	p.data[rng.IntN(len(p.data))] ^= 1 << rng.IntN(8)
	return true
}

// hastyRelease is Release with its steps in the wrong order.
func hastyRelease(l *Log, file uint64) error {
	l.oldest = file + 1
	l.dropReleased()
	return errors.Join(l.makeRoom(0), l.writeTrailer(), l.syncCurrent())
}

// plantedBugs are what the crash test must catch.
var plantedBugs = []struct {
	name     string
	harmless bool // it is no bug: the control
	test     func() *crashTest
}{
	{"acknowledged before the fdatasync", false, func() *crashTest {
		return &crashTest{lies: func(_ *world, kind syncKind, _ string) bool { return kind == syncData }}
	}},
	{"no checksum", false, func() *crashTest { return &crashTest{plant: noChecksum} }},
	{"partial checksum", false, func() *crashTest { return &crashTest{plant: partialChecksum} }},
	{"frames of any life accepted", false, func() *crashTest {
		return &crashTest{prepare: recycledSpare, plant: noFileID}
	}},
	{"recycled file without new id", false, func() *crashTest {
		return &crashTest{change: func(c *Config, rng *rand.Rand) {
			oneSize(c, rng)
			c.FileID = func() uint64 { return 7 }
		}}
	}},
	{"tail rule applied in the middle", false, func() *crashTest { return &crashTest{plant: noClaims} }},
	{"release before the durable claim", false, func() *crashTest {
		return &crashTest{change: oneSize, release: hastyRelease}
	}},
	{"header rewritten without sync before the rename", false, func() *crashTest {
		return &crashTest{change: oneSize, lies: func(_ *world, kind syncKind, name string) bool {
			return kind == syncFull && strings.HasSuffix(name, poolSuffix)
		}}
	}},
	{"header rewritten before the loss of the name is durable", false, func() *crashTest {
		return &crashTest{change: oneSize, lies: func(w *world, kind syncKind, _ string) bool {
			return kind == syncDirectory && strings.HasSuffix(w.fs.renamed, poolSuffix)
		}}
	}},
	{"forged but unchanged", true, func() *crashTest {
		return &crashTest{prepare: recycledSpare, plant: unchanged}
	}},
}
