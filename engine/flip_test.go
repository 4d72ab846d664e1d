package engine

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"path"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// flipsMax is how many flips are tried in files of one kind; make soak tries all.
const flipsMax = 400

// flipMemoryMax bounds what a flipped store may allocate beyond what a whole one
// does.
const flipMemoryMax = 256 << 20

// flipMemory is held by whoever measures what an Open allocates: the runtime counts
// for the whole process.
var flipMemory sync.RWMutex

// flip is one changed byte.
type flip struct {
	name string
	at   int
	xor  byte
}

// fileKind groups files that have the same format.
func fileKind(name string) string {
	base := path.Base(name)
	switch dir := path.Base(path.Dir(name)); {
	case dir == "wal", dir == "segments":
		return dir
	case dir != "rows":
		return base
	case strings.HasPrefix(base, "MANIFEST"), strings.HasPrefix(base, "OPTIONS"), strings.HasPrefix(base, "marker"):
		return "rows/" + strings.SplitN(base, "-", 2)[0]
	case path.Ext(base) != "":
		return "rows/*" + path.Ext(base)
	}
	return "rows/" + base
}

// flipStore is a small closed store with segments of two tiers, rows, erasures
// and a WAL with a tail.
func flipStore(t *testing.T) *life {
	l := faultLife(7, 2, nil)
	l.erasing = false
	if err := l.run(60); err != nil {
		t.Fatal(err)
	}
	s, err := Open(l.flipConfig(l.disk), newLedger(2))
	if err != nil {
		t.Fatal(err)
	}
	l.store = s
	if err := s.Checkpoint(); err != nil {
		t.Fatal(err)
	}
	if err := l.propose(l.logs[0], l.rng, 5); err != nil { // for the WAL
		t.Fatal(err)
	}
	if st := s.Stats(); st.Segments == 0 {
		t.Fatalf("no segments: %+v", st)
	}
	mustClose(t, s)
	return l
}

func (l *life) flipConfig(fs vfs.FS) Config {
	return Config{
		FS: fs, Dir: "store", Groups: l.groups, CheckReads: true, walFileBytes: 32 << 10, NoCompression: true,
		MemtableBytes: 16 << 20, WALBytesMax: 16 << 20, CacheBytes: 1 << 20, RowCacheBytes: 1 << 20, EraseWithin: time.Hour,
		Clock: func() int64 { return l.clock.Add(1) },
		Fatal: func(error) {},
	}
}

// TestFlippedByteIsNeverServed flips bytes of every file of a closed store: Open
// refuses, or whatever is read is right, or the read fails.
func TestFlippedByteIsNeverServed(t *testing.T) {
	l := flipStore(t)
	rng := rand.New(rand.NewPCG(1, 8))
	kinds := map[string][]flip{}
	sizes := map[string]int{}
	err := eachFile(l.disk, "store", func(name string, data []byte) error {
		kind := fileKind(name)
		sizes[kind] += len(data)
		for at := range data {
			xor := byte(1) << rng.IntN(8)
			if rng.IntN(4) == 0 {
				xor = byte(1 + rng.IntN(255))
			}
			kinds[kind] = append(kinds[kind], flip{name, at, xor})
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for kind, flips := range kinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			most := int(max(flipsMax, crashPointsWanted(0)))
			if raceEnabled || testing.Short() {
				most = flipsMax / 8
			}
			local := rand.New(rand.NewPCG(2, uint64(len(flips))))
			local.Shuffle(len(flips), func(i, j int) { flips[i], flips[j] = flips[j], flips[i] })
			var counts flipCounts
			for _, f := range flips[:min(most, len(flips))] {
				if err := l.flipped(f, &counts); err != nil {
					t.Errorf("byte %d of %s, xor %#x: %v", f.at, f.name, f.xor, err)
				}
			}
			t.Logf("flip: kind=%s bytes=%d tried=%d refused=%d noticed=%d harmless=%d", kind, sizes[kind], min(most, len(flips)),
				counts.refused.Load(), counts.noticed.Load(), counts.harmless.Load())
		})
	}
}

type flipCounts struct{ refused, noticed, harmless atomic.Int64 }

// flipped tries one flip on a copy of the disk.
func (l *life) flipped(f flip, counts *flipCounts) error {
	return l.damaged(counts, func(disk *vfs.MemFS) error { return flipByte(disk, f) })
}

// damaged opens and reads a copy of the disk that was damaged.
func (l *life) damaged(counts *flipCounts, damage func(*vfs.MemFS) error) (err error) {
	disk := l.disk.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 100, RNG: rand.New(rand.NewPCG(0, 0))})
	if err := damage(disk); err != nil {
		return err
	}
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic: %v", r)
		}
	}()
	var before, after runtime.MemStats
	measure := counts.refused.Load()%64 == 0
	if measure {
		flipMemory.Lock()
		defer flipMemory.Unlock()
		runtime.ReadMemStats(&before)
	} else {
		flipMemory.RLock()
		defer flipMemory.RUnlock()
	}
	s, err := Open(l.flipConfig(disk), newLedger(l.groups))
	if measure {
		if runtime.ReadMemStats(&after); after.TotalAlloc-before.TotalAlloc > flipMemoryMax {
			return fmt.Errorf("Open allocated %d bytes", after.TotalAlloc-before.TotalAlloc)
		}
	}
	if err != nil {
		counts.refused.Add(1)
		return nil
	}
	err = l.readFlipped(s)
	// The store may find the damage in the background.
	_ = s.Close()
	switch {
	case err == nil:
		counts.harmless.Add(1)
		return nil
	case strings.Contains(err.Error(), "engine: read:"):
		counts.noticed.Add(1)
		return nil
	}
	return err
}

// readFlipped compares all of a store with the model.
func (l *life) readFlipped(s *Store) error {
	for _, log := range l.logs {
		g := s.Group(log.id.Partition())
		v := s.View(g)
		n := ledgerCommands(v, log.id)
		err := v.Err()
		v.Close()
		if err != nil {
			return err
		}
		if n != len(log.ops) {
			return lost("log %x: %d commands, want %d", log.id, n, len(log.ops))
		}
		there := ledgerLog{log.id, append([]ledgerOp(nil), log.ops...)}
		if err := checkLedgerLog(s, &there, n, l.expiredAcked[g].Load(), 5); err != nil {
			return err
		}
	}
	return nil
}

func flipByte(fs *vfs.MemFS, f flip) error {
	data, err := readFile(fs, f.name)
	if err != nil {
		return err
	}
	file, err := fs.OpenReadWrite(f.name, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	if _, err = file.WriteAt([]byte{data[f.at] ^ f.xor}, int64(f.at)); err == nil {
		err = file.Sync()
	}
	if closeErr := file.Close(); err == nil {
		err = closeErr
	}
	return err
}

// TestMissingOrShortFileIsNeverServed removes files of a closed store, or cuts them.
func TestMissingOrShortFileIsNeverServed(t *testing.T) {
	l := flipStore(t)
	var counts flipCounts
	tried := 0
	err := eachFile(l.disk, "store", func(name string, data []byte) error {
		for _, keep := range []int{-1, 0, len(data) / 2, len(data) - 1} {
			if keep >= len(data) || path.Base(name) == "LOCK" {
				continue
			}
			tried++
			err := l.damaged(&counts, func(disk *vfs.MemFS) error {
				if err := disk.Remove(name); err != nil || keep < 0 {
					return err
				}
				file, err := disk.Create(name, vfs.WriteCategoryUnspecified)
				if err != nil {
					return err
				}
				if _, err = file.Write(append([]byte(nil), data[:keep]...)); err == nil {
					err = file.Sync()
				}
				return errors.Join(err, file.Close())
			})
			if err != nil {
				t.Errorf("%s cut to %d of %d bytes: %v", name, keep, len(data), err)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("cut: tried=%d refused=%d noticed=%d harmless=%d", tried, counts.refused.Load(), counts.noticed.Load(), counts.harmless.Load())
}
