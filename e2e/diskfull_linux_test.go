package e2e

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/godwit-im/godwit"
)

// smallDisk mounts a file system of its own, as root.
func smallDisk(t *testing.T, sizeBytes int) (dir string) {
	t.Helper()
	dir = t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%d", sizeBytes)); err != nil {
		t.Skipf("a small file system needs root: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// A disk that somebody fills refuses sends in words, goes on with reads, and
// takes sends again by itself when there is room. Nothing acknowledged is lost.
//
//tidy:long the steps of one operation, in order
func TestFullDiskRefusesSendsAndGoesOnByItself(t *testing.T) {
	t.Parallel()
	disk := smallDisk(t, 192<<20)
	s := newServer(t, "", "GODWIT_ENGINE_MEMTABLE=1MiB", "GODWIT_ENGINE_WAL=64MiB",
		"GODWIT_LIMITS_FRAMES_PER_S=0", "GODWIT_LIMITS_USER_SEND_PER_S=0") // refusals come faster than clients may ask
	s.dir = filepath.Join(disk, "data")
	s.start()
	tokens := s.tokens("alice", "bob")
	alice, _ := connectWire(t, s.url(), godwit.EncodingJSON, tokens["alice"], "phone", godwit.Resume{})
	acked := 0
	send := func() godwit.ServerFrame {
		r := alice.send("bob", fmt.Sprint("c", acked), fmt.Sprint("message ", acked))
		if r.Kind == godwit.KindSend {
			acked++
		}
		return r
	}
	until := func(what string, done func(godwit.ServerFrame) bool) {
		t.Helper()
		for deadline := time.Now().Add(patience); ; {
			r := send()
			if done(r) {
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("%s: the last answer is %+v", what, r)
			}
		}
	}
	for range 50 {
		if r := send(); r.Kind != godwit.KindSend {
			t.Fatalf("send answered %+v", r.Error)
		}
	}
	filler := filepath.Join(disk, "filler")
	fill(t, filler, disk)
	until("the disk is full", func(r godwit.ServerFrame) bool {
		return r.Kind == godwit.KindError && r.Error.Code == godwit.ErrUnavailable.Code
	})
	before := acked
	for range 20 {
		if r := send(); r.Kind != godwit.KindError {
			t.Fatalf("the full disk took a message: %+v", r)
		}
	}
	if got := alice.all(); len(got) != before {
		t.Errorf("a read on the full disk sees %d entries of %d", len(got), before)
	}
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	until("there is room again", func(r godwit.ServerFrame) bool { return r.Kind == godwit.KindSend })
	s.kill()
	s.start()
	bob, _ := connectWire(t, s.url(), godwit.EncodingJSON, tokens["bob"], "phone", godwit.Resume{})
	got := texts(bob.all())
	if len(got) != acked {
		t.Fatalf("bob has %d messages, %d were acknowledged", len(got), acked)
	}
	for i := range acked {
		if got[i] != fmt.Sprint("message ", i) {
			t.Fatalf("entry %d is %q", i, got[i])
		}
	}
}

// all reads the whole log, page by page.
func (w *wire) all() (entries []godwit.Entry) {
	w.t.Helper()
	for {
		page := w.sync(godwit.Seq(len(entries)), 100).Entries
		if len(page) == 0 {
			return entries
		}
		entries = append(entries, page...)
	}
}

// fill leaves next to nothing of the disk.
func fill(t *testing.T, name, disk string) {
	t.Helper()
	const left = 2 << 20
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	until(t, "the disk is filled", func() bool {
		var st syscall.Statfs_t
		if err := syscall.Statfs(disk, &st); err != nil {
			t.Fatal(err)
		}
		err := syscall.Fallocate(int(f.Fd()), 0, 0, int64(st.Bavail)*st.Bsize-left)
		if err != nil && !errors.Is(err, syscall.ENOSPC) { // the server took some meanwhile
			t.Fatal(err)
		}
		return err == nil
	})
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}
