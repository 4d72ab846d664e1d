package load

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

func TestOnlyDataThatNobodyHoldsIsRemoved(t *testing.T) {
	parent := t.TempDir()
	killed, err := NewDataDir(parent)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(killed.Path, "wal"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	_ = killed.lock.Close() // what the kernel does for a process that was killed
	foreign := filepath.Join(parent, "godwit-bench-notes")
	if err := os.Mkdir(foreign, 0o700); err != nil { // without a lock it is somebody else's
		t.Fatal(err)
	}
	outside := t.TempDir()
	if err := os.WriteFile(filepath.Join(outside, lockName), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, filepath.Join(parent, "godwit-bench-link")); err != nil {
		t.Fatal(err)
	}
	running, err := NewDataDir(parent)
	if err != nil {
		t.Fatal(err)
	}
	next, err := NewDataDir(parent)
	if err != nil {
		t.Fatal(err)
	}
	gone := func(path string) bool {
		_, err := os.Stat(path)
		return errors.Is(err, fs.ErrNotExist)
	}
	if !gone(killed.Path) {
		t.Error("the data of a run that was killed is still there")
	}
	for _, path := range []string{running.Path, next.Path, foreign, filepath.Join(outside, lockName)} {
		if gone(path) {
			t.Errorf("%s was removed", path)
		}
	}
	for _, d := range []*DataDir{running, next} {
		if err := d.Remove(); err != nil || !gone(d.Path) {
			t.Errorf("removed with %v", err)
		}
	}
}
