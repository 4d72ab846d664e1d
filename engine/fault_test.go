package engine

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
)

func isSync(op errorfs.Op) bool {
	return op.Kind == errorfs.OpFileSync || op.Kind == errorfs.OpFileSyncData || op.Kind == errorfs.OpFileSyncTo
}

// faultLife is a life of its own on a new disk with a fault.
func faultLife(seed uint64, groups int, fault func(errorfs.Op) error) *life {
	l := &life{
		disk: vfs.NewCrashableMem(), groups: groups, clock: new(atomic.Int64), terms: make([]uint64, groups),
		counts: new(lifeCounts), fault: fault,
	}
	for i := range l.logs {
		l.logs[i] = &lifeLog{ledgerLog: ledgerLog{id: logOf(i)}}
	}
	l.begin(rand.New(rand.NewPCG(seed, 9)), make([]int64, groups))
	l.nextOp.Store(-1) // no power loss
	return l
}

// after is the disk as it is now, or after a power loss, with what was promised.
func (l *life) after(percent int) *crashPoint {
	p := &crashPoint{percent: percent, disk: l.disk}
	for _, log := range l.logs {
		p.acked, p.proposed = append(p.acked, log.acked), append(p.proposed, len(log.ops))
	}
	for i := range l.expiredAcked {
		p.expiredAcked = append(p.expiredAcked, l.expiredAcked[i].Load())
		p.expiredMost = append(p.expiredMost, l.expiredMost[i].Load())
	}
	if percent >= 0 {
		p.disk = l.disk.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: percent, RNG: l.random})
	}
	return p
}

// runFault runs the life and checks what is left of it. It returns whether the
// fault ended it.
func (l *life) runFault(t *testing.T, what string) (stopped bool) {
	t.Helper()
	err := l.run(25)
	var bad violation
	switch {
	case err == nil:
	case strings.Contains(err.Error(), errInjected.Error()), strings.Contains(err.Error(), syscall.ENOSPC.Error()):
		stopped = true // its cause is named
	case errors.As(err, &bad):
		t.Fatalf("%s: %v", what, err)
	}
	for _, percent := range []int{0, 50, -1} {
		if _, _, _, err := l.after(percent).recovered(l, 3); err != nil {
			t.Fatalf("%s, %d %% of unsynced data kept: %v", what, percent, err)
		}
	}
	return stopped
}

// TestFailedSyncStopsTheStore fails the k-th sync for every k: of the WAL, of
// segments, of rows, of directories. A sync that failed is never tried again.
func TestFailedSyncStopsTheStore(t *testing.T) {
	most := faultsWanted(200)
	eachGroupCount(t, func(t *testing.T, groups int) {
		failed := 0
		for k := int64(1); k <= most; k += faultStep() {
			var syncs atomic.Int64
			var name atomic.Pointer[string]
			l := faultLife(uint64(k), groups, func(op errorfs.Op) error {
				if isSync(op) && syncs.Add(1) == k {
					name.Store(&op.Path)
					return errInjected
				}
				return nil
			})
			stopped := l.runFault(t, fmt.Sprintf("sync %d", k))
			if name.Load() != nil && !stopped {
				t.Fatalf("sync %d, of %s, failed and nobody noticed", k, *name.Load())
			}
			if stopped {
				failed++
			}
		}
		t.Logf("%d of the first %d syncs failed, each stopped the store", failed, most)
	})
}

// faultsWanted is how many places of a fault are tried; make soak asks for more.
func faultsWanted(fallback int64) int64 { return max(fallback, crashPointsWanted(0)/20) }

// faultStep leaves places out where all of them take too long; it is coprime to
// the three kinds of places.
func faultStep() int64 {
	if raceEnabled || testing.Short() {
		return 10
	}
	return 1
}

func isWrite(op errorfs.Op) bool {
	switch op.Kind {
	case errorfs.OpCreate, errorfs.OpFileWrite, errorfs.OpFileWriteAt, errorfs.OpFilePreallocate, errorfs.OpMkdirAll, errorfs.OpReuseForWrite:
		return true
	}
	return false
}

// TestFullDiskLosesNothing lets the k-th write and some after it find no room. What
// a segment is written to is only waited for; the WAL and the rows stop the store.
func TestFullDiskLosesNothing(t *testing.T) {
	most := faultsWanted(120)
	eachGroupCount(t, func(t *testing.T, groups int) {
		var ended, refused [3]int
		for k := int64(0); k < most; k += faultStep() {
			place := []string{"segments", "rows", "wal"}[k%3]
			var writes, hit atomic.Int64
			from := 1 + k/3*2
			l := faultLife(uint64(k), groups, nil)
			l.fault = func(op errorfs.Op) error {
				if !isWrite(op) || !strings.Contains(op.Path, "/"+place) || !l.ready.Load() {
					return nil
				}
				if n := writes.Add(1); n < from || n >= from+5 {
					return nil
				}
				hit.Add(1)
				l.store.checkpointer.soon() // no second of patience
				l.store.merger.soon()
				return syscall.ENOSPC
			}
			stopped := l.runFault(t, fmt.Sprintf("no room for write %d to %s", from, place))
			if hit.Load() > 0 {
				refused[k%3]++
			}
			if stopped {
				ended[k%3]++
			}
			if stopped && place == "segments" {
				t.Fatalf("no room for a segment, write %d, stopped the store", from)
			}
		}
		t.Logf("no room: stopped the store in %d of %d lives for segments, %d of %d for rows, %d of %d for the WAL", ended[0], refused[0], ended[1], refused[1], ended[2], refused[2])
	})
}

// TestFullDiskRefusesAndGoesOn fills the disk for segments: memory fills, then the
// queue, then commands are refused; reads go on; with room everything does.
func TestFullDiskRefusesAndGoesOn(t *testing.T) {
	for _, closeFull := range []bool{false, true} {
		t.Run(fmt.Sprintf("closed while full=%v", closeFull), func(t *testing.T) {
			var full atomic.Bool
			disk := errorfs.InjectorFunc(func(op errorfs.Op) error {
				if full.Load() && isWrite(op) && strings.Contains(op.Path, "/segments") {
					return syscall.ENOSPC
				}
				return nil
			})
			mem := vfs.NewCrashableMem()
			cfg := testConfig(t, errorfs.Wrap(mem, disk), 1)
			cfg.MemtableBytes, cfg.QueueBytesMax = 64<<10, 64<<10
			s := mustOpen(t, cfg, newAppender(1))
			first := propose(t, s, logOf(0), 1, "first")
			full.Store(true)
			var taken []*ackWaiter
			body := strings.Repeat("b", 1000)
			for refused := 0; refused < 1000 || s.Stats().Stalls == 0; {
				w := newWaiter()
				switch err := s.Propose(0, appendCommand(logOf(0), 1, body), w); {
				case err == nil:
					taken = append(taken, w)
				case errors.Is(err, ErrUnavailable):
					refused++
					runtime.Gosched()
				default:
					t.Fatal(err)
				}
			}
			v := s.View(0)
			if e, ok := v.Entry(logOf(0), first); !ok || string(e.Body) != "first" {
				t.Fatalf("a read on a full disk: %v %v", e, ok)
			}
			v.Close()
			if err := s.Checkpoint(); !errors.Is(err, syscall.ENOSPC) {
				t.Fatalf("a checkpoint without room: %v", err)
			}
			if !closeFull {
				full.Store(false)
				s.checkpointer.soon()
			} else {
				mustClose(t, s)
			}
			for i, w := range taken {
				if a := <-w.done; a.err != nil {
					t.Fatalf("command %d of %d: %v", i, len(taken), a.err)
				}
			}
			if !closeFull {
				propose(t, s, logOf(0), 1, "room again")
				mustClose(t, s)
			}
			full.Store(false)
			s = mustOpen(t, testConfig(t, mem, 1), newAppender(1))
			defer mustClose(t, s)
			if got := len(bodies(s, logOf(0))); got < 1+len(taken) {
				t.Fatalf("%d entries, %d were taken", got, 1+len(taken))
			}
		})
	}
}

// TestFailedReadsAreNoticed fails reads of segments and rows: what a view returns
// is right, or the view says so.
func TestFailedReadsAreNoticed(t *testing.T) {
	l := faultLife(1, 1, nil)
	if err := l.run(60); err != nil {
		t.Fatal(err)
	}
	var armed atomic.Bool
	var reads, failAt, failed atomic.Int64
	disk := errorfs.InjectorFunc(func(op errorfs.Op) error {
		if armed.Load() && (op.Kind == errorfs.OpFileReadAt || op.Kind == errorfs.OpFileRead) && reads.Add(1) == failAt.Load() {
			failed.Add(1)
			return errInjected
		}
		return nil
	})
	for _, short := range []bool{false, true} {
		failed.Store(0)
		for k := int64(1); k <= faultsWanted(60); k += faultStep() {
			var fs vfs.FS = errorfs.Wrap(l.disk, disk)
			if short {
				fs = shortFS{FS: l.disk, fail: func() bool { return disk.MaybeError(errorfs.Op{Kind: errorfs.OpFileReadAt}) != nil }}
			}
			cfg := l.config(fs)
			cfg.MemtableBytes, cfg.CacheBytes, cfg.EraseWithin = 16<<20, 1, time.Hour
			s, err := Open(cfg, newLedger(1))
			if err != nil {
				t.Fatal(err)
			}
			reads.Store(0)
			failAt.Store(k)
			armed.Store(true)
			before := failed.Load()
			err = readLogs(s, l, l.expiredAcked[0].Load())
			armed.Store(false)
			if err != nil && failed.Load() == before {
				t.Fatalf("read %d: %v", k, err)
			}
			// A compaction of the rows may have met the failure: then the store stops.
			if closeErr := s.Close(); closeErr != nil && !errors.Is(closeErr, errInjected) {
				t.Fatal(closeErr)
			}
		}
		if failed.Load() == 0 {
			t.Fatal("no read failed")
		}
		t.Logf("short=%v: %d reads failed", short, failed.Load())
	}
}

// readLogs compares all that views return with the model, unless a view failed.
func readLogs(s *Store, l *life, expired int64) error {
	for _, log := range l.logs {
		err := checkLedgerLog(s, &log.ledgerLog, len(log.ops), expired, 3)
		if err != nil && !errors.Is(err, errInjected) && !strings.Contains(err.Error(), "engine: read:") {
			return err
		}
		if err != nil {
			return nil
		}
	}
	return nil
}

// shortFS ends reads too early when fail says so.
type shortFS struct {
	vfs.FS
	fail func() bool
}

func (fs shortFS) Open(name string, opts ...vfs.OpenOption) (vfs.File, error) {
	f, err := fs.FS.Open(name, opts...)
	if err != nil {
		return nil, err
	}
	return shortFile{f, fs.fail}, nil
}

type shortFile struct {
	vfs.File
	fail func() bool
}

func (f shortFile) ReadAt(p []byte, off int64) (int, error) {
	n, err := f.File.ReadAt(p, off)
	if n > 1 && f.fail() {
		clear(p[n/2:])
		return n / 2, errShort
	}
	return n, err
}

var errShort = fmt.Errorf("%w: unexpected EOF", errInjected)
