package engine

import (
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/godwit-im/godwit"
)

func TestProposedCommandIsVisibleWhenAcked(t *testing.T) {
	eachGroupCount(t, func(t *testing.T, groups int) {
		s := mustOpen(t, testConfig(t, vfs.NewMem(), groups), newAppender(groups))
		defer mustClose(t, s)
		for n := range 20 {
			for i := range 3 {
				if seq := propose(t, s, logOf(n), 1, fmt.Sprint("m", i)); seq != godwit.Seq(i+1) {
					t.Fatalf("sequence %d, want %d", seq, i+1)
				}
			}
			if got := bodies(s, logOf(n)); !slices.Equal(got, []string{"m0", "m1", "m2"}) {
				t.Fatalf("log %d holds %q", n, got)
			}
		}
		for s.Stats().QueueBytes != 0 { // given back a moment after the answer
			runtime.Gosched()
		}
		st := s.Stats()
		if st.Proposals != 60 || st.Commands != 60 || st.Entries != 60 || st.Logs != 20 {
			t.Fatalf("stats %+v", st)
		}
		if st.Syncs == 0 || st.Syncs != sum(st.SyncBuckets[:]) || st.Frames == 0 || st.WALBytes == 0 {
			t.Fatalf("sync stats %+v", st)
		}
	})
}

func sum(counts []uint64) (n uint64) {
	for _, c := range counts {
		n += c
	}
	return n
}

func TestRestartRecoversEverything(t *testing.T) {
	eachGroupCount(t, func(t *testing.T, groups int) {
		fs := vfs.NewMem()
		want := map[LogID][]string{}
		digests := make([]uint64, groups)
		for life := range 4 {
			m := newAppender(groups)
			s := mustOpen(t, testConfig(t, fs, groups), m)
			for g := range groups {
				if d := digest(t, s, g); life > 0 && d != digests[g] {
					t.Fatalf("life %d: digest of group %d is %x, was %x", life, g, d, digests[g])
				}
				if m.lives[g][1] != 0 {
					t.Fatalf("life %d: %d live Flush calls during replay", life, m.lives[g][1])
				}
			}
			for log, w := range want {
				if got := bodies(s, log); !slices.Equal(got, w) {
					t.Fatalf("life %d: log %x holds %q, want %q", life, log, got, w)
				}
			}
			for n := range 30 {
				body := fmt.Sprintf("life %d log %d %s", life, n, strings.Repeat("x", n*100))
				propose(t, s, logOf(n), uint32(n%3), body)
				want[logOf(n)] = append(want[logOf(n)], body)
			}
			for g := range groups {
				digests[g] = digest(t, s, g)
			}
			mustClose(t, s)
		}
	})
}

func TestDigestTellsStatesApart(t *testing.T) {
	s := mustOpen(t, testConfig(t, vfs.NewMem(), 1), newAppender(1))
	defer mustClose(t, s)
	before := digest(t, s, 0)
	propose(t, s, logOf(1), 1, "a")
	if digest(t, s, 0) == before {
		t.Fatal("an entry does not change the digest")
	}
}

func TestStampNeverGoesBack(t *testing.T) {
	clock := []int64{500, 400, 900, 100}
	fs := vfs.NewMem()
	for life, now := range clock {
		cfg := testConfig(t, fs, 1)
		cfg.Clock = func() int64 { return now }
		s := mustOpen(t, cfg, newAppender(1))
		propose(t, s, logOf(0), 1, "x")
		v := s.View(0)
		e, ok := v.Entry(logOf(0), godwit.Seq(life+1))
		v.Close()
		if want := slices.Max(clock[:life+1]); !ok || e.Time != want {
			t.Fatalf("life %d: stamp %d, want %d", life, e.Time, want)
		}
		mustClose(t, s)
	}
}

func TestSecondOpenOfTheDirectoryIsRefused(t *testing.T) {
	for name, fs := range map[string]vfs.FS{"memory": vfs.NewMem(), "disk": vfs.Default} {
		t.Run(name, func(t *testing.T) {
			cfg := testConfig(t, fs, 1)
			cfg.Dir = t.TempDir()
			s := mustOpen(t, cfg, newAppender(1))
			if _, err := Open(cfg, newAppender(1)); !errors.Is(err, ErrLocked) || !strings.Contains(err.Error(), cfg.Dir) {
				t.Fatalf("got %v, want ErrLocked that names the directory", err)
			}
			mustClose(t, s)
			mustClose(t, mustOpen(t, cfg, newAppender(1)))
		})
	}
}

func TestOtherGroupCountOrNodeIsRefused(t *testing.T) {
	fs := vfs.NewMem()
	cfg := testConfig(t, fs, 2)
	s := mustOpen(t, cfg, newAppender(2))
	propose(t, s, logOf(0), 1, "kept")
	mustClose(t, s)
	f := func(change func(*Config)) {
		t.Helper()
		other := cfg
		change(&other)
		if _, err := Open(other, newAppender(8)); !errors.Is(err, ErrConfigChanged) {
			t.Fatalf("got %v, want ErrConfigChanged", err)
		}
	}
	f(func(c *Config) { c.Groups = 8 })
	f(func(c *Config) { c.Groups = 1 })
	f(func(c *Config) { c.Node = 7 })
	s = mustOpen(t, cfg, newAppender(2))
	defer mustClose(t, s)
	if got := bodies(s, logOf(0)); !slices.Equal(got, []string{"kept"}) {
		t.Fatalf("after refusals the log holds %q", got)
	}
}

func TestDamagedDirectoryIsRefused(t *testing.T) {
	f := func(name string, damage func(fs *vfs.MemFS)) {
		t.Run(name, func(t *testing.T) {
			fs := vfs.NewMem()
			s := mustOpen(t, testConfig(t, fs, 1), newAppender(1))
			propose(t, s, logOf(0), 1, "x")
			mustClose(t, s)
			damage(fs)
			if _, err := Open(testConfig(t, fs, 1), newAppender(1)); !errors.Is(err, ErrFormat) {
				t.Fatalf("got %v, want ErrFormat", err)
			}
		})
	}
	flip := func(off int) func(fs *vfs.MemFS) {
		return func(fs *vfs.MemFS) {
			raw, err := readSmall(fs, "store/"+superblockName)
			if err != nil {
				panic(err)
			}
			raw[off] ^= 1
			file, err := fs.Create("store/"+superblockName, vfs.WriteCategoryUnspecified)
			if err != nil {
				panic(err)
			}
			_, _ = file.Write(raw)
			_ = file.Close()
		}
	}
	for _, off := range []int{0, 8, 12, 16, 24, 32, 36, 40, 48} {
		f(fmt.Sprintf("superblock byte %d", off), flip(off))
	}
	f("superblock missing", func(fs *vfs.MemFS) { _ = fs.Remove("store/" + superblockName) })
	f("superblock empty", func(fs *vfs.MemFS) {
		file, _ := fs.Create("store/"+superblockName, vfs.WriteCategoryUnspecified)
		_ = file.Close()
	})
	f("log missing", func(fs *vfs.MemFS) { _ = fs.RemoveAll("store/wal") })
}

func TestConfigIsValidated(t *testing.T) {
	f := func(change func(*Config)) {
		t.Helper()
		cfg := testConfig(t, vfs.NewMem(), 1)
		change(&cfg)
		if s, err := Open(cfg, newAppender(1)); err == nil {
			mustClose(t, s)
			t.Fatalf("accepted %+v", cfg)
		}
	}
	f(func(c *Config) { c.Dir = "" })
	f(func(c *Config) { c.Groups = 3 })
	f(func(c *Config) { c.Groups = 2048 })
	f(func(c *Config) { c.Groups = -1 })
	f(func(c *Config) { c.CommandBytesMax = commandBytesCap + 1 })
	f(func(c *Config) { c.BatchBytesMax = -1 })
	f(func(c *Config) { c.QueueBytesMax = -1 })
}

func TestCommandTooLargeIsRefused(t *testing.T) {
	cfg := testConfig(t, vfs.NewMem(), 1)
	cfg.CommandBytesMax = 100
	s := mustOpen(t, cfg, newAppender(1))
	defer mustClose(t, s)
	w := newWaiter()
	if err := s.Propose(0, make([]byte, 101), w); !errors.Is(err, ErrCommandTooLarge) {
		t.Fatalf("got %v", err)
	}
	if err := s.Propose(0, appendCommand(logOf(0), 1, strings.Repeat("x", 88)), w); err != nil {
		t.Fatal(err)
	}
	if a := <-w.done; a.err != nil || a.seq != 1 {
		t.Fatalf("got %+v", a)
	}
}

func TestFullQueueRefusesAndRecovers(t *testing.T) {
	m := newAppender(1)
	cfg := testConfig(t, vfs.NewMem(), 1)
	cfg.QueueBytesMax = 10 * (12 + 4 + commandOverhead)
	s := mustOpen(t, cfg, m)
	defer mustClose(t, s)
	m.gate = make(chan struct{})
	var taken []*ackWaiter
	refused := newWaiter()
	for {
		w := newWaiter()
		err := s.Propose(0, appendCommand(logOf(0), 1, "body"), w)
		if err != nil {
			if !errors.Is(err, ErrUnavailable) {
				t.Fatal(err)
			}
			break
		}
		taken = append(taken, w)
	}
	if err := s.Propose(0, appendCommand(logOf(0), 1, "body"), refused); !errors.Is(err, ErrUnavailable) {
		t.Fatalf("got %v, want ErrUnavailable", err)
	}
	if len(taken) != 10 {
		t.Fatalf("%d commands were taken, want 10", len(taken))
	}
	close(m.gate)
	for _, w := range taken {
		if a := <-w.done; a.err != nil {
			t.Fatal(a.err)
		}
	}
	if got := len(bodies(s, logOf(0))); got != 10 || refused.acks.Load()+refused.fails.Load() != 0 {
		t.Fatalf("%d entries, the refused waiter was called %d times", got, refused.acks.Load()+refused.fails.Load())
	}
	propose(t, s, logOf(0), 1, "room again")
}

func TestReadIndexSeesEverythingAcked(t *testing.T) {
	eachGroupCount(t, func(t *testing.T, groups int) {
		s := mustOpen(t, testConfig(t, vfs.NewMem(), groups), newAppender(groups))
		defer mustClose(t, s)
		var wg sync.WaitGroup
		for n := range 16 {
			wg.Go(func() {
				log := logOf(n)
				g := s.Group(log.Partition())
				for range 50 {
					seq := propose(t, s, log, 1, "x")
					done := make(chan godwit.Seq, 1)
					s.ReadIndex(g, func(err error) {
						if err != nil {
							t.Error(err)
						}
						v := s.View(g)
						done <- v.Head(log)
						v.Close()
					})
					if head := <-done; head < seq {
						t.Errorf("acked %d, a read after it sees %d", seq, head)
						return
					}
				}
			})
		}
		wg.Wait()
	})
}

func TestUnnamedReadPanics(t *testing.T) {
	tx := newTestGroup(t).tx
	tx.reads = map[string]struct{}{}
	tx.begin(appendCommand(logOf(1), 1, ""), newAppender(1))
	tx.Get(countKey(nil, logOf(1)))
	defer func() {
		if r := recover(); r == nil || !strings.HasPrefix(fmt.Sprint(r), "BUG:") {
			t.Fatalf("recovered %v, want a BUG panic", r)
		}
	}()
	tx.Get([]byte("other"))
}

var _ io.Closer = (*Store)(nil)
