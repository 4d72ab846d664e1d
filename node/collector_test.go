package node

import (
	"log/slog"
	"runtime"
	"slices"
	"testing"
	"time"
)

const mib = 1 << 20

// load gives a pacer a second of one rate after another, the same bytes alive, and
// returns the percent after each.
func load(p *pacer, alive uint64, mibPerSecond ...uint64) (percents []int) {
	s := p.last
	if s.at.IsZero() {
		s.at = time.Unix(1_000_000, 0)
		p.next(s)
	}
	for _, rate := range mibPerSecond {
		s.at, s.allocated, s.alive = s.at.Add(time.Second), s.allocated+rate*mib, alive
		percent, _ := p.next(s)
		percents = append(percents, percent)
	}
	return percents
}

func newPacer(roomMax uint64) *pacer { return &pacer{roomMax: roomMax, percent: percentDefault} }

func TestThePercentFollowsTheLoad(t *testing.T) {
	f := func(name string, roomMax, alive, rate uint64, want int) {
		t.Helper()
		if got := load(newPacer(roomMax*mib), alive*mib, rate); got[0] != want {
			t.Errorf("%s: %d percent, want %d", name, got[0], want)
		}
	}
	f("nothing is done", 256, 40, 0, 50)
	f("little is done", 256, 40, 12, 50)
	f("as much as suits Go's percent", 256, 40, 24, 100)
	f("much is done", 256, 40, 48, 200)
	f("more than enough is done", 256, 40, 200, 400)
	f("a small heap has room for a second", 256, 8, 16, 200)
	f("and up to 64 MiB", 256, 8, 300, 800)
	f("a heap smaller than Go's smallest", 256, 1, 20, 500)
	f("no heap at all", 256, 0, 1000, 1600)
	f("garbage is bounded", 256, 128, 200, 200)
	f("but may be as much as is alive", 256, 1024, 200, 100)
	f("even when the budget is small", 8, 40, 200, 100)
	f("which bounds a small heap, too", 32, 16, 200, 200)
	f("a large heap at rest", 256, 4096, 1, 50)
	f("an unreal rate", 256, 40, 1<<40, 400)
}

func TestAHeapIsGivenRoomAtOnceAndLosesItBySeconds(t *testing.T) {
	want := []int{400, 200, 100, 50, 50, 400, 200, 400}
	if got := load(newPacer(256*mib), 40*mib, 96, 0, 0, 0, 0, 96, 0, 96); !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

func TestSmallChangesOfTheLoadChangeNothing(t *testing.T) {
	p := newPacer(256 * mib)
	want := []int{200, 200, 200, 200, 200, 258}
	if got := load(p, 40*mib, 48, 58, 40, 38, 60, 62); !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	// Beside the quiet percent, too, which is taken exactly when it is wanted.
	p = newPacer(256 * mib)
	want = []int{66, 66, 50, 50, 50, 66}
	if got := load(p, 40*mib, 16, 13, 7, 13, 14, 16); !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

func TestWhenTheLoadEndsOneCycleIsRun(t *testing.T) {
	f := func(name string, used uint64, want int) {
		t.Helper()
		p, cycles := newPacer(256*mib), 0
		s := heapSample{at: time.Unix(1_000_000, 0), alive: 40 * mib, used: used}
		for i := range 30 {
			if i > 0 && i < 4 {
				s.allocated += 100 * mib
			}
			if _, cycle := p.next(s); cycle {
				cycles++
			}
			s.at = s.at.Add(time.Second)
		}
		if p.percent != percentQuiet || cycles != want {
			t.Errorf("%s: %d percent and %d cycles, want %d", name, p.percent, cycles, want)
		}
	}
	f("garbage is left", 150*mib, 1)
	f("Go has just collected", 50*mib, 0)
	f("as much as the quiet percent allows", 60*mib, 0)
}

func TestAClockThatStandsStillDecidesNothing(t *testing.T) {
	p := newPacer(256 * mib)
	s := heapSample{at: time.Unix(1_000_000, 0), alive: 40 * mib}
	for range 3 {
		if percent, cycle := p.next(s); percent != percentDefault || cycle {
			t.Errorf("%d percent, cycle %t", percent, cycle)
		}
		s.allocated += 1 << 30
	}
	s.at = s.at.Add(-time.Hour)
	if percent, _ := p.next(s); percent != percentDefault {
		t.Errorf("%d percent after the clock went back", percent)
	}
	if got := load(p, 40*mib, 48); got[0] != 200 {
		t.Errorf("%d percent afterwards", got[0])
	}
}

func TestTheCollectorIsToldOfChangesOnlyAndLeftAsItWas(t *testing.T) {
	var set []int
	cycles, seconds, allocated := 0, 0, uint64(0)
	t.Setenv("GOGC", "") // whatever the tests are run with
	c := newCollector(0, slog.New(slog.DiscardHandler))
	c.set = func(percent int) { set = append(set, percent) }
	c.cycle = func() { cycles++ }
	c.read = func() heapSample {
		if seconds++; seconds == 3 || seconds == 4 {
			allocated += 96 * mib
		}
		return heapSample{at: time.Unix(int64(seconds), 0), allocated: allocated, alive: 40 * mib, used: 100 * mib}
	}
	ticks := make(chan time.Time)
	c.start(ticks)
	for range 12 {
		ticks <- time.Time{}
	}
	c.close()
	c.close()
	if want := []int{50, 400, 200, 100, 50, 100}; !slices.Equal(set, want) || seconds != 12 || cycles != 2 {
		t.Errorf("%d looks: percents %v and %d cycles; want %v and 2: at the start and when the load ended", seconds, set, cycles, want)
	}
}

func TestGOGCInTheEnvironmentWins(t *testing.T) {
	t.Setenv("GOGC", "80")
	c := newCollector(1<<30, slog.New(slog.DiscardHandler))
	if c != nil {
		t.Error("a collector of our own beside GOGC")
	}
	c.start(nil)
	c.close()
	t.Setenv("GOGC", "")
	if c = newCollector(1<<30, slog.New(slog.DiscardHandler)); c == nil || c.pacer.roomMax != 1<<27 {
		t.Errorf("without GOGC: %+v", c)
	}
}

func TestTheHeapIsReadAsItIs(t *testing.T) {
	read := heapReader()
	before := read()
	held := make([]byte, 16*mib)
	during := read()
	runtime.GC()
	after := read()
	runtime.KeepAlive(held)
	switch {
	case during.allocated-before.allocated < 16*mib:
		t.Errorf("allocated %d and then %d bytes", before.allocated, during.allocated)
	case during.used < 16*mib || after.used < 16*mib:
		t.Errorf("%d, then %d bytes used", during.used, after.used)
	case after.alive < 16*mib:
		t.Errorf("%d bytes alive", after.alive)
	case !before.at.Before(during.at.Add(1)):
		t.Errorf("read at %v and then at %v", before.at, during.at)
	}
}
