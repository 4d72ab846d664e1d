package edge

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// TestWheelFiresLikeAMap compares the wheel with a map of due times, across the
// wrap-around of ticks.
func TestWheelFiresLikeAMap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		now := rapid.SampledFrom([]uint32{0, 1, 77, 1<<32 - 5, 1<<32 - 300}).Draw(t, "now")
		w := wheel{now: now}
		w.grow(8)
		due := map[uint32]uint32{}
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			slot := rapid.Uint32Range(0, 7).Draw(t, "slot")
			switch rapid.IntRange(0, 3).Draw(t, "step") {
			case 0, 1:
				at := now + rapid.Uint32Range(0, 300).Draw(t, "ahead")
				w.set(slot, at)
				due[slot] = now + min(max(at-now, 1), wheelBuckets-1)
			case 2:
				w.cancel(slot)
				delete(due, slot)
			case 3:
				now += rapid.SampledFrom([]uint32{0, 1, 2, 40, 255, 256, 700}).Draw(t, "pass")
				var want []uint32
				for slot, at := range due {
					if int32(now-at) >= 0 {
						want = append(want, slot)
						delete(due, slot)
					}
				}
				got := w.advance(now, nil)
				slices.Sort(got)
				slices.Sort(want)
				if !slices.Equal(got, want) {
					t.Fatalf("at %d fired %v, want %v", now, got, want)
				}
			}
		}
	})
}
