package main

import (
	"strings"
	"testing"

	"github.com/godwit-im/godwit"
)

// exchange has user 0 send n messages which are all stored and come to both, with
// one fault planted.
func exchange(plant string, n int) findings {
	c := newChecker(2)
	p := &planted{what: plant, check: c}
	for i := range n {
		number := c.offered(0)
		c.answered(0, number, outcomeStored)
		for user := range 2 {
			p.received(user, godwit.Seq(i+1), 0, number)
		}
	}
	return c.finish()
}

func TestWhatIsKeptIsFoundGood(t *testing.T) {
	f := exchange(plantNone, 200)
	if !f.ok() || f.Sent != 200 || f.Acked != 200 || f.Delivered != 400 {
		t.Errorf("%+v", f)
	}
}

func TestEachPlantedFaultIsFound(t *testing.T) {
	f := func(plant string, want findings) {
		t.Helper()
		got := exchange(plant, 200)
		if got.Lost != want.Lost || got.Duplicated != want.Duplicated || got.Reordered != want.Reordered || got.Foreign != 0 || got.ok() {
			t.Errorf("%s: %+v", plant, got)
		}
		if len(got.Problems) != 1 {
			t.Errorf("%s: told as %q", plant, got.Problems)
		}
	}
	f(plantLose, findings{Lost: 1})
	f(plantDup, findings{Duplicated: 1})
	f(plantReorder, findings{Reordered: 1})
}

func TestAMessageWithoutAnAnswerMayComeOrNot(t *testing.T) {
	c := newChecker(2)
	c.offered(0)
	c.received(1, 1, 0, c.offered(0))
	if open, missing := c.outstanding(); open != 2 || missing != 0 {
		t.Errorf("%d open, %d missing", open, missing)
	}
	if f := c.finish(); !f.ok() || f.Delivered != 1 {
		t.Errorf("%+v", f)
	}
}

func TestWhatWasRefusedMustNotCome(t *testing.T) {
	c := newChecker(2)
	n := c.offered(0)
	c.answered(0, n, outcomeRefused)
	c.received(1, 1, 0, n)
	if f := c.finish(); f.Foreign != 1 || f.Refused != 1 || f.ok() {
		t.Errorf("%+v", f)
	}
}

func TestWhatNobodySentIsForeign(t *testing.T) {
	c := newChecker(4)
	n := c.offered(0)
	c.received(2, 1, 0, n)   // another pair's
	c.received(1, 1, 0, n+1) // not sent yet
	c.received(1, 1, 77, 0)
	if f := c.finish(); f.Foreign != 3 || f.ok() {
		t.Errorf("%+v", f)
	}
}

func TestASequenceThatGoesBackIsReordered(t *testing.T) {
	c := newChecker(2)
	a, b := c.offered(0), c.offered(1)
	c.received(0, 7, 0, a)
	c.received(0, 6, 1, b)
	if f := c.finish(); f.Reordered != 1 {
		t.Errorf("%+v", f)
	}
}

func TestALogThatCouldNotBeContinuedIsALoss(t *testing.T) {
	c := newChecker(2)
	c.broken(1, "too_far")
	if f := c.finish(); f.Lost != 1 || !strings.Contains(f.Problems[0], "too_far") {
		t.Errorf("%+v", f)
	}
}

func TestABodyIsReadAsItWasWritten(t *testing.T) {
	if s, n, at, ok := parseText([]byte(text(7, 12, 99))); !ok || s != 7 || n != 12 || at != 99 {
		t.Error(s, n, at, ok)
	}
	for _, b := range []string{"", "hello", "1 2", "1 2 x", "-1 2 3", "1 2 3 4"} {
		if _, _, _, ok := parseText([]byte(b)); ok {
			t.Errorf("%q was read", b)
		}
	}
}
