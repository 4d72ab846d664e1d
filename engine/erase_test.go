package engine

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/godwit-im/godwit"
)

// filesWith returns the files below dir that hold the text.
func filesWith(t *testing.T, fs vfs.FS, dir, text string) (found []string) {
	t.Helper()
	names, err := fs.List(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		path := fs.PathJoin(dir, name)
		info, err := fs.Stat(path)
		if errors.Is(err, os.ErrNotExist) {
			continue // a merge made it or took it away meanwhile
		}
		if err != nil {
			t.Fatal(err)
		}
		if info.IsDir() {
			found = append(found, filesWith(t, fs, path, text)...)
			continue
		}
		f, err := fs.Open(path)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		raw, err := io.ReadAll(io.NewSectionReader(f, 0, info.Size()))
		if err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(raw), text) {
			found = append(found, path)
		}
	}
	return found
}

// Text lies in the WAL, in a flushed and in a merged segment, and in files of
// the WAL that wait to be used again. After the pass it lies nowhere, and what
// was not erased is all there. Segments are not compressed, or nothing would be
// found in the first place.
func TestErasedBytesAreGoneFromEveryFile(t *testing.T) {
	for _, groups := range []int{1, 8} {
		fs := vfs.NewMem()
		cfg := testConfig(t, fs, groups)
		cfg.NoCompression = true
		s := mustOpen(t, cfg, newLedger(groups))
		kept := 0
		for round := range 2*mergeFanIn + 1 {
			for n := range 4 {
				ledgerDo(t, s, logOf(n), ledgerOp{kind: 'a', conv: 1, body: fmt.Sprint("log secret ", round)})
				ledgerDo(t, s, logOf(n), ledgerOp{kind: 'a', conv: 2, body: fmt.Sprint("conversation secret ", round)})
				ledgerDo(t, s, logOf(n), ledgerOp{kind: 'a', conv: 3, body: strings.Repeat("kept ", 2000)})
			}
			if round == 2*mergeFanIn {
				break // the last round is in the WAL and the memtable only
			}
			if err := s.Checkpoint(); err != nil {
				t.Fatal(err)
			}
			if _, err := s.mergeTurn(); err != nil {
				t.Fatal(err)
			}
		}
		for _, secret := range []string{"log secret", "conversation secret"} {
			if found := filesWith(t, fs, "store", secret); len(found) < 3 {
				t.Fatalf("the test does not test: %q is in %v", secret, found)
			}
		}
		// The whole of log 0 and 1, one conversation of log 2; log 3 stays.
		erase := func(n int, kind byte, conv uint32) {
			ledgerDo(t, s, logOf(n), ledgerOp{kind: kind, conv: conv, upTo: 1 << 30})
		}
		erase(0, 'e', 0)
		erase(1, 'e', 0)
		erase(2, 'c', 2)
		erase(3, 'c', 1)
		erase(3, 'c', 2)
		erase(2, 'c', 1)
		if err := s.EraseNow(); err != nil {
			t.Fatal(err)
		}
		for _, secret := range []string{"log secret", "conversation secret"} {
			if found := filesWith(t, fs, "store", secret); len(found) > 0 {
				t.Errorf("%d groups: %q is still in %v", groups, secret, found)
			}
		}
		v := s.View(s.Group(logOf(3).Partition()))
		for _, e := range v.Since(logOf(3), 0, 1000, 1<<30, nil) {
			if e.Conv == 3 && strings.HasPrefix(string(e.Body), "kept") {
				kept++
			}
		}
		if kept != 2*mergeFanIn+1 || v.Err() != nil {
			t.Errorf("%d entries kept, %v", kept, v.Err())
		}
		v.Close()
		v = s.View(s.Group(logOf(0).Partition()))
		if head := v.Head(logOf(0)); head != 3*(2*mergeFanIn+1) {
			t.Errorf("head of the erased log %d", head)
		}
		v.Close()
		if st := s.Stats(); st.OldestErasure != 0 {
			t.Errorf("marks are left: %d", st.OldestErasure)
		}
		mustClose(t, s)
	}
}

func TestKeepFindsWhatIsBeyondCountAndAge(t *testing.T) {
	now := int64(1000)
	cfg := testConfig(t, vfs.NewMem(), 1)
	cfg.Clock = func() int64 { return now }
	s := mustOpen(t, cfg, newAppender(1))
	defer mustClose(t, s)
	for i := range 10 { // sequences 1, 3, 5 … at 1000, 1010, 1020 …
		propose(t, s, logOf(0), 1, fmt.Sprint(i))
		propose(t, s, logOf(0), 2, "other")
		now += 10
		if i == 4 {
			if err := s.Checkpoint(); err != nil {
				t.Fatal(err)
			}
		}
	}
	f := func(count int, since int64, want godwit.Seq) {
		t.Helper()
		v := s.View(0)
		defer v.Close()
		if got := v.Keep(logOf(0), 1, 19, count, since); got != want || v.Err() != nil {
			t.Errorf("count %d, since %d: up to %d, %v, want %d", count, since, got, v.Err(), want)
		}
	}
	f(0, 0, 0)
	f(10, 0, 0)
	f(9, 0, 1)
	f(3, 0, 13)
	f(0, 1000, 0)
	f(0, 1001, 1)
	f(0, 1090, 17)
	f(0, 5000, 19)
	f(3, 1001, 13)
	f(9, 1090, 17)
}

func TestHeadsInBulk(t *testing.T) {
	s := mustOpen(t, testConfig(t, vfs.NewMem(), 1), newAppender(1))
	defer mustClose(t, s)
	for n := range 5 {
		for range n {
			propose(t, s, logOf(n), 1, "x")
		}
	}
	v := s.View(0)
	defer v.Close()
	logs := []LogID{logOf(4), logOf(0), logOf(2), logOf(99)}
	got := v.Heads(logs, nil)
	if len(got) != 4 || got[0] != 4 || got[1] != 0 || got[2] != 2 || got[3] != 0 {
		t.Errorf("heads %v", got)
	}
}
