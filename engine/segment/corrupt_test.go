package segment

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// smallSegment has all sections, several blocks and directory entries without a run.
func smallSegment(t testing.TB, codec Codec) (Config, model, Meta, []byte) {
	t.Helper()
	cfg := testConfig(t)
	cfg.Codec = codec
	m := chatModel(seeded(11), 12, 6, 60)
	m.add(3, 1)
	m[3].head = 77
	made, err := m.write(cfg, testMeta(1, 5, 6))
	must(t, err)
	data := readFile(t, cfg.FS, cfg.FS.PathJoin(testDir, FileName(1)))
	if made.SizeBytes != int64(len(data)) {
		t.Fatalf("the meta says %d bytes, the file has %d", made.SizeBytes, len(data))
	}
	return cfg, m, made, data
}

func readFile(t testing.TB, fs vfs.FS, path string) []byte {
	t.Helper()
	f, err := fs.Open(path)
	must(t, err)
	defer f.Close()
	info, err := f.Stat()
	must(t, err)
	b := make([]byte, info.Size())
	must(t, readAt(f, path, b, 0))
	return b
}

func writeFile(t testing.TB, fs vfs.FS, path string, b []byte) {
	t.Helper()
	f, err := fs.Create(path, vfs.WriteCategoryUnspecified)
	must(t, err)
	_, err = f.Write(append([]byte(nil), b...))
	must(t, errors.Join(err, f.Close()))
}

// readDamaged reads everything and wants the truth or a refusal.
func readDamaged(cfg Config, m model, made Meta) (refused bool, err error) {
	fine := func(err error) bool {
		refused = refused || err != nil
		return err == nil || errors.Is(err, ErrCorrupt) || errors.Is(err, ErrVersion)
	}
	r, err := Open(cfg, made, nil)
	if err != nil {
		if !fine(err) {
			return refused, err
		}
		return true, nil
	}
	defer r.Release()
	if err := r.Verify(context.Background(), 0); !fine(err) {
		return refused, err
	}
	if err := m.checkScan(r); !fine(err) {
		return refused, fmt.Errorf("scan: %w", err)
	}
	if err := m.checkHeads(r); !fine(err) {
		return refused, fmt.Errorf("heads: %w", err)
	}
	var c Cursor
	for log, want := range m {
		if _, _, older, ok, err := r.Run(&c, log); !fine(err) || err == nil && (!ok || older != want.older) {
			return refused, fmt.Errorf("run of %d: %d %t %w", log, older, ok, err)
		}
		if err := m.checkLog(r, &c, log); !fine(err) {
			return refused, err
		}
	}
	return refused, nil
}

func TestEveryFlippedByteIsNoticedOrHarmless(t *testing.T) {
	for _, codec := range []Codec{CodecNone, CodecZstd} {
		cfg, m, made, data := smallSegment(t, codec)
		path := cfg.FS.PathJoin(testDir, FileName(1))
		for i := range data {
			for _, mask := range []byte{1 << (i % 8), 0xff} {
				data[i] ^= mask
				writeFile(t, cfg.FS, path, data)
				refused, err := readDamaged(cfg, m, made)
				if err != nil {
					t.Fatalf("%v: byte %d of %d flipped by %02x: %v", codec, i, len(data), mask, err)
				}
				if !refused {
					t.Fatalf("%v: byte %d of %d flipped by %02x: nobody noticed", codec, i, len(data), mask)
				}
				if problems, err := Check(cfg.FS, path); err != nil || len(problems) == 0 {
					t.Fatalf("%v: byte %d of %d flipped by %02x: check says %v, %v", codec, i, len(data), mask, problems, err)
				}
				data[i] ^= mask
			}
		}
	}
}

// The manifest guards most of the footer, Verify the header; each must also guard
// itself: tools have no manifest, and Verify comes once a week.
func TestFooterAndHeaderGuardThemselves(t *testing.T) {
	cfg, _, made, data := smallSegment(t, CodecZstd)
	foot := data[len(data)-footerBytes:]
	for i := range foot {
		foot[i] ^= 1 << (i % 8)
		if f, err := parseFooter(foot, made.SizeBytes); err == nil {
			t.Errorf("footer byte %d flipped: %+v", i, f)
		}
		foot[i] ^= 1 << (i % 8)
	}
	path := cfg.FS.PathJoin(testDir, FileName(1))
	for i := range headerBytes {
		data[i] ^= 1 << (i % 8)
		writeFile(t, cfg.FS, path, data)
		if _, err := Open(cfg, made, nil); !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrVersion) {
			t.Errorf("header byte %d flipped: %v", i, err)
		}
		data[i] ^= 1 << (i % 8)
	}
}

func TestTruncatedFilesAreRefused(t *testing.T) {
	cfg, m, made, data := smallSegment(t, CodecZstd)
	path := cfg.FS.PathJoin(testDir, FileName(1))
	for n := range len(data) {
		writeFile(t, cfg.FS, path, data[:n])
		if _, err := Open(cfg, made, nil); !errors.Is(err, ErrCorrupt) {
			t.Fatalf("cut to %d of %d bytes: %v", n, len(data), err)
		}
		if problems, err := Check(cfg.FS, path); err != nil || len(problems) == 0 {
			t.Fatalf("cut to %d bytes: check says %v, %v", n, problems, err)
		}
	}
	writeFile(t, cfg.FS, path, append(data, 0))
	if _, err := Open(cfg, made, nil); !errors.Is(err, ErrCorrupt) {
		t.Fatalf("a byte longer: %v", err)
	}
	writeFile(t, cfg.FS, path, data)
	if refused, err := readDamaged(cfg, m, made); refused || err != nil {
		t.Fatalf("the whole file: refused %t, %v", refused, err)
	}
}

// A file that shrinks after Open must give errors, not old bytes or a panic.
func TestFileCutWhileOpenIsNoticed(t *testing.T) {
	cfg, m, made, data := smallSegment(t, CodecZstd)
	dir := t.TempDir()
	cfg.FS, cfg.Dir = vfs.Default, dir
	path := cfg.FS.PathJoin(dir, FileName(1))
	writeFile(t, cfg.FS, path, data)
	r, err := Open(cfg, made, nil)
	must(t, err)
	defer r.Release()
	must(t, os.Truncate(path, headerBytes+10))
	if err := m.checkScan(r); !errors.Is(err, ErrCorrupt) {
		t.Errorf("scan: %v", err)
	}
	if err := r.Verify(context.Background(), 0); !errors.Is(err, ErrCorrupt) {
		t.Errorf("verify: %v", err)
	}
	var c Cursor
	log := m.logs()[len(m)-1]
	if _, ok, err := r.Entry(&c, log, m[log].head); ok || !errors.Is(err, ErrCorrupt) {
		t.Errorf("entry: %t %v", ok, err)
	}
}

func TestNewerVersionsAreRefusedClearly(t *testing.T) {
	cfg, _, made, data := smallSegment(t, CodecZstd)
	path := cfg.FS.PathJoin(testDir, FileName(1))
	data[len(data)-12]++ // the footer's version stands outside its checksum
	writeFile(t, cfg.FS, path, data)
	_, err := Open(cfg, made, nil)
	if !errors.Is(err, ErrVersion) || !strings.Contains(err.Error(), "segment version 2, this program knows 1") {
		t.Errorf("footer: %v", err)
	}
	data[len(data)-12]--

	m := made
	header := appendHeader(nil, &m)
	header[8] = 9
	copy(header[headerBytes-4:], crcBytes(header[:headerBytes-4]))
	if err := checkHeader(header, &m); !errors.Is(err, ErrVersion) {
		t.Errorf("header: %v", err)
	}
	block := sealBlock(nil, 1, 64, []byte("raw"), 0, nil)
	block[4] = 7
	copy(block, sumBytes(1, 64, block[4:]))
	if _, err := openBlock(nil, block, 1, 64, 100); !errors.Is(err, ErrVersion) {
		t.Errorf("codec: %v", err)
	}
}

func TestAnotherSegmentUnderTheNameIsRefused(t *testing.T) {
	cfg, _, made, _ := smallSegment(t, CodecZstd)
	other := chatModel(seeded(12), 12, 6, 60)
	theirs, err := other.write(cfg, testMeta(2, 5, 6))
	must(t, err)
	data := readFile(t, cfg.FS, cfg.FS.PathJoin(testDir, FileName(2)))
	writeFile(t, cfg.FS, cfg.FS.PathJoin(testDir, FileName(1)), data)
	made.SizeBytes = theirs.SizeBytes
	if _, err := Open(cfg, made, nil); !errors.Is(err, ErrCorrupt) {
		t.Errorf("got %v", err)
	}
	// A copy under another id is welcome: the manifest names it so.
	theirs.ID = 1
	r, err := Open(cfg, theirs, nil)
	must(t, err)
	must(t, other.check(r))
	must(t, r.Verify(context.Background(), 0))
	must(t, r.Release())
}

func TestBlockInAWrongPlaceIsRefused(t *testing.T) {
	raw := []byte("some bytes")
	b := sealBlock(nil, 5, 640, raw, 0, nil)
	if got, err := openBlock(nil, b, 5, 640, 100); err != nil || string(got) != string(raw) {
		t.Fatalf("%q %v", got, err)
	}
	for _, at := range []struct {
		origin uint64
		offset int64
	}{{6, 640}, {5, 64}} {
		if _, err := openBlock(nil, b, at.origin, at.offset, 100); err == nil {
			t.Errorf("taken for a block of %d at %d", at.origin, at.offset)
		}
	}
}

func TestDeclaredSizesAreBoundedBeforeAllocation(t *testing.T) {
	e := takeEncoder(1)
	defer giveEncoder(1, e)
	zeros := make([]byte, 8<<20) // compresses to almost nothing
	b := sealBlock(nil, 1, 64, zeros, 0, e)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if _, err := openBlock(nil, b, 1, 64, 4096); err == nil {
		t.Error("a block larger than the footer allows was opened")
	}
	if runtime.ReadMemStats(&after); after.TotalAlloc-before.TotalAlloc > 1<<20 {
		t.Errorf("refusing took %d bytes", after.TotalAlloc-before.TotalAlloc)
	}
	if got, err := openBlock(nil, b, 1, 64, uint32(len(zeros))); err != nil || len(got) != len(zeros) {
		t.Errorf("the same block with room for it: %d bytes, %v", len(got), err)
	}
	var w walker
	if err := w.start([]byte{0xff, 0xff, 0xff, 0x7f, 0, 0}); err == nil {
		t.Error("heads longer than the block")
	}
	// A piece that claims 2^40 entries in a few bytes.
	raw := []byte{9, 0, 0, 1, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x02, 1, 1}
	if err := w.start(raw); err == nil {
		if _, err = w.next(); err == nil {
			t.Error("a piece longer than its block")
		}
	}
	if _, err := parseIndex([]byte{1, 2, 3}, 1<<60, 1000); err == nil {
		t.Error("an index of 2^60 blocks in 3 bytes")
	}
}

func TestVerifyNoticesWhatChecksumsDoNot(t *testing.T) {
	cfg, _, made, data := smallSegment(t, CodecNone)
	path := cfg.FS.PathJoin(testDir, FileName(1))
	// A block replaced by another good one of the same length.
	b := data[headerBytes:]
	r, err := Open(cfg, made, nil)
	must(t, err)
	_, n := r.index.span(0)
	raw, err := r.block(0)
	must(t, err)
	raw[len(raw)-1] ^= 1
	copy(b, sealBlock(nil, 1, headerBytes, raw, 0, nil)[:n])
	must(t, r.Release())
	writeFile(t, cfg.FS, path, data)
	r, err = Open(cfg, made, nil)
	must(t, err)
	defer r.Release()
	if err := r.Verify(context.Background(), 0); !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), "SHA-256") {
		t.Errorf("got %v", err)
	}
}

func TestVerifyEndsWithItsContext(t *testing.T) {
	cfg, _, made, _ := smallSegment(t, CodecZstd)
	r, err := Open(cfg, made, nil)
	must(t, err)
	defer r.Release()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := r.Verify(ctx, 1); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func crc(b []byte) uint32 { return crc32.Checksum(b, castagnoli) }

func sha(b []byte) [32]byte { return sha256.Sum256(b) }

func crcBytes(b []byte) []byte { return binary.LittleEndian.AppendUint32(nil, crc(b)) }

func sumBytes(origin uint64, offset int64, b []byte) []byte {
	return binary.LittleEndian.AppendUint32(nil, sum(origin, offset, b))
}

func TestVerifyKeepsItsRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := testConfig(t)
		cfg.Codec, cfg.BlockBytes = CodecNone, 16<<10
		r := chatModel(seeded(14), 300, 20, 500).mustOpen(t, cfg, testMeta(1, 5, 5), nil)
		defer r.Release()
		started := time.Now() // the bubble's clock: only sleeping moves it
		must(t, r.Verify(context.Background(), 100_000))
		want := time.Duration(float64(r.meta.SizeBytes-footerBytes) / 100_000 * float64(time.Second))
		if got := time.Since(started); (got - want).Abs() > time.Second/100 {
			t.Errorf("%d bytes took %v, want %v", r.meta.SizeBytes, got, want)
		}
	})
}
