package tikv

import (
	"testing"
	"time"
)

func TestBreakerOpensAfterFailuresInARow(t *testing.T) {
	f := func(name string, verdicts []verdict, every time.Duration, want State) {
		t.Helper()
		now := time.Unix(1000, 0)
		b := newBreaker(3, 10*time.Second)
		b.probed(true, now)
		for _, v := range verdicts {
			now = now.Add(every)
			b.report(v, now)
		}
		if b.get() != want {
			t.Errorf("%s: %v, want %v", name, b.get(), want)
		}
		if tripped := len(b.tripped) == 1; tripped != (want == BreakerOpen) {
			t.Errorf("%s: tripped is %v", name, tripped)
		}
	}
	f("nothing", nil, 0, BreakerClosed)
	f("three in a row", []verdict{sick, sick, sick}, time.Second, BreakerOpen)
	f("two in a row", []verdict{sick, sick}, time.Second, BreakerClosed)
	f("two in a row, and a long time", []verdict{sick, sick}, 6*time.Second, BreakerOpen)
	f("one after a long time", []verdict{sick}, time.Hour, BreakerClosed)
	f("a success between", []verdict{sick, sick, healthy, sick, sick}, time.Second, BreakerClosed)
	f("nothing said between", []verdict{sick, sick, silent, sick}, time.Second, BreakerOpen)
	f("nothing said at all", []verdict{silent, silent, silent, silent}, time.Hour, BreakerClosed)
}

func TestOnlyAProbeClosesTheBreaker(t *testing.T) {
	b := newBreaker(1, time.Hour)
	if b.get() != BreakerOpen {
		t.Fatal("a store of which nothing is known is asked")
	}
	now := time.Unix(1000, 0)
	b.report(healthy, now)
	b.probing()
	if b.closed() {
		t.Error("closed by a call")
	}
	b.probed(false, now)
	if b.get() != BreakerOpen || b.openedTimes() != 0 {
		t.Errorf("a failed probe leaves it %v, opened %d times", b.get(), b.openedTimes())
	}
	b.probed(true, now)
	b.report(sick, now)
	b.report(sick, now) // a late one
	if b.get() != BreakerOpen || b.openedTimes() != 1 {
		t.Errorf("%v, opened %d times", b.get(), b.openedTimes())
	}
}
