package wal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// writtenLog is a closed log of a few files and its records.
func writtenLog(t *testing.T, frames int) (*crashFS, []Record) {
	fs := newCrashFS()
	l, _ := mustOpen(t, smallConfig(fs))
	var want []Record
	for i := range frames {
		want = append(want, testRecord(i, i*37%700))
		must(t, l.Append(want[i:]))
		must(t, l.Sync())
	}
	must(t, l.Close())
	return fs, want
}

// openQuietly recovers fs and closes the log again.
func openQuietly(t *testing.T, fs vfs.FS) ([]Record, error) {
	t.Helper()
	l, got, err := recoverAll(smallConfig(fs))
	if err == nil {
		must(t, l.Close())
	}
	return got, err
}

// flipEveryByte recovers the log with each byte flipped in turn (with -race each
// eighth, and those of headers): all of it comes back, or it is refused.
func flipEveryByte(t *testing.T, fs *crashFS, config func(vfs.FS) Config, want []Record) (flips, refused int) {
	t.Helper()
	for _, name := range slices.Sorted(maps.Keys(fs.names)) {
		for i := range fs.names[name].data {
			if raceEnabled && i%8 != 0 && i%sectorBytes >= fileHeaderBytes {
				continue
			}
			image := fs.clone()
			image.names[name].data[i] ^= byte(1 + i%255)
			l, got, err := recoverAll(config(image))
			flips++
			switch {
			case errors.Is(err, ErrCorrupt):
				refused++
				continue
			case err != nil:
				t.Fatalf("%s byte %d: %v", name, i, err)
			}
			must(t, l.Close())
			if err := samePrefix(got, want); err != nil || len(got) != len(want) {
				t.Fatalf("%s byte %d: %d of %d records, %v", name, i, len(got), len(want), err)
			}
		}
	}
	return flips, refused
}

func TestEveryFlippedByteIsCorruptionOrHarmless(t *testing.T) {
	fs, want := writtenLog(t, 20)
	flips, refused := flipEveryByte(t, fs, smallConfig, want)
	// At least the headers and the bytes of all records must have been refused.
	least := 20 * (frameHeaderBytes + recordHeaderBytes)
	for _, r := range want {
		least += len(r.Payload)
	}
	if refused < least && !raceEnabled {
		t.Errorf("%d of %d flips refused, expected at least %d", refused, flips, least)
	}
	t.Logf("%d of %d flips refused", refused, flips)
}

// lastFrame returns where the last frame with records lies.
func lastFrame(t *testing.T, fs *crashFS) (data []byte, off int64, h frameHeader) {
	for _, n := range fs.names {
		for at := int64(512); at < int64(len(n.data)); at += 512 {
			if g, ok := parseFrameHeader(n.data[at:]); ok && g.records > 0 && g.lsn > h.lsn {
				data, off, h = n.data, at, g
			}
		}
	}
	if h.lsn == 0 {
		t.Fatal("no frame")
	}
	return data, off, h
}

func TestOnlyTheTrailerMakesADamagedLastFrameCorruption(t *testing.T) {
	f := func(idle bool, refused bool) {
		t.Helper()
		fs := newCrashFS()
		l, _ := mustOpen(t, smallConfig(fs))
		for i := range 3 {
			must(t, l.Append([]Record{testRecord(i, 100)}))
			must(t, l.Sync())
		}
		if idle {
			must(t, l.Idle())
		}
		image := fs.clone()
		must(t, l.Close())
		data, off, _ := lastFrame(t, image)
		data[off+frameHeaderBytes+50] ^= 4
		got, err := openQuietly(t, image)
		if refused != errors.Is(err, ErrCorrupt) || !refused && len(got) != 2 {
			t.Errorf("idle %v: %d records, %v", idle, len(got), err)
		}
	}
	f(true, true)
	f(false, false) // the residual window; see docs/formats/wal.md
}

func TestRecoverDropsTornTail(t *testing.T) {
	fs := newCrashFS()
	l, _ := mustOpen(t, smallConfig(fs))
	want := []Record{testRecord(0, 100), testRecord(1, 100), testRecord(2, 900), testRecord(3, 100)}
	for i := range want[:2] {
		must(t, l.Append(want[i:i+1]))
		must(t, l.Sync())
	}
	must(t, l.Append(want[2:3])) // never synced
	must(t, l.Append(want[3:4]))
	image := fs.clone()
	must(t, l.Close())
	for at := int64(512); ; at += 512 {
		if h, ok := parseFrameHeader(image.file(1).data[at:]); ok && h.lsn == 3 {
			clear(image.file(1).data[at+512:][:512]) // a sector that did not arrive
			break
		}
	}
	// Frame 4 is whole but lies behind the cut: it must not come back, whatever is
	// appended in its place.
	for round := range 3 {
		l, got := mustOpen(t, smallConfig(image))
		if err := samePrefix(got, append(want[:2:2], records(10, round)...)); err != nil || len(got) != 2+round {
			t.Fatalf("round %d: %d records, %v", round, len(got), err)
		}
		must(t, l.Append(records(10, round+1)[round:]))
		must(t, l.Sync())
		next := image.clone()
		must(t, l.Close())
		image = next
	}
}

func records(first, n int) []Record {
	var rs []Record
	for i := range n {
		rs = append(rs, testRecord(first+i, 100))
	}
	return rs
}

func TestMissingAndTruncatedFilesAreCorruption(t *testing.T) {
	fs, _ := writtenLog(t, 60)
	if fs.file(4) == nil {
		t.Fatal("the test needs four files")
	}
	f := func(what string, damage func(*crashFS)) {
		t.Helper()
		image := fs.clone()
		damage(image)
		if _, err := openQuietly(t, image); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: %v", what, err)
		}
	}
	last := uint64(len(fs.names))
	for sequence := range last {
		name := filePath(sequence + 1)
		f("missing "+name, func(fs *crashFS) { delete(fs.names, name) })
		f("truncated "+name, func(fs *crashFS) { fs.names[name].data = fs.names[name].data[:1024] })
		f("empty "+name, func(fs *crashFS) { fs.names[name].data = nil })
		f("zero "+name, func(fs *crashFS) { clear(fs.names[name].data) })
		f("grown "+name, func(fs *crashFS) { fs.names[name].data = append(fs.names[name].data, make([]byte, 512)...) })
	}
	f("two files exchanged", func(fs *crashFS) {
		fs.names[filePath(2)], fs.names[filePath(3)] = fs.names[filePath(3)], fs.names[filePath(2)]
	})
	f("an older copy of a file", func(fs *crashFS) { clear(fs.file(2).data[4*512:]) })
}

func TestCorruptionNamesThePlaceAndWhatToDo(t *testing.T) {
	fs, _ := writtenLog(t, 3)
	fs.file(1).data[2*512+70] ^= 1
	_, err := openQuietly(t, fs)
	for _, part := range []string{fileName(1), "byte 1024", "frame 2", "Keep a copy"} {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("%q is missing in: %v", part, err)
		}
	}
}

func TestNewerFormatVersionIsRefused(t *testing.T) {
	fs, _ := writtenLog(t, 3)
	header := fs.file(1).data[:fileHeaderBytes]
	binary.LittleEndian.PutUint32(header[8:], formatVersion+1)
	binary.LittleEndian.PutUint32(header[60:], crc32.Checksum(header[:60], castagnoli))
	_, err := openQuietly(t, fs)
	if !errors.Is(err, ErrVersion) || errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), "version 2") {
		t.Errorf("got %v", err)
	}
}

func TestUnfinishedFilesAreRemoved(t *testing.T) {
	fs, want := writtenLog(t, 5)
	fs.names[filePath(9)+tempSuffix] = newInode(bytes.Repeat([]byte{7}, 100))
	got, err := openQuietly(t, fs)
	if err != nil || len(got) != len(want) || fs.names[filePath(9)+tempSuffix] != nil {
		t.Errorf("%d records, %v", len(got), err)
	}
}

func TestReplayErrorEndsOpen(t *testing.T) {
	fs, _ := writtenLog(t, 5)
	stop := errors.New("stop")
	if _, err := Open(smallConfig(fs), func(uint64, Record) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("got %v", err)
	}
}

// Found by FuzzWALRecover: nothing but the claim of a torn frame was left.
func TestClaimOfATornFrameIsEnoughForCorruption(t *testing.T) {
	fs, _ := writtenLog(t, 20)
	clear(fs.file(1).data[512:])
	clear(fs.file(3).data[512:])
	second := fs.file(2).data
	h, ok := parseFrameHeader(second[512:])
	if !ok || h.syncedUpTo == 0 {
		t.Fatal("the test does not test")
	}
	second[512+frameHeaderBytes]++
	clear(second[512+frameBytes(int64(h.payloadBytes), 512):])
	if _, err := openQuietly(t, fs); !errors.Is(err, ErrCorrupt) {
		t.Errorf("got %v", err)
	}
}

func TestMisplacedFramesAreCorruption(t *testing.T) {
	fs := newCrashFS()
	l, _ := mustOpen(t, smallConfig(fs))
	for i := range 4 {
		must(t, l.Append([]Record{testRecord(i, 100)}))
		must(t, l.Sync())
	}
	must(t, l.Close())
	data := fs.file(1).data
	second, third := bytes.Clone(data[2*512:3*512]), bytes.Clone(data[3*512:4*512])
	copy(data[2*512:], third)
	copy(data[3*512:], second)
	if _, err := openQuietly(t, fs); !errors.Is(err, ErrCorrupt) {
		t.Errorf("got %v", err)
	}
}

func TestKilledProcessLeavesACoveredLog(t *testing.T) {
	fs := newCrashFS()
	l, _ := mustOpen(t, smallConfig(fs))
	must(t, l.Append([]Record{testRecord(1, 100)}))
	must(t, l.Sync())
	image := fs.clone() // no trailer
	must(t, l.Close())
	for range 10 { // crash again and again: no file is added
		l, got := mustOpen(t, smallConfig(image))
		if len(got) != 1 || l.LSN() != 2 || l.Stats().Files > 2 {
			t.Fatalf("%d records, LSN %d, %+v", len(got), l.LSN(), l.Stats())
		}
		must(t, l.Idle())
		if l.LSN() != 2 {
			t.Fatal("Idle covered what the recovery had covered")
		}
		next := image.clone()
		must(t, l.Close())
		image = next
	}
	data, off, _ := lastFrame(t, image)
	data[off+frameHeaderBytes] ^= 1
	if _, err := openQuietly(t, image); !errors.Is(err, ErrCorrupt) {
		t.Errorf("got %v", err)
	}
}

func TestClaimThatItsOwnFileWasReleasedIsCorruption(t *testing.T) {
	fs, _ := writtenLog(t, 3)
	forge(fs, func(_ fileHeader, _ []byte, h *frameHeader, headerOK bool) bool {
		h.oldestFile = 2
		return headerOK
	})
	if _, err := openQuietly(t, fs); !errors.Is(err, ErrCorrupt) || fs.file(1) == nil {
		t.Errorf("got %v", err)
	}
}
