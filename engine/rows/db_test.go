package rows

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/atomicfs"
)

func TestReopenKeepsEverything(t *testing.T) {
	cfg := smallConfig(vfs.NewMem())
	for round := range uint64(5) {
		db := mustOpen(t, cfg)
		if got, err := readRound(db); got != round || err != nil {
			t.Fatalf("got round %d, %v, want %d", got, err, round)
		}
		must(t, commitRound(db, round+1, 100))
		must(t, db.Close())
		must(t, db.Close())
	}
}

func TestBatchIsNothingUntilCommit(t *testing.T) {
	db := openTemp(t)
	b := db.NewBatch()
	b.Put(1, []byte("key"), []byte("value"))
	b.Close()
	b.Close()
	if err := b.Commit(); !errors.Is(err, ErrClosed) {
		t.Errorf("Commit after Close: %v", err)
	}
	if _, ok, err := db.Get(1, []byte("key"), nil); ok || err != nil {
		t.Errorf("%v, %v", ok, err)
	}
}

func TestGetAppends(t *testing.T) {
	db := openTemp(t)
	put(t, db, 1, "key", "value")
	for key, want := range map[string]string{"key": "before value", "ke": "before ", "key ": "before "} {
		got, ok, err := db.Get(1, []byte(key), []byte("before "))
		if err != nil || ok != (key == "key") || string(got) != want {
			t.Errorf("%q: %q, %v, %v", key, got, ok, err)
		}
	}
}

// The batch is far larger than a memtable.
func TestLargeBatchIsCommitted(t *testing.T) {
	const rows, valueBytes = 50_000, 4000 // 200 MB
	if testing.Short() {
		t.Skip("200 MB")
	}
	cfg := Config{Dir: t.TempDir()}
	db := mustOpen(t, cfg)
	o := NewOverlay(db, 1)
	value := bytes.Repeat([]byte("0123456789"), valueBytes/10)
	for i := range rows {
		o.Put(fmt.Appendf(nil, "row %d", i), value)
	}
	o.Freeze()
	b := db.NewBatch()
	must(t, o.WriteFrozen(b))
	if b.Len() < rows*valueBytes {
		t.Errorf("batch has %d bytes", b.Len())
	}
	must(t, b.Commit())
	b.Close()
	o.DropFrozen()
	must(t, db.Close())
	db = mustOpen(t, cfg)
	n := 0
	must(t, NewOverlay(db, 1).Scan(nil, func(_, v []byte) bool {
		n++
		return bytes.Equal(v, value)
	}))
	if n != rows {
		t.Errorf("%d rows are right", n)
	}
	must(t, db.Close())
}

func TestTooLargeABatchIsRefused(t *testing.T) {
	db := openTemp(t)
	b := db.NewBatch()
	defer b.Close()
	b.Put(1, []byte("key"), []byte("value"))
	if b.fits(batchBytesMax) {
		t.Error("it fits")
	}
	b.Put(1, []byte("another"), []byte("value"))
	if err := b.Commit(); !errors.Is(err, ErrTooLarge) {
		t.Errorf("got %v", err)
	}
	if _, ok, _ := db.Get(1, []byte("key"), nil); ok {
		t.Error("part of the batch is there")
	}
}

func TestCopyIsAWholeDatabase(t *testing.T) {
	cfg := smallConfig(vfs.NewMem())
	db := mustOpen(t, cfg)
	for round := range uint64(20) {
		must(t, commitRound(db, round+1, 2000))
	}
	must(t, db.CheckpointTo("data/copy"))
	must(t, commitRound(db, 21, 2000))
	if err := db.CheckpointTo("data/copy"); !errors.Is(err, os.ErrExist) {
		t.Errorf("copy to a directory that exists: %v", err)
	}
	must(t, db.Close())
	cfg.Dir = "data/copy"
	db = mustOpen(t, cfg)
	if round, err := readRound(db); round != 20 || err != nil {
		t.Errorf("the copy has round %d, %v", round, err)
	}
	must(t, commitRound(db, 21, 100))
	must(t, db.Close())
}

func TestNewerStoreIsRefused(t *testing.T) {
	cfg := smallConfig(vfs.NewMem())
	db := mustOpen(t, cfg)
	key := []byte{kindFormat}
	must(t, db.pebble.Set(key, seal(key, []byte{formatVersion + 1}), pebble.Sync))
	must(t, db.Close())
	if _, err := Open(cfg); !errors.Is(err, ErrVersion) {
		t.Errorf("newer layout: %v", err)
	}

	cfg.Dir = "data/other"
	must(t, mustOpen(t, cfg).Close())
	marker, _, err := atomicfs.LocateMarker(cfg.FS, cfg.Dir, "format-version")
	must(t, err)
	must(t, marker.Move(fmt.Sprintf("%03d", pebbleFormat+1)))
	must(t, marker.Close())
	if _, err := Open(cfg); !errors.Is(err, ErrVersion) {
		t.Errorf("newer Pebble: %v", err)
	}
}

// A new Pebble with a new format must be a decision, not an accident.
func TestPebbleFormatIsTheNewestKnown(t *testing.T) {
	if pebbleFormat != pebble.FormatNewest {
		t.Errorf("pebbleFormat is %d, Pebble's newest is %d", pebbleFormat, pebble.FormatNewest)
	}
	db := openTemp(t)
	if got := db.pebble.FormatMajorVersion(); got != pebbleFormat {
		t.Errorf("a new store has format %d", got)
	}
}

func TestSecondOpenIsRefused(t *testing.T) {
	cfg := Config{Dir: t.TempDir()}
	db := mustOpen(t, cfg)
	if second, err := Open(cfg); err == nil {
		t.Error("two have it open")
		_ = second.Close()
	}
	must(t, db.Close())
}

// Bytes all over all files are flipped in turn: an error or the right rows,
// never others.
func TestFlippedByteIsNeverMisread(t *testing.T) {
	fs := vfs.NewMem()
	cfg := smallConfig(fs)
	db := mustOpen(t, cfg)
	for round := range uint64(4) {
		must(t, commitRound(db, round+1, 40))
		put(t, db, 9, fmt.Sprint(round), "of this round only")
		must(t, db.pebble.Flush())
	}
	must(t, commitRound(db, 5, 40)) // in the log only
	must(t, db.Close())
	names, err := fs.List(cfg.Dir)
	must(t, err)
	refused, harmless := 0, 0
	for _, name := range names {
		data := readFile(t, fs, fs.PathJoin(cfg.Dir, name))
		for at := 0; at < len(data); at += 5 + 36*min(len(data)/4000, 1) {
			clone := vfs.NewMem()
			ok, err := vfs.Clone(fs, clone, "data", "data")
			if !ok || err != nil {
				t.Fatal(ok, err)
			}
			flipped := bytes.Clone(data)
			flipped[at] ^= 0x10
			writeFile(t, clone, fs.PathJoin(cfg.Dir, name), flipped)
			if flippedIsHarmless(t, name, at, clone) {
				harmless++
			} else {
				refused++
			}
		}
	}
	t.Logf("%d flips refused, %d harmless", refused, harmless)
	if refused < 100 {
		t.Errorf("%d flips refused, %d harmless", refused, harmless)
	}
}

func flippedIsHarmless(t *testing.T, name string, at int, fs vfs.FS) bool {
	db, err := Open(smallConfig(fs))
	if err != nil {
		return false
	}
	round, err := readRound(db)
	rows := 0
	if err == nil {
		err = NewOverlay(db, 9).Scan(nil, func(_, value []byte) bool {
			rows++
			return string(value) == "of this round only"
		})
	}
	_ = db.Close()
	if err == nil && (round != 5 || rows != 4) {
		t.Errorf("byte %d of %s flipped: round %d, %d rows", at, name, round, rows)
	}
	return err == nil
}

func readFile(t *testing.T, fs vfs.FS, name string) []byte {
	f, err := fs.Open(name)
	must(t, err)
	stat, err := f.Stat()
	must(t, err)
	data := make([]byte, stat.Size())
	if len(data) > 0 {
		_, err = f.ReadAt(data, 0)
		must(t, err)
	}
	must(t, f.Close())
	return data
}

func writeFile(t *testing.T, fs vfs.FS, name string, data []byte) {
	f, err := fs.Create(name, vfs.WriteCategoryUnspecified)
	must(t, err)
	_, err = f.Write(bytes.Clone(data)) // under -race the file system mangles what it is given
	must(t, err)
	must(t, f.Sync())
	must(t, f.Close())
}
