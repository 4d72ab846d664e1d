package segment

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"testing"

	"github.com/godwit-im/godwit"
)

// FuzzSegmentBlock gives any bytes to the parser of a decompressed block, and the
// same with a right checksum to the one of a block on disk. What parses must be in
// bounds and in order, and skipping must agree with decoding.
func FuzzSegmentBlock(f *testing.F) {
	for i, m := range []model{chatModel(seeded(1), 6, 6, 20), chatModel(seeded(2), 1, 40, 3), {7: &run{older: 2, head: 9}}} {
		cfg := testConfig(f)
		r := m.mustOpen(f, cfg, testMeta(uint64(i+1), 5, 5), nil)
		for b := range r.index.len() {
			raw, err := r.block(b)
			must(f, err)
			f.Add(raw)
		}
		must(f, r.Release())
	}
	f.Add([]byte{9, 0, 0, 1, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x02, 1, 1})
	f.Fuzz(func(t *testing.T, raw []byte) {
		const rawMax = 1 << 20
		if b := sealBlock(nil, 1, 64, raw, 0, nil); len(raw) <= rawMax {
			got, err := openBlock(nil, b, 1, 64, rawMax)
			if err != nil || !bytes.Equal(got, raw) {
				t.Fatalf("a block as it is: %v", err)
			}
			b[4] = byte(CodecZstd)
			binary.LittleEndian.PutUint32(b, sum(1, 64, b[4:]))
			if got, err := openBlock(nil, b, 1, 64, rawMax); err == nil && len(got) > rawMax {
				t.Fatalf("decompressed to %d bytes", len(got))
			}
		}
		walkBoth(t, raw)
	})
}

// walkBoth walks a block by decoding every piece, and beside it by skipping.
func walkBoth(t *testing.T, raw []byte) {
	var decode, skip walker
	if err := decode.start(raw); err != nil {
		return
	}
	must(t, skip.start(raw))
	var places []place
	last, some := godwit.LogID(0), false
	for {
		ok, err := decode.next()
		ok2, err2 := skip.next()
		if ok != ok2 || (err == nil) != (err2 == nil) {
			t.Fatalf("decoding says %t %v, skipping %t %v", ok, err, ok2, err2)
		}
		if err != nil || !ok {
			return
		}
		if some && decode.piece.log <= last {
			t.Fatal("logs do not ascend")
		}
		last, some = decode.piece.log, true
		if places, err = decode.places(places); err != nil {
			return
		}
		if err := skip.skip(); err != nil {
			t.Fatalf("what decodes does not skip: %v", err)
		}
		if len(places)*3 > len(raw) {
			t.Fatalf("%d entries in %d bytes", len(places), len(raw))
		}
		before := godwit.Seq(0)
		for i := range places {
			e := places[i].record(raw) // panics out of bounds
			if e.Seq <= before || e.Seq > seqMax || e.Prev >= e.Seq {
				t.Fatalf("sequence %d, prev %d, after %d", e.Seq, e.Prev, before)
			}
			before = e.Seq
		}
	}
}

// FuzzSegmentFooter gives any footer, with a right checksum, to its parser: what is
// accepted lies within the file and is written back the same.
func FuzzSegmentFooter(f *testing.F) {
	_, _, made, data := smallSegment(f, CodecZstd)
	f.Add(data[len(data)-footerBytes:], made.SizeBytes)
	f.Add(data[:footerBytes], int64(400))
	f.Add([]byte{}, int64(0))
	f.Fuzz(func(t *testing.T, b []byte, size int64) {
		if _, err := parseFooter(b, size); err != nil && len(b) == footerBytes {
			b = bytes.Clone(b)
			copy(b[footerBytes-8:], footerMagic)
			binary.LittleEndian.PutUint32(b[footerBytes-12:], formatVersion)
			binary.LittleEndian.PutUint32(b[footerBytes-16:], crc32.Checksum(b[:footerBytes-16], castagnoli))
		}
		foot, err := parseFooter(b, size)
		if err != nil {
			return
		}
		if foot.directoryOffset < headerBytes || foot.bloomOffset < foot.directoryOffset || foot.indexOffset < foot.bloomOffset ||
			foot.indexOffset > size-footerBytes || foot.blocks > uint64(size) || foot.rawMax > blockRawMax {
			t.Fatalf("accepted %+v in %d bytes", foot, size)
		}
		again, err := parseFooter(foot.appendTo(nil), size)
		if err != nil || again != foot {
			t.Fatalf("written back as %+v (%v), was %+v", again, err, foot)
		}
	})
}

// FuzzSegmentMeta: what ParseMeta accepts, AppendTo writes.
func FuzzSegmentMeta(f *testing.F) {
	m := testMeta(1, 2, 3)
	f.Add(m.AppendTo(nil))
	f.Add([]byte{1})
	f.Add([]byte{2, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := ParseMeta(b)
		if err == nil && !bytes.Equal(m.AppendTo(nil), b) {
			t.Fatalf("%x becomes %x", b, m.AppendTo(nil))
		}
	})
}

// FuzzSegmentSections gives any bytes to the parsers of index and directory.
func FuzzSegmentSections(f *testing.F) {
	x := index{end: 900}
	x.add(5, 1, false, headerBytes)
	x.add(5, 300, true, 500)
	f.Add(x.appendTo(nil), uint64(2))
	f.Add([]byte{2, 5, 1, 3, 0x80, 1}, uint64(2))
	f.Fuzz(func(t *testing.T, b []byte, blocks uint64) {
		if x, err := parseIndex(b, blocks, 900); err == nil {
			for i := range x.len() {
				if offset, n := x.span(i); offset < headerBytes || n <= 0 || offset+int64(n) > 900 {
					t.Fatalf("block %d: %d bytes at %d", i, n, offset)
				}
				if i > 0 && (x.log(i) < x.log(i-1) || x.log(i) == x.log(i-1) && x.seq(i) <= x.seq(i-1)) {
					t.Fatal("not in order")
				}
			}
		}
		c, err := startChunk(b, 3, true)
		last := godwit.LogID(3)
		for err == nil && c.left > 0 {
			var log godwit.LogID
			if log, _, err = c.next(); err == nil {
				if log <= last {
					t.Fatalf("log %d after %d", log, last)
				}
				last = log
			}
		}
	})
}
