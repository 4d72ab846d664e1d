package engine

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// silent is a Machine that appends and allocates nothing itself.
type silent struct{ *appender }

func (m silent) Apply(tx *Tx, command []byte, _ Waiter) {
	tx.Append(logOf(0), Entry{Conv: 1, Body: command})
}

func (m silent) Flush(int, bool) {}

type countWaiter struct{ failed atomic.Int64 }

func (w *countWaiter) Fail(error) { w.failed.Add(1) }

// TestProposeAllocatesPerBatchNotPerCommand holds the loop out: what a caller
// pays is copied into a buffer that is used again.
func TestProposeAllocatesPerBatchNotPerCommand(t *testing.T) {
	var p proposals
	command, w := make([]byte, 100), &countWaiter{}
	const perBatch = 100
	batch := func() {
		for range perBatch {
			if _, err := p.add(command, w, 1, 1<<20); err != nil {
				t.Fatal(err)
			}
		}
		for _, b := range p.takeOpen(nil) {
			if got, _ := p.applied(b.number, nil); got != b {
				t.Fatal("the batch is not in flight")
			}
			p.recycle(b)
		}
	}
	batch()
	if n := testing.AllocsPerRun(100, batch); n > 2 { // the two results of this test's own calls
		t.Fatalf("%v allocations for %d commands", n, perBatch)
	}
}

// TestPathAllocatesLittlePerCommand measures the whole path to the applied
// entry: raft's copy, messages and the memtable, spread over a batch.
func TestPathAllocatesLittlePerCommand(t *testing.T) {
	s := mustOpen(t, Config{FS: vfs.NewMem(), Dir: "store"}, silent{newAppender(1)})
	defer mustClose(t, s)
	command, w := make([]byte, 128), &countWaiter{}
	const commands = 2000
	n := testing.AllocsPerRun(10, func() {
		for range commands {
			for s.Propose(0, command, w) != nil {
			}
		}
		done := make(chan struct{})
		s.ReadIndex(0, func(error) { close(done) })
		<-done
	})
	if per := n / commands; per > 2 {
		t.Fatalf("%.2f allocations per command", per)
	}
	if w.failed.Load() != 0 {
		t.Fatal("commands failed")
	}
}

// An idle store confirms its last frame once and then leaves the disk alone.
func TestIdleStoreStopsWriting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := mustOpen(t, testConfig(t, vfs.NewMem(), 8), newAppender(8))
		defer mustClose(t, s)
		for n := range 8 {
			propose(t, s, logOf(n), 1, "x")
		}
		busy := s.log.LSN()
		time.Sleep(time.Second)
		synctest.Wait()
		before, lsn := s.Stats(), s.log.LSN()
		if lsn <= busy {
			t.Fatalf("no trailer: LSN %d, %d while busy", lsn, busy)
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		if after := s.Stats(); after.Syncs != before.Syncs || after.Frames != before.Frames || s.log.LSN() != lsn {
			t.Fatalf("an idle hour wrote %d frames, LSN %d to %d", after.Frames-before.Frames, lsn, s.log.LSN())
		}
		propose(t, s, logOf(0), 1, "and it still works")
	})
}

func BenchmarkPropose(b *testing.B) {
	for _, groups := range []int{1, 8} {
		for _, proposers := range []int{1, 64, 1024} {
			b.Run(fmt.Sprintf("groups=%d/proposers=%d", groups, proposers), func(b *testing.B) {
				benchmarkPropose(b, groups, proposers)
			})
		}
	}
}

// benchmarkPropose: each proposer waits for its ack before it goes on.
func benchmarkPropose(b *testing.B, groups, proposers int) {
	s := mustOpen(b, Config{Dir: b.TempDir(), Groups: groups}, newAppender(groups))
	defer mustClose(b, s)
	body := strings.Repeat("x", 128)
	before := s.Stats()
	var left atomic.Int64
	left.Store(int64(b.N))
	b.ReportAllocs()
	b.ResetTimer()
	var wg sync.WaitGroup
	for p := range proposers {
		wg.Go(func() {
			log := logOf(p)
			group, command := s.Group(log.Partition()), appendCommand(log, 1, body)
			w := newWaiter()
			for left.Add(-1) >= 0 {
				if err := s.Propose(group, command, w); err != nil {
					b.Error(err)
					return
				}
				if a := <-w.done; a.err != nil {
					b.Error(a.err)
					return
				}
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	after := s.Stats()
	seconds := b.Elapsed().Seconds()
	b.ReportMetric(float64(b.N)/seconds, "commands/s")
	b.ReportMetric(float64(after.Syncs-before.Syncs)/seconds, "syncs/s")
	b.ReportMetric(float64(after.SyncTime-before.SyncTime)/float64(after.Syncs-before.Syncs)/1e3, "µs/sync")
}

func BenchmarkReadIndex(b *testing.B) {
	s := mustOpen(b, Config{FS: vfs.NewMem(), Dir: "store"}, newAppender(1))
	defer mustClose(b, s)
	done := make(chan error, 1)
	answer := func(err error) { done <- err }
	b.ReportAllocs()
	for b.Loop() {
		s.ReadIndex(0, answer)
		if err := <-done; err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkReplay reopens a store of 200,000 entries on the real disk: read the
// log, check it, apply it, elect, close. One op is one reopening.
func BenchmarkReplay(b *testing.B) {
	const commands = 200_000
	cfg := Config{Dir: b.TempDir()}
	s := mustOpen(b, cfg, silent{newAppender(1)})
	command, w := make([]byte, 128), &countWaiter{}
	for range commands {
		for s.Propose(0, command, w) != nil { // the queue is full
		}
	}
	mustClose(b, s)
	for b.Loop() {
		s := mustOpen(b, cfg, silent{newAppender(1)})
		if n := s.Stats().Commands; n != commands {
			b.Fatalf("%d entries of %d came back", n, commands)
		}
		mustClose(b, s)
	}
	b.ReportMetric(commands*float64(b.N)/b.Elapsed().Seconds(), "entries/s")
}
