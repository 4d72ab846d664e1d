package engine

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// smallDisk says how much room there is.
type smallDisk struct {
	vfs.FS
	avail atomic.Uint64
	looks atomic.Int64
}

func (d *smallDisk) GetDiskUsage(string) (vfs.DiskUsage, error) {
	d.looks.Add(1)
	return vfs.DiskUsage{AvailBytes: d.avail.Load(), TotalBytes: 100 << 30}, nil
}

func TestNearlyFullDiskRefusesCommandsUntilThereIsRoom(t *testing.T) {
	disk := &smallDisk{FS: vfs.NewMem()}
	disk.avail.Store(1 << 30)
	s := mustOpen(t, testConfig(t, disk, 1), newAppender(1))
	defer mustClose(t, s)
	look := func(avail uint64) {
		t.Helper()
		disk.avail.Store(avail)
		// The worker looks by itself, too, and may just have read the former number:
		// it has drawn its conclusion from this one when it looks for the second time.
		for first := disk.looks.Load(); disk.looks.Load() < first+2; runtime.Gosched() {
			s.space.soon()
		}
	}
	look(600 << 20)
	propose(t, s, logOf(0), 1, "there is room")
	for _, avail := range []uint64{500 << 20, 100 << 20, 0} {
		look(avail)
		w := newWaiter()
		if err := s.Propose(0, appendCommand(logOf(0), 1, "no room"), w); !errors.Is(err, ErrDiskFull) {
			t.Fatalf("%d bytes left: proposed, %v", avail, err)
		}
		if w.acks.Load()+w.fails.Load() != 0 {
			t.Fatal("the waiter of a refused command was called")
		}
		if got := bodies(s, logOf(0)); len(got) != 1 {
			t.Fatalf("%d bytes left: a read sees %d entries", avail, len(got))
		}
		if did, err := s.mergeTurn(); did || err != nil {
			t.Fatalf("%d bytes left: merged, %v", avail, err)
		}
	}
	s.groups[0].checkpointWanted.Store(true)
	if did, err := s.checkpointTurn(); did || err != nil {
		t.Fatalf("no room: checkpoint %v, %v", did, err)
	}
	look(600 << 20)
	propose(t, s, logOf(0), 1, "there is room again")
	if st := s.Stats(); st.DiskFull != 2 || st.Refused != 3 {
		t.Errorf("stats %+v", st)
	}
}

// fullWAL fails the making of WAL files while it is full.
type fullWAL struct {
	vfs.FS
	full atomic.Bool
}

func (d *fullWAL) OpenReadWrite(name string, c vfs.DiskWriteCategory, opts ...vfs.OpenOption) (vfs.File, error) {
	if d.full.Load() && strings.Contains(name, "wal") && strings.HasSuffix(name, ".tmp") {
		return nil, syscall.ENOSPC
	}
	return d.FS.OpenReadWrite(name, c, opts...)
}

func TestFullDiskUnderTheWALWaitsAndLosesNothing(t *testing.T) {
	for _, closing := range []bool{false, true} {
		disk := &fullWAL{FS: vfs.NewMem()}
		cfg := testConfig(t, disk, 1)
		s := mustOpen(t, cfg, newAppender(1))
		for i := range 20 {
			propose(t, s, logOf(0), 1, fmt.Sprint(i))
		}
		disk.full.Store(true)
		var waiting []*ackWaiter
		for i := range 300 { // more than the files hold that are there
			w := newWaiter()
			if err := s.Propose(0, appendCommand(logOf(0), 1, fmt.Sprint(20+i)+"/"+strings.Repeat("b", 1000)), w); err != nil {
				t.Fatal(err)
			}
			waiting = append(waiting, w)
		}
		for s.Stats().DiskFull == 0 {
			runtime.Gosched()
		}
		if got := bodies(s, logOf(0)); len(got) < 20 {
			t.Errorf("a read sees %d entries", len(got))
		}
		acked := 20
		if closing {
			if err := s.Close(); err == nil {
				t.Error("Close says nothing of what it could not write")
			}
		} else {
			disk.full.Store(false)
		}
		for _, w := range waiting {
			switch a := <-w.done; {
			case a.err == nil:
				acked++
			case !closing:
				t.Fatalf("after there was room again: %v", a.err)
			}
		}
		if !closing {
			mustClose(t, s)
		}
		disk.full.Store(false)
		s = mustOpen(t, cfg, newAppender(1))
		if got := bodies(s, logOf(0)); len(got) < acked {
			t.Errorf("closing %v: %d entries, %d were acknowledged", closing, len(got), acked)
		}
		mustClose(t, s)
	}
}

func TestCleanRowsOfAllGroupsAreBounded(t *testing.T) {
	cfg := testConfig(t, vfs.NewMem(), 8)
	cfg.MemtableBytes = 64 << 10
	s := mustOpen(t, cfg, newAppender(8))
	defer mustClose(t, s)
	most := int64(0)
	for n := range 400 {
		propose(t, s, logOf(n), 1, "x")
		if n%200 != 199 {
			continue
		}
		if err := s.Checkpoint(); err != nil {
			t.Fatal(err)
		}
		total := int64(0)
		for _, g := range s.groups {
			total += g.state.rows.CleanBytes()
		}
		if most = max(most, total); total > cfg.MemtableBytes/2 {
			t.Fatalf("%d bytes of clean rows, at most %d", total, cfg.MemtableBytes/2)
		}
	}
	if most == 0 {
		t.Fatal("no clean row was kept")
	}
	for n := range 400 { // whether kept or not, rows are right: the machine checks its counts
		if seq := propose(t, s, logOf(n), 1, "y"); seq != 2 {
			t.Fatalf("log %d: sequence %d", n, seq)
		}
	}
}

// A pass that finds the disk full when it begins is tried again, and ends nothing.
func TestEraserOutlivesAFullDisk(t *testing.T) {
	s := mustOpen(t, testConfig(t, vfs.NewMem(), 1), newAppender(1))
	var turns atomic.Int64
	w := newWorker("test", func() (bool, error) {
		turns.Add(1)
		return false, ErrDiskFull
	})
	done := make(chan struct{})
	go func() { w.run(s); close(done) }()
	for turns.Load() < 3 {
		w.soon()
		runtime.Gosched()
	}
	close(w.stop)
	<-done
	propose(t, s, logOf(0), 1, "alive")
	mustClose(t, s)
}
