package engine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/godwit-im/godwit"
)

const backups = "backups"

func backUp(t testing.TB, s *Store) (name string, b Backup) {
	t.Helper()
	name, b, err := s.Backup(t.Context(), BackupConfig{Dir: backups, Program: "test"})
	if err != nil {
		t.Fatal(err)
	}
	return s.cfg.FS.PathJoin(backups, name), b
}

// wantWhole checks a backup and returns its manifest.
func wantWhole(t testing.TB, fs vfs.FS, dir string) Backup {
	t.Helper()
	b, bad, notes, err := VerifyBackup(t.Context(), fs, dir, nil)
	if err != nil || len(bad) > 0 || len(notes) > 0 {
		t.Fatalf("verify %s: %v, problems %q, notes %q", dir, err, bad, notes)
	}
	return b
}

// restored opens what a backup restores to.
func restored(t testing.TB, fs vfs.FS, from, dir string, groups int) *Store {
	t.Helper()
	if _, err := Restore(t.Context(), RestoreConfig{FS: fs, From: from, Dir: dir}); err != nil {
		t.Fatal(err)
	}
	cfg := testConfig(t, fs, groups)
	cfg.Dir = dir
	return mustOpen(t, cfg, newAppender(groups))
}

func TestBackupMadeWhileWritersRunHoldsWhatWasAcked(t *testing.T) {
	eachGroupCount(t, func(t *testing.T, groups int) {
		const writers, rounds = 4, 5
		fs := vfs.NewMem()
		s := mustOpen(t, testConfig(t, fs, groups), newAppender(groups))
		var acked, proposed [writers]atomic.Int64
		var stop atomic.Bool
		var wg sync.WaitGroup
		for w := range writers {
			wg.Go(func() {
				for i := 0; !stop.Load(); i++ {
					proposed[w].Add(1)
					propose(t, s, logOf(w), uint32(i%3), fmt.Sprint(i))
					acked[w].Add(1)
				}
			})
		}
		for round := range rounds {
			for w := range writers {
				for least := acked[w].Load() + 3; acked[w].Load() < least; {
				}
			}
			var before, after [writers]int64
			for w := range writers {
				before[w] = acked[w].Load()
			}
			dir, _ := backUp(t, s)
			for w := range writers {
				after[w] = proposed[w].Load()
			}
			wantWhole(t, fs, dir)
			again := restored(t, fs, dir, fmt.Sprint("restored", round), groups)
			for w := range writers {
				got := bodies(again, logOf(w))
				if n := int64(len(got)); n < before[w] || n > after[w] {
					t.Fatalf("round %d: log %d has %d entries, %d were acknowledged before and %d proposed until the end", round, w, n, before[w], after[w])
				}
				for i, body := range got {
					if body != fmt.Sprint(i) {
						t.Fatalf("log %d, sequence %d holds %q", w, i+1, body)
					}
				}
				if seq := propose(t, again, logOf(w), 1, fmt.Sprint(len(got))); seq != godwit.Seq(len(got)+1) {
					t.Fatalf("log %d goes on at %d after %d", w, seq, len(got))
				}
			}
			mustClose(t, again)
		}
		stop.Store(true)
		wg.Wait()
		mustClose(t, s)
	})
}

// What is acknowledged in one group before it is proposed to another must not be
// in a backup the other way round.
func TestBackupIsOfOneMomentForAllGroups(t *testing.T) {
	const groups, rounds = 8, 12
	logs := []LogID{}
	for g := range groups {
		logs = append(logs, godwit.NewLogID(godwit.Partition(g*godwit.Partitions/groups), 1))
	}
	fs := vfs.NewMem()
	s := mustOpen(t, testConfig(t, fs, groups), newAppender(groups))
	var stop atomic.Bool
	var turns atomic.Int64
	var wg sync.WaitGroup
	wg.Go(func() {
		for !stop.Load() {
			for _, i := range []int{3, 0, 7, 1, 6, 2, 5, 4} {
				propose(t, s, logs[i], 1, "x")
			}
			turns.Add(1)
		}
	})
	for round := range rounds {
		for least := turns.Load() + 2; turns.Load() < least; {
		}
		dir, _ := backUp(t, s)
		again := restored(t, fs, dir, fmt.Sprint("restored", round), groups)
		last := -1
		first := len(bodies(again, logs[3]))
		for _, i := range []int{3, 0, 7, 1, 6, 2, 5, 4} {
			n := len(bodies(again, logs[i]))
			if last >= 0 && n > last || n < first-1 {
				t.Errorf("round %d: group %d has %d entries after one with %d and a first one with %d", round, i, n, last, first)
			}
			last = n
		}
		mustClose(t, again)
	}
	stop.Store(true)
	wg.Wait()
	mustClose(t, s)
}

func TestRestoredStoreHasTheSameDigestAndAnotherIncarnation(t *testing.T) {
	eachGroupCount(t, func(t *testing.T, groups int) {
		fs := vfs.NewMem()
		s := mustOpen(t, testConfig(t, fs, groups), newAppender(groups))
		for range 2 { // each start is a term
			mustClose(t, s)
			s = mustOpen(t, testConfig(t, fs, groups), newAppender(groups))
		}
		if s.Restored() != 0 {
			t.Errorf("a new store is incarnation %d", s.Restored())
		}
		for i := range 60 {
			propose(t, s, logOf(i%20), 1, fmt.Sprint(i))
			if i%20 == 19 {
				if err := s.Checkpoint(); err != nil {
					t.Fatal(err)
				}
			}
		}
		dir, b := backUp(t, s)
		seen := map[uint64]bool{}
		for i := range 3 {
			again := restored(t, fs, dir, fmt.Sprint("restored", i), groups)
			for g := range groups {
				if digest(t, again, g) != digest(t, s, g) {
					t.Errorf("group %d differs after the restore", g)
				}
				if term := again.groups[g].state.term; b.Groups[g].Term < 3 || term <= b.Groups[g].Term {
					t.Errorf("group %d goes on in term %d after %d", g, term, b.Groups[g].Term)
				}
			}
			id := again.Restored()
			if id == 0 || seen[id] {
				t.Errorf("incarnation %d, seen %v", id, seen)
			}
			seen[id] = true
			propose(t, again, logOf(1), 1, "more")
			mustClose(t, again)
			cfg := testConfig(t, fs, groups)
			cfg.Dir = fmt.Sprint("restored", i)
			again = mustOpen(t, cfg, newAppender(groups))
			if again.Restored() != id || len(bodies(again, logOf(1))) != 4 {
				t.Errorf("incarnation %d became %d; log 1 holds %q", id, again.Restored(), bodies(again, logOf(1)))
			}
			mustClose(t, again)
		}
		mustClose(t, s)
	})
}

func TestBackupsShareWhatDidNotChange(t *testing.T) {
	f := func(name string, wrap func(vfs.FS) vfs.FS, sameAsStore bool) {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			cfg := testConfig(t, wrap(vfs.Default), 1)
			cfg.Dir = filepath.Join(dir, "store")
			s := mustOpen(t, cfg, newAppender(1))
			defer mustClose(t, s)
			var made []string
			for i := range 3 {
				propose(t, s, logOf(i), 1, strings.Repeat("x", 1000))
				name, _, err := s.Backup(t.Context(), BackupConfig{Dir: filepath.Join(dir, "backups")})
				if err != nil {
					t.Fatal(err)
				}
				made = append(made, filepath.Join(dir, "backups", name))
				wantWhole(t, vfs.Default, made[i])
			}
			first := wantWhole(t, vfs.Default, made[0])
			shared := 0
			for _, file := range first.Files {
				if !file.immutable() {
					continue
				}
				for _, later := range made[1:] {
					info, err := os.Stat(filepath.Join(later, file.Name))
					if errors.Is(err, os.ErrNotExist) && strings.HasPrefix(file.Name, backupRows) {
						continue // compacted since
					}
					if !os.SameFile(info, mustStat(t, filepath.Join(made[0], file.Name))) {
						t.Errorf("%s of %s is not that of the first backup", file.Name, later)
					}
					shared++
				}
				if live, err := os.Stat(filepath.Join(dir, "store", file.Name)); err == nil {
					if got := os.SameFile(live, mustStat(t, filepath.Join(made[0], file.Name))); got != sameAsStore {
						t.Errorf("%s is the store's own file: %v, want %v", file.Name, got, sameAsStore)
					}
				}
			}
			if shared < 2 {
				t.Fatalf("only %d files could be shared", shared)
			}
			if err := os.RemoveAll(made[0]); err != nil {
				t.Fatal(err)
			}
			wantWhole(t, vfs.Default, made[2]) // a backup does not need those before it
		})
	}
	f("on the store's file system", func(fs vfs.FS) vfs.FS { return fs }, true)
	f("on another", func(fs vfs.FS) vfs.FS { return noLinks{fs} }, false)
}

// Two stores that go on from one backup give the same names to other files.
func TestBackupsOfDifferentLivesShareNothingByMistake(t *testing.T) {
	fs, first, _ := madeBackup(t, 1)
	var digests []uint64
	var made []string
	for life := range 3 {
		s := restored(t, fs, first, fmt.Sprint("life", life), 1)
		for i := range 20 {
			propose(t, s, logOf(20+i), uint32(10+(i*7+life*3)%20), fmt.Sprint("life ", life, i%10))
		}
		dir, _ := backUp(t, s)
		made, digests = append(made, dir), append(digests, digest(t, s, 0))
		mustClose(t, s)
	}
	for i, dir := range made {
		wantWhole(t, fs, dir)
		s := restored(t, fs, dir, fmt.Sprint("again", i), 1)
		if digest(t, s, 0) != digests[i] {
			t.Errorf("the backup of life %d restores to another state", i)
		}
		for n := range 20 {
			if got := bodies(s, logOf(20+n)); !slices.Equal(got, []string{fmt.Sprint("life ", i, n%10)}) {
				t.Errorf("life %d: log %d holds %q", i, n, got)
			}
		}
		mustClose(t, s)
	}
}

func TestATableIsSharedByItsContentNotItsName(t *testing.T) {
	fs := vfs.NewMem()
	w := &backupWriter{fileWork: newFileWork(t.Context(), fs, nil), before: "before", partial: "partial", previous: map[string]BackupFile{}}
	for _, dir := range []string{"store", "before/rows", "partial/rows"} {
		if err := fs.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	replaceFile(t, fs, "before/rows/000001.sst", []byte("abc"))
	_, sum, err := w.sum("before/rows/000001.sst")
	if err != nil {
		t.Fatal(err)
	}
	w.previous["rows/000001.sst"] = BackupFile{Name: "rows/000001.sst", Size: 3, SHA256: sum}
	for _, content := range []string{"abd", "abc", "ab"} {
		replaceFile(t, fs, "store/000001.sst", []byte(content))
		_ = fs.Remove("partial/rows/000001.sst")
		file, err := w.place(backupSource{path: "store/000001.sst", file: BackupFile{Name: "rows/000001.sst", Size: int64(len(content))}})
		if got := readWhole(t, fs, "partial/rows/000001.sst"); err != nil || string(got) != content || (file.SHA256 == sum) != (content == "abc") {
			t.Errorf("%q is backed up as %q, %+v, %v", content, got, file, err)
		}
	}
}

// Segments that are merged while their files are brought into the backup stay
// until it is made.
func TestBackupOutlivesAMerge(t *testing.T) {
	fs := vfs.NewMem()
	s := mustOpen(t, testConfig(t, fs, 1), newAppender(1))
	defer mustClose(t, s)
	for i := range mergeFanIn - 1 {
		propose(t, s, logOf(0), 1, fmt.Sprint(i))
		if err := s.Checkpoint(); err != nil {
			t.Fatal(err)
		}
	}
	merged := false
	name, _, err := s.Backup(t.Context(), BackupConfig{Dir: backups, Progress: func(p Progress) {
		if merged || p.What != "files" {
			return
		}
		merged = true
		propose(t, s, logOf(0), 1, "last")
		if err := s.Checkpoint(); err != nil {
			t.Error(err)
		}
		for s.Stats().Segments > 1 {
			if _, err := s.mergeTurn(); err != nil {
				t.Error(err)
				return
			}
		}
	}})
	if err != nil || !merged {
		t.Fatal(err)
	}
	wantWhole(t, fs, fs.PathJoin(backups, name))
	again := restored(t, fs, fs.PathJoin(backups, name), "again", 1)
	if got := bodies(again, logOf(0)); !slices.Equal(got, []string{"0", "1", "2"}) {
		t.Errorf("the backup holds %q", got)
	}
	mustClose(t, again)
}

func mustStat(t testing.TB, name string) os.FileInfo {
	t.Helper()
	info, err := os.Stat(name)
	if err != nil {
		t.Fatal(err)
	}
	return info
}

// noLinks refuses links between the store and the backups, as between two file
// systems.
type noLinks struct{ vfs.FS }

func (n noLinks) Link(from, to string) error {
	if strings.Contains(from, "/store/") && strings.Contains(to, "/backups/") {
		return &os.LinkError{Op: "link", Old: from, New: to, Err: syscall.EXDEV}
	}
	return n.FS.Link(from, to)
}

func TestFullDiskEndsABackupAndNothingElse(t *testing.T) {
	fs := vfs.NewMem()
	full := &failing{err: syscall.ENOSPC}
	s := mustOpen(t, testConfig(t, errorfs.Wrap(fs, full), 2), newAppender(2))
	defer mustClose(t, s)
	propose(t, s, logOf(0), 1, "first")
	before, _ := backUp(t, s)
	failures := 0
	for k := int64(1); ; k++ {
		propose(t, s, logOf(int(k)), 1, fmt.Sprint(k))
		full.arm(k)
		_, _, err := s.Backup(t.Context(), BackupConfig{Dir: backups})
		if !full.disarm() {
			if err != nil {
				t.Fatal(err)
			}
			break
		}
		failures++
		if err == nil {
			continue // what failed was the store's own, or tried again
		}
		if !errors.Is(err, syscall.ENOSPC) {
			t.Fatalf("operation %d: %v", k, err)
		}
		list, err := ListBackups(fs, backups)
		if err != nil || slices.ContainsFunc(list, func(b ListedBackup) bool { return b.Err != nil }) {
			t.Fatalf("operation %d: %+v, %v", k, list, err)
		}
		wantWhole(t, fs, before)
	}
	if failures < 5 {
		t.Errorf("only %d failures", failures)
	}
	dir, _ := backUp(t, s)
	wantWhole(t, fs, dir)
	if got := bodies(s, logOf(0)); !slices.Equal(got, []string{"first"}) {
		t.Errorf("log 0 holds %q", got)
	}
}

// failing lets the k-th and later writing operations fail while it is armed: those
// on the backups, the staging directory and segments, or on what begins as below says.
type failing struct {
	err   error
	below string // "": see above
	left  atomic.Int64
	on    atomic.Bool
	hit   atomic.Bool
}

func (f *failing) arm(k int64) {
	f.left.Store(k)
	f.hit.Store(false)
	f.on.Store(true)
}

func (f *failing) disarm() (hit bool) {
	f.on.Store(false)
	return f.hit.Load()
}

func (f *failing) MaybeError(op errorfs.Op) error {
	mine := strings.HasPrefix(op.Path, backups) || strings.Contains(op.Path, stagingName) || strings.Contains(op.Path, "/segments/")
	if f.below != "" {
		mine = strings.HasPrefix(op.Path, f.below)
	}
	removes := op.Kind == errorfs.OpRemove || op.Kind == errorfs.OpRemoveAll
	if !f.on.Load() || !mine || removes || op.Kind.ReadOrWrite() != errorfs.OpIsWrite || f.left.Add(-1) > 0 {
		return nil
	}
	f.hit.Store(true)
	return &os.PathError{Op: "write", Path: op.Path, Err: f.err}
}

func (f *failing) String() string { return "failing" }

func TestClosingTheStoreEndsABackup(t *testing.T) {
	fs := vfs.NewMem()
	s := mustOpen(t, testConfig(t, fs, 1), newAppender(1))
	propose(t, s, logOf(0), 1, "x")
	closed := make(chan error, 1)
	_, _, err := s.Backup(t.Context(), BackupConfig{Dir: backups, Progress: func(p Progress) {
		if p.What == "files" && p.Files == 0 {
			go func() { closed <- s.Close() }()
			<-s.guests.leaving
		}
	}})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if err := <-closed; err != nil {
		t.Error(err)
	}
	if _, _, err := s.Backup(t.Context(), BackupConfig{Dir: backups}); !errors.Is(err, ErrClosed) {
		t.Errorf("a closed store: %v", err)
	}
	names, err := fs.List(backups)
	if err != nil || !slices.Equal(names, []string{backupLock}) {
		t.Errorf("%q is left, %v", names, err)
	}
	if _, err := fs.Stat(fs.PathJoin("store", stagingName)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the staging directory is left: %v", err)
	}
}
