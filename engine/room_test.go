package engine

import (
	"errors"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// smallDisk says how much room there is.
type smallDisk struct {
	vfs.FS
	avail atomic.Uint64
}

func (d *smallDisk) GetDiskUsage(string) (vfs.DiskUsage, error) {
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
		if _, err := s.lookAtRoom(); err != nil {
			t.Fatal(err)
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
