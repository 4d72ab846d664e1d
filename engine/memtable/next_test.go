package memtable

import "testing"

func TestNextTakesSequencesAndTellsTheGenerationBefore(t *testing.T) {
	var h Heads
	f := func(generation uint32, wantSeq, wantBefore uint64) {
		t.Helper()
		if seq, before := h.Next(7, generation); uint64(seq) != wantSeq || uint64(before) != wantBefore {
			t.Errorf("sequence %d after generation %d, want %d after %d", seq, before, wantSeq, wantBefore)
		}
		if seq, now, ok := h.Get(7); uint64(seq) != wantSeq || now != generation || !ok {
			t.Errorf("head %d of generation %d", seq, now)
		}
	}
	f(3, 1, 0)
	f(3, 2, 3)
	f(GenerationMax, 3, 3)
	if h.Len() != 1 {
		t.Errorf("%d logs", h.Len())
	}
}
