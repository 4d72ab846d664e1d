package wal

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// oneSizeConfig makes files of eight blocks with ids that no other run uses.
func oneSizeConfig(fs vfs.FS) Config {
	cfg := smallConfig(fs)
	oneSize(&cfg, nil)
	cfg.FileID = randomID
	return cfg
}

// fill appends synced records until the log is in the given file.
func fill(t *testing.T, l *Log, file uint64, want []Record) []Record {
	t.Helper()
	for l.File() < file {
		want = append(want, testRecord(len(want), 100))
		must(t, l.Append(want[len(want)-1:]))
		must(t, l.Sync())
	}
	return want
}

// settle waits until the background has nothing to do.
func settle(t *testing.T, l *Log) {
	t.Helper()
	l.spare.group.Wait()
	must(t, l.spare.poll())
	l.countFiles()
}

// listSuffix returns the names in the log's directory that end with suffix.
func listSuffix(fs *crashFS, suffix string) []string {
	names, _ := fs.List(testDir)
	names = slices.DeleteFunc(names, func(name string) bool { return !strings.HasSuffix(name, suffix) })
	slices.Sort(names)
	return names
}

func TestReplayNamesTheFileThatAppendNamed(t *testing.T) {
	fs := newCrashFS()
	l, _ := mustOpen(t, smallConfig(fs))
	var want []uint64
	for i := range 60 {
		must(t, l.Append([]Record{testRecord(i, i*53%900)}))
		want = append(want, l.File())
	}
	must(t, l.Close())
	l, _, files, err := recoverFiles(smallConfig(fs))
	must(t, err)
	must(t, l.Close())
	if !slices.Equal(files, want) || want[len(want)-1] < 4 {
		t.Errorf("got %d, want %d", files, want)
	}
}

func TestReleasedFilesAreRecycledInSteadyState(t *testing.T) {
	fs := newCrashFS()
	zeros := 0 // sectors written that hold nothing
	fs.written = func(_ string, p []byte) {
		for sector := range slices.Chunk(p, sectorBytes) {
			if bytes.Count(sector, []byte{0}) == len(sector) {
				zeros++
			}
		}
	}
	l, _ := mustOpen(t, oneSizeConfig(fs))
	var want []Record
	warm, recycled := 0, uint64(0)
	for file := uint64(2); file <= 60; file++ {
		want = fill(t, l, file, want)
		if file == 20 {
			settle(t, l)
			warm, recycled = zeros, l.Stats().Recycled
		}
		if file%4 == 0 { // four at once
			must(t, l.Release(file-1))
			settle(t, l)
		}
	}
	stats := l.Stats()
	if zeros != warm || stats.Recycled != recycled+40 || warm == 0 || stats.Files > 5 {
		t.Errorf("%d sectors of zeros written in the steady state, %d before; %d files recycled; %+v", zeros-warm, warm, stats.Recycled-recycled, stats)
	}
	must(t, l.Close())
	got, err := openQuietly(t, fs)
	if err != nil || len(got) == 0 || samePrefix(got, want[len(want)-len(got):]) != nil {
		t.Errorf("%d of %d records, %v", len(got), len(want), err)
	}
}

func TestReleaseDropsRecordsOfReleasedFilesOnly(t *testing.T) {
	fs := newCrashFS()
	l, _ := mustOpen(t, oneSizeConfig(fs))
	want := fill(t, l, 5, nil)
	must(t, l.Release(0)) // nothing to do
	lsn := l.LSN()
	must(t, l.Release(3))
	if l.LSN() != lsn+1 || l.SyncedLSN() != lsn+1 {
		t.Errorf("no synced claim: LSN %d became %d, synced %d", lsn, l.LSN(), l.SyncedLSN())
	}
	must(t, l.Release(3))
	must(t, l.Release(2))
	if l.LSN() != lsn+1 {
		t.Error("a second claim for what was released")
	}
	settle(t, l)
	if s := l.Stats(); s.OldestFile != 4 || s.LiveBytes != 2*8*512 || s.Files != 3 {
		t.Errorf("%+v", s)
	}
	must(t, l.Close())
	l, got, files, err := recoverFiles(oneSizeConfig(fs))
	must(t, err)
	if len(got) == 0 || files[0] != 4 || samePrefix(got, want[len(want)-len(got):]) != nil || l.Stats().OldestFile != 4 {
		t.Errorf("%d records from file %d on, %+v", len(got), files[0], l.Stats())
	}
	must(t, l.Close())
}

func TestCloseCoversARelease(t *testing.T) {
	fs := newCrashFS()
	l, _ := mustOpen(t, oneSizeConfig(fs))
	fill(t, l, 3, nil)
	must(t, l.Release(2))
	must(t, l.Close())
	for range 3 { // the log goes on in place, whose last frame is no claim to be saved
		l, _ = mustOpen(t, oneSizeConfig(fs))
		if l.File() != 3 || l.Stats().OldestFile != 3 {
			t.Errorf("in file %d, %+v", l.File(), l.Stats())
		}
		must(t, l.Close())
	}
}

func TestReleaseOfTheCurrentFileIsABug(t *testing.T) {
	l, _ := mustOpen(t, oneSizeConfig(newCrashFS()))
	fill(t, l, 2, nil)
	defer func() {
		if r := recover(); r == nil || !strings.HasPrefix(fmt.Sprint(r), "BUG: ") {
			t.Errorf("got %v", r)
		}
		must(t, l.Close())
	}()
	_ = l.Release(2)
}

func TestPoolIsBounded(t *testing.T) {
	f := func(poolBytesMax int64, files int) {
		t.Helper()
		fs := newCrashFS()
		cfg := oneSizeConfig(fs)
		cfg.PoolBytesMax = poolBytesMax
		l, _ := mustOpen(t, cfg)
		fill(t, l, 9, nil)
		must(t, l.spare.finish())
		must(t, l.Release(8))
		settle(t, l)
		pool := listSuffix(fs, poolSuffix)
		// One of the files existed when the log was opened and is not used again.
		if len(pool) != files || l.Stats().PoolBytes != int64(files)*8*512 {
			t.Errorf("limit %d: %v, %+v", poolBytesMax, pool, l.Stats())
		}
		must(t, l.Close())
		l, _ = mustOpen(t, oneSizeConfig(fs))
		if pool := listSuffix(fs, poolSuffix); len(pool) > 0 {
			t.Errorf("Open left %v", pool)
		}
		must(t, l.Close())
	}
	f(-1, 0)
	f(3*8*512-1, 2)
	f(3*8*512, 3)
	f(0, 4)
	f(100*8*512, 7)
}

func TestSmallReleasedFilesAreUnlinked(t *testing.T) {
	fs := newCrashFS()
	cfg := smallConfig(fs) // 8, 16, 32, 32 … blocks
	cfg.FileID = randomID
	l, _ := mustOpen(t, cfg)
	fill(t, l, 6, nil)
	must(t, l.spare.finish())
	must(t, l.Release(5))
	settle(t, l)
	if pool := listSuffix(fs, poolSuffix); !slices.Equal(pool, []string{fileName(3) + poolSuffix, fileName(4) + poolSuffix, fileName(5) + poolSuffix}) {
		t.Errorf("the pool is %v", pool)
	}
	must(t, l.Close())
}

func TestRollGoesOnInTheNextFile(t *testing.T) {
	fs := newCrashFS()
	l, _ := mustOpen(t, oneSizeConfig(fs))
	must(t, l.Roll()) // it holds nothing
	if l.File() != 1 {
		t.Fatalf("in file %d", l.File())
	}
	must(t, l.Append(records(0, 1)))
	must(t, l.Roll())
	if l.File() != 2 || l.SyncedLSN() != l.LSN() {
		t.Fatalf("in file %d, LSN %d, synced %d", l.File(), l.LSN(), l.SyncedLSN())
	}
	must(t, l.Release(1)) // its claim is the first frame of file 2
	settle(t, l)
	must(t, l.Close())
	for range 3 {
		var got []Record
		l, got = mustOpen(t, oneSizeConfig(fs))
		if len(got) != 0 || l.Stats().OldestFile != 2 {
			t.Errorf("%d records, %+v", len(got), l.Stats())
		}
		must(t, l.Close())
	}
}

// Whatever names a crash leaves of a durable release, Open goes on from there.
func TestOpenFinishesAnInterruptedRelease(t *testing.T) {
	fs := newCrashFS()
	l, _ := mustOpen(t, oneSizeConfig(fs))
	fill(t, l, 4, nil)
	must(t, l.spare.finish())
	before := fs.clone()
	must(t, l.Release(3))
	settle(t, l)
	image := fs.clone()
	must(t, l.Close())
	for _, sequence := range []uint64{2, 3} { // 1 lost its name, then the power failed
		image.names[filePath(sequence)] = before.names[filePath(sequence)]
	}
	l, got, files, err := recoverFiles(oneSizeConfig(image))
	must(t, err)
	if len(got) == 0 || files[0] != 2 || l.Stats().OldestFile != 4 {
		t.Errorf("files %d, %+v", files, l.Stats())
	}
	settle(t, l)
	if names := listSuffix(image, ""); slices.Contains(names, fileName(3)) || slices.Contains(names, fileName(3)+poolSuffix) {
		t.Errorf("left: %v", names)
	}
	must(t, l.Close())
}

func TestForgottenBytesVanishWithTheirFiles(t *testing.T) {
	secret := []byte("to be erased, every copy of it")
	holding := func(fs *crashFS) (names []string) {
		for name, n := range fs.names {
			if bytes.Contains(n.data, secret) {
				names = append(names, name)
			}
		}
		slices.Sort(names)
		return names
	}
	fs := newCrashFS()
	l, _ := mustOpen(t, oneSizeConfig(fs))
	n := 0
	tell := func(file uint64) {
		for ; l.File() < file; n++ {
			must(t, l.Append([]Record{{Index: uint64(n), Payload: secret}}))
			must(t, l.Sync())
		}
	}
	tell(6)
	must(t, l.spare.finish())
	must(t, l.Release(4)) // into the pool
	settle(t, l)
	tell(8) // file 8 is recycled, and so is the spare 9; more wait in the pool
	settle(t, l)
	if !slices.Contains(holding(fs), filePath(9)) || len(listSuffix(fs, poolSuffix)) == 0 {
		t.Fatalf("the test does not test: %v", holding(fs))
	}
	must(t, l.Forget())
	if l.File() != 9 || l.current.used {
		t.Fatalf("in file %d, used %v", l.File(), l.current.used)
	}
	settle(t, l)
	if got := holding(fs); !slices.Equal(got, []string{filePath(5), filePath(6), filePath(7), filePath(8)}) {
		t.Errorf("before the release: %v", got)
	}
	fill(t, l, 11, nil)
	image := fs.clone() // killed here, it must not be forgotten what was to be forgotten
	must(t, l.Release(8))
	settle(t, l)
	if got := holding(fs); len(got) > 0 {
		t.Errorf("after the release: %v", got)
	}
	must(t, l.Release(l.File()-1)) // files of after Forget may be recycled again
	settle(t, l)
	if l.Stats().PoolBytes == 0 {
		t.Error("nothing is recycled any more")
	}
	must(t, l.Close())

	l, _ = mustOpen(t, oneSizeConfig(image))
	fill(t, l, l.File()+1, nil)
	must(t, l.Release(8))
	settle(t, l)
	if got := holding(image); len(got) > 0 {
		t.Errorf("after a crash and the release: %v", got)
	}
	must(t, l.Close())
}

func TestMethodsOfAClosedLogAreRefused(t *testing.T) {
	l, _ := mustOpen(t, oneSizeConfig(newCrashFS()))
	must(t, l.Close())
	for _, err := range []error{l.Release(0), l.Roll(), l.Forget()} {
		if !errors.Is(err, ErrClosed) {
			t.Errorf("got %v", err)
		}
	}
}

// A file that can't be made for lack of room has no effect: the same records are
// taken when there is room.
func TestAppendWithoutRoomForAFileCanBeTriedAgain(t *testing.T) {
	fs := &noNewFiles{FS: newCrashFS()}
	cfg := oneSizeConfig(fs)
	cfg.PoolBytesMax = -1
	l, _ := mustOpen(t, cfg)
	var want []Record
	refused := 0
	for i := range 60 {
		fs.full.Store(i >= 10)
		r := testRecord(i, 300)
		err := l.Append([]Record{r})
		for ; errors.Is(err, ErrNoSpace); err = l.Append([]Record{r}) {
			refused++
			fs.full.Store(refused%3 != 0)
		}
		must(t, err)
		must(t, l.Sync())
		want = append(want, r)
	}
	must(t, l.Close())
	if refused < 3 {
		t.Fatalf("refused %d times: the test does not test", refused)
	}
	fs.full.Store(false)
	l, got := mustOpen(t, cfg)
	if err := samePrefix(got, want); err != nil || len(got) != len(want) {
		t.Fatalf("%d of %d records, %v", len(got), len(want), err)
	}
	must(t, l.Close())
}

// noNewFiles has no room for a new file while it is full.
type noNewFiles struct {
	vfs.FS
	full atomic.Bool
}

func (d *noNewFiles) OpenReadWrite(name string, c vfs.DiskWriteCategory, opts ...vfs.OpenOption) (vfs.File, error) {
	if d.full.Load() && strings.HasSuffix(name, tempSuffix) {
		return nil, syscall.ENOSPC
	}
	return d.FS.OpenReadWrite(name, c, opts...)
}
