package main

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func TestAcknowledgementsAfterThePowerFailedDoNotCount(t *testing.T) {
	e := newEars(newModel(testSeed))
	ack := func(n uint64) *line {
		f := foundAt(n, name(1, n))
		l := &line{kind: lineAcked}
		copy(l.v[:], []uint64{testLog, f.seq, 1, n, f.hash})
		return l
	}
	propose := &line{kind: linePropose}
	copy(propose.v[:], []uint64{testLog, 1, 2})
	e.hear(propose)
	e.hear(ack(1))
	e.doubt()
	e.hear(ack(2))
	if h := e.result(); h.acked != 1 || len(h.violations) > 0 {
		t.Fatalf("%+v", h)
	}
	if bad := e.model.compare(testLog, 1, sequenceOf(1, name(1, 1))); len(bad) > 0 {
		t.Errorf("an acknowledgement that was not believed counts: %v", bad)
	}
}

func TestOnlyAWholeDumpIsJudged(t *testing.T) {
	dump := func(last ...[]byte) *ears {
		m := testModel(t)
		e := newEars(m)
		lines := [][]byte{appendLine(nil, lineInconsistent, "text"), appendLine(nil, lineHead, "", testLog, 0)}
		if err := e.listen(say(append(lines, last...)...)); err != nil {
			t.Fatal(err)
		}
		return e
	}
	if h := dump().result(); len(h.violations) > 0 || h.ready {
		t.Errorf("the power failed while the child read: %+v", h)
	}
	h := dump(appendLine(nil, lineReady, "")).result()
	if got := kindsOf(h.violations); !h.ready || !slices.Equal(got, []string{kindInconsistent, kindLost}) {
		t.Errorf("%+v", h)
	}
}

func TestALineCutShortIsNotHeard(t *testing.T) {
	e := newEars(newModel(1))
	if err := e.listen(say(appendLine(nil, linePropose, "", 1, 2, 3), []byte("p 1 2 4"))); err != nil {
		t.Fatal(err)
	}
	if h := e.result(); h.proposed != 1 {
		t.Errorf("%+v", h)
	}
}

func TestNoiseFromAChildIsAnError(t *testing.T) {
	if err := newEars(newModel(1)).listen(say([]byte("panic: x\n"))); !errors.Is(err, errLine) {
		t.Errorf("%v", err)
	}
}

// TestRealPowerLoss takes the power from a real file system: one round, a failing
// disk and both controls, about half a minute.
func TestRealPowerLoss(t *testing.T) {
	if os.Getenv("GODWIT_POWERLOSS") != "1" || os.Geteuid() != 0 {
		t.Skip("set GODWIT_POWERLOSS=1 and be root: it mounts file systems on loop devices")
	}
	o := options{Rounds: 1, Filesystems: []string{"ext4"}, Dir: os.TempDir(), Size: 256 << 20, Seed: 3}
	o.Report = filepath.Join(t.TempDir(), "report.txt")
	if code := supervise(o); code != 0 {
		t.Fatalf("exit code %d", code)
	}
	if _, err := os.Stat(o.Report); err != nil {
		t.Error(err)
	}
}
