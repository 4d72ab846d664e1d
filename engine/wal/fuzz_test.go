package wal

import (
	"bytes"
	"errors"
	"hash/crc32"
	"testing"
)

// FuzzFrame: the parsers take any bytes, and what they take they write again alike.
func FuzzFrame(f *testing.F) {
	r := testRecord(7, 30)
	f.Add(appendRecord(nil, &r))
	frame := make([]byte, frameHeaderBytes)
	putFrameHeader(frame, frameHeader{payloadCRC: 1, payloadBytes: 2, records: 3, lsn: 4, fileID: 5, syncedUpTo: 6, oldestFile: 7, newestFile: 8})
	f.Add(frame)
	f.Add(fileHeader{id: 1, sequence: 2, sizeBytes: 4096, blockBytes: 512}.appendTo(nil))
	f.Fuzz(func(t *testing.T, src []byte) {
		if r, rest, ok := parseRecord(src); ok {
			if again := appendRecord(nil, &r); !bytes.Equal(again, src[:len(src)-len(rest)]) {
				t.Fatalf("record: %x became %x", src, again)
			}
		}
		if h, ok := parseFrameHeader(src); ok {
			again := make([]byte, frameHeaderBytes)
			putFrameHeader(again, h)
			if g, ok := parseFrameHeader(again); !ok || g != h {
				t.Fatalf("frame header: %+v became %+v", h, g)
			}
		}
		if h, err := parseFileHeader(src); err == nil {
			if g, err := parseFileHeader(h.appendTo(nil)); err != nil || g != h {
				t.Fatalf("file header: %+v became %+v, %v", h, g, err)
			}
		}
	})
}

// FuzzWALRecover opens a directory with two files of arbitrary bytes. Headers
// and checksums are made right if the fuzzer asks for it, so that it gets deep.
func FuzzWALRecover(f *testing.F) {
	fs := newCrashFS()
	l, _ := mustOpen(f, smallConfig(fs))
	for i := range 9 {
		must(f, l.Append([]Record{testRecord(i, i*50)}))
		must(f, l.Sync())
	}
	must(f, l.Close())
	one, two := fs.file(1).data, fs.file(2).data
	f.Add(one, two, false)
	f.Add(one, two[:8*512], true)
	f.Add(one[:1024], []byte{}, true)
	f.Add([]byte{}, []byte{}, false)
	recycled := newCrashFS()
	recycledSpare(recycled)
	f.Add(recycled.file(1).data, recycled.file(2).data, false)
	recycled.file(2).data[40]++ // a header's zeros
	f.Add(recycled.file(1).data, recycled.file(2).data, true)
	released := newCrashFS()
	l, _ = mustOpen(f, oneSizeConfig(released))
	for i := range 9 {
		must(f, l.Append([]Record{testRecord(i, 100)}))
	}
	must(f, l.Release(1))
	must(f, l.Close())
	f.Add(one, released.file(2).data, true)
	f.Fuzz(func(t *testing.T, one, two []byte, repair bool) {
		fs := newCrashFS()
		for i, data := range [][]byte{one, two} {
			if len(data) > 1<<20 {
				return
			}
			if data = bytes.Clone(data); repair {
				data = repairFile(data, uint64(i+1))
			}
			if len(data) > 0 {
				fs.put(uint64(i+1), data)
			}
		}
		payload := 0
		l, err := Open(smallConfig(fs), func(_ uint64, r Record) error {
			payload += len(r.Payload)
			return nil
		})
		if payload > len(one)+len(two)+2*512 {
			t.Fatalf("%d bytes of payload from %d bytes", payload, len(one)+len(two))
		}
		if err != nil {
			if !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrVersion) {
				t.Fatalf("refused without a reason: %v", err)
			}
			return
		}
		must(t, l.Append([]Record{testRecord(1, 10)}))
		must(t, l.Close())
		var last Record
		l, err = Open(smallConfig(fs), func(_ uint64, r Record) error {
			last = r
			return nil
		})
		must(t, err)
		must(t, l.Close())
		if !sameRecord(last, testRecord(1, 10)) {
			t.Fatalf("the record appended after the recovery is gone")
		}
	})
}

// repairFile gives data a whole header and right frame checksums.
func repairFile(data []byte, sequence uint64) []byte {
	data = append(data, make([]byte, max(0, 4*512-len(data)))...)
	data = data[:len(data)&^511]
	file := fileHeader{id: sequence, sequence: sequence, sizeBytes: int64(len(data)), blockBytes: 512}
	copy(data, file.appendTo(nil))
	fs := newCrashFS()
	fs.put(sequence, data)
	forge(fs, func(file fileHeader, block []byte, h *frameHeader, _ bool) bool {
		h.fileID = file.id
		h.payloadBytes = min(h.payloadBytes, uint32(len(block)-frameHeaderBytes))
		h.payloadCRC = crc32.Checksum(block[frameHeaderBytes:][:h.payloadBytes], castagnoli)
		return true
	})
	return data
}
