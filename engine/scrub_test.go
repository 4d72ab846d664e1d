package engine

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/godwit-im/godwit/engine/segment"
)

// scrubbed is a store with so many segments and a clock that the test moves. The
// store's own scrubber rests: it looks once a minute.
func scrubbedStore(t *testing.T, fs vfs.FS, clock *atomic.Int64, log *bytes.Buffer, segments int) *Store {
	t.Helper()
	cfg := testConfig(t, fs, 1)
	cfg.Clock = clock.Load
	cfg.ScrubBytesPerSecond = 1 << 40
	cfg.Logger = slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelWarn}))
	s := mustOpen(t, cfg, newAppender(1))
	for i := range segments {
		propose(t, s, logOf(i), 1, fmt.Sprint("entry ", i))
		if err := s.Checkpoint(); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// pass takes the turns that are due.
func pass(t *testing.T, s *Store) (turns int) {
	t.Helper()
	for {
		did, err := s.scrubTurn()
		if err != nil {
			t.Fatal(err)
		}
		if !did {
			return turns
		}
		turns++
	}
}

func TestScrubReadsEachSegmentOnceInItsTime(t *testing.T) {
	const week = 7 * 24 * int64(time.Hour/time.Millisecond)
	var clock atomic.Int64
	clock.Store(1000)
	fs := vfs.NewMem()
	s := scrubbedStore(t, fs, &clock, &bytes.Buffer{}, 3)
	if n := pass(t, s); n != 0 {
		t.Errorf("%d segments were read that are new", n)
	}
	clock.Add(week)
	if st := s.Stats(); st.ScrubOldest != 1000 {
		t.Errorf("oldest %d", st.ScrubOldest)
	}
	if n := pass(t, s); n != 3 {
		t.Errorf("%d segments were read, want 3", n)
	}
	st := s.Stats()
	if st.Scrubbed != 3 || st.ScrubbedBytes != uint64(st.SegmentBytes) || st.CorruptNow != 0 || st.ScrubOldest != 1000+week {
		t.Errorf("stats %+v", st)
	}
	clock.Add(week - 1)
	if n := pass(t, s); n != 0 {
		t.Errorf("%d segments were read again too early", n)
	}
	mustClose(t, s)
	s = scrubbedStore(t, fs, &clock, &bytes.Buffer{}, 0) // a restart remembers
	defer mustClose(t, s)
	if n := pass(t, s); n != 0 {
		t.Errorf("%d segments were read again because of the restart", n)
	}
	clock.Add(1)
	if n := pass(t, s); n != 3 {
		t.Errorf("%d segments were read in the second week, want 3", n)
	}
}

func TestScrubFindsDamageAndSaysSo(t *testing.T) {
	var clock atomic.Int64
	clock.Store(1000)
	fs := vfs.NewMem()
	log := &bytes.Buffer{}
	s := scrubbedStore(t, fs, &clock, log, 3)
	defer mustClose(t, s)
	path := fs.PathJoin(s.segmentDir(), segment.FileName(s.groups[0].state.live.segments[1].Meta().ID))
	f, err := fs.OpenReadWrite(path, vfs.WriteCategoryUnspecified)
	if err != nil {
		t.Fatal(err)
	}
	var b [1]byte
	if _, err := f.ReadAt(b[:], 100); err != nil {
		t.Fatal(err)
	}
	b[0] ^= 4
	if _, err := f.WriteAt(b[:], 100); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	clock.Add(7 * 24 * int64(time.Hour/time.Millisecond))
	if n := pass(t, s); n != 3 {
		t.Errorf("%d segments were read", n)
	}
	if st := s.Stats(); st.CorruptNow != 1 {
		t.Errorf("%d corrupt segments", st.CorruptNow)
	}
	if text := log.String(); strings.Count(text, "level=ERROR") != 1 || !strings.Contains(text, path) {
		t.Errorf("the log says %q", text)
	}
	if got := bodies(s, logOf(0)); len(got) != 1 {
		t.Errorf("another segment does not answer: %q", got)
	}
}

func TestScrubCanBeTurnedOff(t *testing.T) {
	var clock atomic.Int64
	clock.Store(1000)
	s := scrubbedStore(t, vfs.NewMem(), &clock, &bytes.Buffer{}, 1)
	defer mustClose(t, s)
	s.cfg.ScrubBytesPerSecond = -1
	clock.Add(1 << 50)
	if n := pass(t, s); n != 0 {
		t.Errorf("%d segments were read", n)
	}
}

func TestDamagedProgressOfTheScrubIsNoHindrance(t *testing.T) {
	var clock atomic.Int64
	clock.Store(1000)
	fs := vfs.NewMem()
	mustClose(t, scrubbedStore(t, fs, &clock, &bytes.Buffer{}, 1))
	const week = 7 * 24 * int64(time.Hour/time.Millisecond)
	for _, text := range []string{"", "x", `{"version":9}`, `{"version":1,"checked":{"1":99999999999999}}`} {
		replaceFile(t, fs, "store/"+scrubName, []byte(text))
		s := scrubbedStore(t, fs, &clock, &bytes.Buffer{}, 0)
		s.scrub.load(s)
		clock.Add(week)
		if n := pass(t, s); n != 1 {
			t.Errorf("with %q %d segments were read", text, n)
		}
		mustClose(t, s)
	}
}
