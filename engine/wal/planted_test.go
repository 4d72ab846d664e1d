package wal

import (
	"encoding/binary"
	"hash/crc32"
	"testing"
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

func TestCrashTestCatchesPlantedBugs(t *testing.T) {
	f := func(name string, caught bool, c *crashTest) {
		t.Run(name, func(t *testing.T) {
			err := c.runSeeds(20, 1)
			if caught && err == nil {
				t.Errorf("not caught in %d crash points", c.points.Load())
			}
			if !caught && err != nil {
				t.Error(err)
			}
			t.Logf("%d crash points: %v", c.points.Load(), err)
		})
	}
	f("acknowledged before the fdatasync", true, &crashTest{lie: true})
	f("no checksum", true, &crashTest{plant: noChecksum})
	f("partial checksum", true, &crashTest{plant: partialChecksum})
	f("recycled file without id", true, &crashTest{prepare: recycledSpare, plant: noFileID})
	f("forged but unchanged", false, &crashTest{prepare: recycledSpare, plant: unchanged})
}
