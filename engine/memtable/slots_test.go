package memtable

import (
	"testing"

	"pgregory.net/rapid"

	"github.com/godwit-im/godwit"
)

func TestMixIsABijection(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		x := rapid.Uint64().Draw(t, "x")
		if unmix(mix(x)) != x || mix(unmix(x)) != x {
			t.Fatalf("unmix does not undo mix of %#x", x)
		}
	})
}

// TestHeadsAreAMap compares heads with a Go map, over several splits.
func TestHeadsAreAMap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var heads Heads
		model := map[godwit.LogID]Head{}
		set := func(log godwit.LogID, h Head) {
			heads.Set(log, h.Seq, h.Generation)
			model[log] = h
		}
		for range rapid.IntRange(0, 6).Draw(t, "runs") {
			log := godwit.LogID(rapid.Uint64().Draw(t, "log"))
			step := godwit.LogID(rapid.SampledFrom([]uint64{0, 1, 1 << 20, 1 << 48, 0x9e3779b97f4a7c15}).Draw(t, "step"))
			head := Head{
				Seq:        godwit.Seq(rapid.Uint64Range(1, uint64(SeqMax)).Draw(t, "seq")),
				Generation: rapid.Uint32Range(0, GenerationMax).Draw(t, "generation"),
			}
			for range rapid.SampledFrom([]int{1, 3, 100, 20_000}).Draw(t, "n") {
				set(log, head)
				log += step
			}
		}
		if heads.Len() != len(model) {
			t.Fatalf("%d logs, want %d", heads.Len(), len(model))
		}
		for log, want := range model {
			seq, generation, ok := heads.Get(log)
			if !ok || seq != want.Seq || generation != want.Generation {
				t.Fatalf("head of %x is %d, %d (%v), want %v", log, seq, generation, ok, want)
			}
		}
		seen := 0
		for log, head := range heads.All() {
			if model[log] != head {
				t.Fatalf("All: head of %x is %v, want %v", log, head, model[log])
			}
			seen++
		}
		if seen != len(model) {
			t.Fatalf("All yields %d logs, want %d", seen, len(model))
		}
		if _, _, ok := heads.Get(godwit.LogID(rapid.Uint64().Draw(t, "stranger"))); ok && len(model) == 0 {
			t.Fatal("an empty table has a head")
		}
	})
}
