package engine

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
)

// madeBackup is a backup of a store with segments and rows.
func madeBackup(t testing.TB, groups int) (fs *vfs.MemFS, dir string, b Backup) {
	t.Helper()
	fs = vfs.NewCrashableMem()
	s := mustOpen(t, testConfig(t, fs, groups), newAppender(groups))
	for i := range 40 {
		propose(t, s, logOf(i%10), 1, fmt.Sprint("entry ", i))
	}
	dir, b = backUp(t, s)
	mustClose(t, s)
	return fs, dir, b
}

func readWhole(t testing.TB, fs vfs.FS, name string) []byte {
	t.Helper()
	raw, err := readAll(fs, name, 1<<30)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// replaceFile puts a file of its own in place of one that may be a link. The
// file system in memory mangles what it was given to write, under -race.
func replaceFile(t testing.TB, fs vfs.FS, name string, data []byte) {
	t.Helper()
	_ = fs.Remove(name)
	if err := newFileWork(t.Context(), fs, nil).writeSmall(name, slices.Clone(data)); err != nil {
		t.Fatal(err)
	}
}

// wantRefused wants a backup to have a problem that names what is damaged, and
// not to be restored.
func wantRefused(t testing.TB, fs vfs.FS, dir, about string) {
	t.Helper()
	_, bad, _, err := VerifyBackup(t.Context(), fs, dir, nil)
	if err != nil || len(bad) == 0 || !strings.Contains(strings.Join(bad, "\n"), about) {
		t.Errorf("%s: verify says %q, %v", about, bad, err)
	}
	if _, err := Restore(t.Context(), RestoreConfig{FS: fs, From: dir, Dir: "no"}); !errors.Is(err, ErrBackup) {
		t.Errorf("%s: restore says %v", about, err)
	}
	for _, name := range []string{"no", "no" + restoringSuffix} {
		if _, err := fs.Stat(name); err == nil {
			t.Errorf("%s: the restore left %s", about, name)
		}
	}
}

func TestVerifyFindsDamage(t *testing.T) {
	fs, dir, b := madeBackup(t, 2)
	wantWhole(t, fs, dir)
	kinds := map[string]bool{}
	for _, f := range b.Files {
		path := localPath(fs, dir, f.Name)
		whole := readWhole(t, fs, path)
		kinds[f.Name[:max(0, strings.IndexByte(f.Name, '/'))]] = true
		for _, at := range []int{0, len(whole) / 2, len(whole) - 1} {
			if at >= 0 && at < len(whole) {
				damaged := slices.Clone(whole)
				damaged[at] ^= 0x10
				replaceFile(t, fs, path, damaged)
				wantRefused(t, fs, dir, f.Name)
			}
		}
		replaceFile(t, fs, path, append(slices.Clone(whole), 0))
		wantRefused(t, fs, dir, f.Name)
		if len(whole) > 0 {
			replaceFile(t, fs, path, whole[:len(whole)-1])
			wantRefused(t, fs, dir, f.Name)
		}
		if err := fs.Remove(path); err != nil {
			t.Fatal(err)
		}
		wantRefused(t, fs, dir, f.Name)
		replaceFile(t, fs, path, whole)
	}
	if !kinds[""] || !kinds[backupRows] || !kinds[backupSegments] {
		t.Errorf("the backup lacks a kind of file: %v", b.Files)
	}
	for _, extra := range []string{"x", "segments/00000000000000ff.seg", "rows/x", "segments/x"} {
		replaceFile(t, fs, localPath(fs, dir, extra), []byte("x"))
		wantRefused(t, fs, dir, extra)
		if err := fs.Remove(localPath(fs, dir, extra)); err != nil {
			t.Fatal(err)
		}
	}
	wantWhole(t, fs, dir)
}

func TestEveryByteOfTheManifestCounts(t *testing.T) {
	fs, dir, want := madeBackup(t, 1)
	path := fs.PathJoin(dir, backupManifestName)
	whole := readWhole(t, fs, path)
	harmless := 0
	for at := range whole {
		for _, bit := range []byte{1, 0x20, 0x80} {
			damaged := slices.Clone(whole)
			damaged[at] ^= bit
			got, err := parseBackup(damaged)
			if err == nil && !reflect.DeepEqual(got, want) {
				t.Fatalf("byte %d is served as something else", at)
			}
			if err == nil {
				harmless++
			}
		}
	}
	if harmless > 40 { // the case of the envelope's keys, and white space around it
		t.Errorf("%d flips pass", harmless)
	}
	for cut := range whole[:len(whole)-1] {
		if _, err := parseBackup(whole[:cut]); err == nil {
			t.Fatalf("%d of %d bytes are taken for a manifest", cut, len(whole))
		}
	}
}

// A manifest that is whole and lies is found by what the rows say.
func TestVerifyHoldsTheManifestAgainstTheRows(t *testing.T) {
	fs, dir, b := madeBackup(t, 2)
	f := func(about string, change func(*Backup)) {
		t.Helper()
		lie := b
		lie.Files, lie.Groups = slices.Clone(b.Files), slices.Clone(b.Groups)
		change(&lie)
		replaceFile(t, fs, fs.PathJoin(dir, backupManifestName), lie.appendTo(nil))
		wantRefused(t, fs, dir, about)
	}
	f("group 1 is at index", func(b *Backup) { b.Groups[1].Applied++ })
	f("group 0 is at index", func(b *Backup) { b.Groups[0].Term++ })
	f("group 1 has", func(b *Backup) { b.Groups[1].Segments++ })
	f("can't be", func(b *Backup) { b.Files[0].Name = "segments/../../etc/passwd" })
	f("can't be", func(b *Backup) { b.Files[0].Name = "/etc/passwd" })
	f("can't be", func(b *Backup) { b.Files[0].Name = b.Files[1].Name })
	f("version", func(b *Backup) { b.Version++ })
	replaceFile(t, fs, fs.PathJoin(dir, backupManifestName), b.appendTo(nil))
	wantWhole(t, fs, dir)
	// A segment left out of both the manifest and the directory.
	i := slices.IndexFunc(b.Files, func(f BackupFile) bool { return strings.HasPrefix(f.Name, backupSegments) })
	if err := fs.Remove(localPath(fs, dir, b.Files[i].Name)); err != nil {
		t.Fatal(err)
	}
	f(b.Files[i].Name, func(b *Backup) { b.Files = slices.Delete(b.Files, i, i+1) })
}

func TestRestoreRefusesAPlaceThatIsTaken(t *testing.T) {
	fs, dir, _ := madeBackup(t, 1)
	before := readWhole(t, fs, "store/SUPERBLOCK")
	if _, err := Restore(t.Context(), RestoreConfig{FS: fs, From: dir, Dir: "store"}); !errors.Is(err, ErrNotEmpty) {
		t.Errorf("got %v", err)
	}
	if string(readWhole(t, fs, "store/SUPERBLOCK")) != string(before) {
		t.Error("the store was changed")
	}
	if err := fs.MkdirAll("empty", 0o700); err != nil {
		t.Fatal(err)
	}
	mustClose(t, restored(t, fs, dir, "empty", 1))
	wantWhole(t, fs, dir) // the restored store wrote, and not into the backup
}

func TestFullDiskEndsARestoreAndLeavesNothing(t *testing.T) {
	fs, dir, _ := madeBackup(t, 2)
	full := &failing{err: syscall.ENOSPC, below: "again"}
	failures := 0
	for k := int64(1); ; k++ {
		full.arm(k)
		_, err := Restore(t.Context(), RestoreConfig{FS: errorfs.Wrap(fs, full), From: dir, Dir: "again", Copy: k%3 == 1})
		if !full.disarm() {
			if err != nil {
				t.Fatal(err)
			}
			break
		}
		failures++
		if err == nil || !strings.Contains(err.Error(), syscall.ENOSPC.Error()) { // whoever meets it: the copy or the check of it
			t.Fatalf("operation %d: %v", k, err)
		}
		for _, name := range []string{"again", "again" + restoringSuffix} {
			if _, err := fs.Stat(name); err == nil {
				t.Errorf("operation %d left %s", k, name)
			}
		}
	}
	if failures < 10 {
		t.Errorf("only %d failures", failures)
	}
	cfg := testConfig(t, fs, 2)
	cfg.Dir = "again"
	mustClose(t, mustOpen(t, cfg, newAppender(2)))
}

// An empty store in place of one that was being restored would look like a loss.
func TestABrokenOffRestoreIsNotServedAsAnEmptyStore(t *testing.T) {
	fs, dir, _ := madeBackup(t, 1)
	if err := fs.MkdirAll("again"+restoringSuffix+"/rows", 0o700); err != nil {
		t.Fatal(err)
	}
	cfg := testConfig(t, fs, 1)
	cfg.Dir = "again"
	if _, err := Open(cfg, newAppender(1)); !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), "broken off") {
		t.Fatalf("got %v", err)
	}
	mustClose(t, restored(t, fs, dir, "again", 1))
}

// backupCrash takes a copy of what survives a power loss before the k-th write.
type backupCrash struct {
	mem     *vfs.MemFS
	rng     *rand.Rand
	percent int // of what is not synced survives
	at      int64
	mu      sync.Mutex // the WAL's own goroutine writes, too
	n       int64
	copied  *vfs.MemFS
}

func (c *backupCrash) MaybeError(op errorfs.Op) error {
	if op.Kind.ReadOrWrite() == errorfs.OpIsWrite {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.n++; c.n == c.at {
			c.copied = c.mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: c.percent, RNG: c.rng})
		}
	}
	return nil
}

func (c *backupCrash) String() string { return "crash" }

// crashes runs work on copies of mem and calls check with what crashes leave: at
// about so many points, at each of the last ones, where it counts most, and after
// the end, which is the last point of a run whatever number of writes it makes: the
// WAL writes its files ahead in a goroutine of its own, so that runs differ. It
// returns the number of them.
func crashes(mem *vfs.MemFS, points int64, work func(fs vfs.FS), check func(k int64, fs *vfs.MemFS)) (tried int) {
	const last = 25
	rng := rand.New(rand.NewPCG(1, 2))
	all := func() *vfs.MemFS {
		return mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 100, RNG: rng})
	}
	count := &backupCrash{}
	work(errorfs.Wrap(all(), count))
	step := max(1, count.n/points)
	for k := 1 + rng.Int64N(step); k <= count.n+1; k++ {
		c := &backupCrash{mem: all(), rng: rng, at: k, percent: rng.IntN(101)}
		switch {
		case k > count.n:
			c.at, c.percent = math.MaxInt64, 0
		case k > count.n-last:
			c.percent = 0
		case k%step != 0:
			continue
		}
		work(errorfs.Wrap(c.mem, c))
		if c.copied == nil {
			c.copied = c.mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: c.percent, RNG: rng})
		}
		tried++
		check(k, c.copied)
	}
	return tried
}

func TestCrashWhileBackingUpLeavesNoHalfBackup(t *testing.T) {
	mem, first, _ := madeBackup(t, 2)
	whole, none := 0, 0
	work := func(fs vfs.FS) {
		s := mustOpen(t, testConfig(t, fs, 2), newAppender(2))
		propose(t, s, logOf(3), 1, "later")
		backUp(t, s)
		mustClose(t, s)
	}
	n := crashes(mem, 60, work, func(k int64, fs *vfs.MemFS) {
		list, err := ListBackups(fs, backups)
		if err != nil {
			t.Fatalf("crash %d: %v", k, err)
		}
		names, err := fs.List(backups)
		for _, name := range names {
			if err == nil && name != backupLock && !strings.HasSuffix(name, partialSuffix) {
				wantWhole(t, fs, fs.PathJoin(backups, name))
			}
		}
		list = slices.DeleteFunc(list, func(b ListedBackup) bool { return b.Partial })
		if len(list) == 2 {
			whole++
		} else {
			none++
		}
		if len(list) == 0 || fs.PathJoin(backups, list[0].Name) != first {
			t.Fatalf("crash %d: the first backup is gone: %+v", k, list)
		}
		s := mustOpen(t, testConfig(t, fs, 2), newAppender(2))
		if _, err := fs.Stat(fs.PathJoin("store", stagingName)); err == nil {
			t.Errorf("crash %d: Open left the staging directory", k)
		}
		dir, _ := backUp(t, s)
		mustClose(t, s)
		wantWhole(t, fs, dir)
		if list, err = ListBackups(fs, backups); err != nil || slices.ContainsFunc(list, func(b ListedBackup) bool { return b.Partial }) {
			t.Errorf("crash %d: what it left was not cleared: %+v, %v", k, list, err)
		}
	})
	t.Logf("%d crashes: %d left two backups, %d one", n, whole, none)
	if whole == 0 || none == 0 {
		t.Errorf("crashes miss a side: %d whole, %d none", whole, none)
	}
}

func TestCrashWhileRestoringLeavesNoHalfStore(t *testing.T) {
	mem, dir, _ := madeBackup(t, 2)
	whole, none := 0, 0
	work := func(fs vfs.FS) {
		if _, err := Restore(t.Context(), RestoreConfig{FS: fs, From: dir, Dir: "again"}); err != nil {
			t.Fatal(err)
		}
	}
	n := crashes(mem, 40, work, func(k int64, fs *vfs.MemFS) {
		cfg := testConfig(t, fs, 2)
		cfg.Dir = "again"
		if names, err := fs.List("again"); err == nil && len(names) > 0 {
			whole++
		} else {
			none++
			work(fs)
		}
		s := mustOpen(t, cfg, newAppender(2))
		if s.Restored() == 0 {
			t.Errorf("crash %d: no incarnation", k)
		}
		for i := range 10 {
			if got := bodies(s, logOf(i)); len(got) != 4 || got[3] != fmt.Sprint("entry ", 30+i) {
				t.Errorf("crash %d: log %d holds %q", k, i, got)
			}
		}
		mustClose(t, s)
		wantWhole(t, fs, dir)
	})
	t.Logf("%d crashes: %d left a store, %d none", n, whole, none)
	if whole == 0 || none == 0 {
		t.Errorf("crashes miss a side: %d whole, %d none", whole, none)
	}
}

func FuzzBackupManifest(f *testing.F) {
	b := Backup{
		Version: 1, Program: "x", Node: 1, Groups: []BackupGroup{{Applied: 1, Term: 1}},
		Files: []BackupFile{{Name: superblockName, Size: 48, SHA256: strings.Repeat("0", 64)}},
	}
	f.Add(b.appendTo(nil))
	f.Add([]byte(`{"sha256":"","manifest":{}}`))
	f.Fuzz(func(t *testing.T, src []byte) {
		got, err := parseBackup(src)
		if err != nil {
			return
		}
		again, err := parseBackup(got.appendTo(nil))
		if err != nil || !reflect.DeepEqual(got, again) {
			t.Fatalf("%+v became %+v, %v", got, again, err)
		}
		for _, file := range got.Files {
			if strings.Contains(file.Name, "..") && strings.Contains(file.Name, "/../") {
				t.Fatalf("name %q", file.Name)
			}
		}
	})
}
