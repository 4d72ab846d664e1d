package rows

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"hash/crc32"
	"testing"
)

// The examples of docs/formats/rowstore.md.
func TestRowStoreBytesAreFixed(t *testing.T) {
	f := func(name string, got []byte, want string) {
		t.Helper()
		if hex.EncodeToString(got) != want {
			t.Errorf("%s is %x, want %s", name, got, want)
		}
	}
	c := Checkpoint{Applied: 1000, Term: 3, Stamp: 1700000000000, Generation: 7, NextSegment: 9}
	checkpoint := appendGroupKey(nil, kindCheckpoint, 2)
	segment := appendSegmentKey(nil, 2, 8)
	f("row key", appendRowKey(nil, 2, []byte("ab")), "72000000026162")
	f("checkpoint key", checkpoint, "6300000002")
	f("segment key", segment, "73000000020000000000000008")
	f("format", seal([]byte{kindFormat}, []byte{formatVersion}), "01e58059ea")
	f("checkpoint", c.appendTo(nil, checkpoint), "01e80300000000000003000000000000000068e5cf8b010000070000000900000000000000c39c98ba")
	f("segment", appendSegment(nil, segment, []byte("meta")), "016d657461c64dcfb1")
}

// Every flipped byte, every cut and the value of another key are refused.
func TestValuesCheckThemselves(t *testing.T) {
	c := Checkpoint{Applied: 1, Term: 2, Stamp: 3, Generation: 4, NextSegment: 5}
	checkpointKey, segmentKey := appendGroupKey(nil, kindCheckpoint, 2), appendSegmentKey(nil, 2, 8)
	checkpoint, segment := c.appendTo(nil, checkpointKey), appendSegment(nil, segmentKey, []byte("meta"))
	if got, err := parseCheckpoint(checkpointKey, checkpoint); err != nil || got != c {
		t.Errorf("checkpoint is %+v, %v", got, err)
	}
	if id, meta, err := parseSegment(segmentKey, segment); err != nil || id != 8 || string(meta) != "meta" {
		t.Errorf("segment %d is %q, %v", id, meta, err)
	}
	f := func(name string, key, value []byte, parse func(key, value []byte) error) {
		for i := range value {
			flipped := bytes.Clone(value)
			flipped[i] ^= 1
			if err := parse(key, flipped); !errors.Is(err, ErrCorrupt) {
				t.Errorf("%s, byte %d flipped: %v", name, i, err)
			}
			if err := parse(key, value[:i]); !errors.Is(err, ErrCorrupt) {
				t.Errorf("%s, cut to %d bytes: %v", name, i, err)
			}
		}
		other := bytes.Clone(key)
		other[4]++
		if err := parse(other, value); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s of another key: %v", name, err)
		}
		newer := bytes.Clone(value[:len(value)-crcBytes])
		newer[0]++
		if err := parse(key, seal(key, newer)); !errors.Is(err, ErrVersion) {
			t.Errorf("newer %s: %v", name, err)
		}
		longer := append(bytes.Clone(value[:len(value)-crcBytes]), 0)
		if err := parse(key, seal(key, longer)); name == "checkpoint" && !errors.Is(err, ErrCorrupt) {
			t.Errorf("longer %s: %v", name, err)
		}
	}
	f("checkpoint", checkpointKey, checkpoint, func(key, value []byte) error {
		_, err := parseCheckpoint(key, value)
		return err
	})
	f("segment", segmentKey, segment, func(key, value []byte) error {
		_, _, err := parseSegment(key, value)
		return err
	})
	if _, _, err := parseSegment(segmentKey[:9], segment); !errors.Is(err, ErrCorrupt) {
		t.Errorf("short segment key: %v", err)
	}
}

// Whatever the bytes are, parsing ends with an error or with what would be
// written so.
func FuzzParse(f *testing.F) {
	key := appendGroupKey(nil, kindCheckpoint, 2)
	c := Checkpoint{Applied: 1, Stamp: -1}
	f.Add(key, c.appendTo(nil, key))
	key = appendSegmentKey(nil, 2, 8)
	f.Add(key, appendSegment(nil, key, []byte("meta")))
	f.Add([]byte{kindFormat}, []byte{1})
	f.Fuzz(func(t *testing.T, key, value []byte) {
		if c, err := parseCheckpoint(key, value); err == nil && !bytes.Equal(c.appendTo(nil, key), value) {
			t.Errorf("checkpoint %x is %+v", value, c)
		}
		if _, meta, err := parseSegment(key, value); err == nil && !bytes.Equal(appendSegment(nil, key, meta), value) {
			t.Errorf("segment %x is %x", value, meta)
		}
	})
}

// resealGuard gives a slot a version, its length and a right checksum.
func resealGuard(slot []byte, version uint32) []byte {
	slot = append([]byte(guardMagic), slot[4:]...)
	binary.LittleEndian.PutUint32(slot[8:], version)
	binary.LittleEndian.PutUint32(slot[12:], uint32(len(slot)-guardHeaderBytes))
	binary.LittleEndian.PutUint32(slot[4:], crc32.Checksum(slot[8:], castagnoli))
	return slot
}
