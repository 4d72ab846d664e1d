package engine

import (
	"slices"
	"sync/atomic"

	"github.com/godwit-im/godwit/engine/segment"
)

// version is the live segments of a group at one moment: immutable, counted.
// Whoever pinned it may read its segments although they were merged meanwhile;
// a file goes when the last version that names it does.
type version struct {
	refs     atomic.Int64
	segments []*segment.Reader // oldest first; their generations are disjoint
}

// newVersion takes a reference of each segment. It has one reference itself.
func newVersion(segments []*segment.Reader) *version {
	v := &version{segments: segments}
	v.refs.Store(1)
	for _, s := range segments {
		s.Acquire()
	}
	return v
}

func (v *version) acquire() { v.refs.Add(1) }

func (v *version) release() {
	if v.refs.Add(-1) > 0 {
		return
	}
	for _, s := range v.segments {
		_ = s.Release() // a file that was only read, or is to be removed by the next Open
	}
}

// find returns the place of the newest segment that holds no generation above
// the given one, -1 if there is none: it is where a pointer to it leads.
func (v *version) find(generation uint32) int {
	i, _ := slices.BinarySearchFunc(v.segments, generation, func(s *segment.Reader, g uint32) int {
		return int(int64(s.Meta().FirstGeneration) - int64(g) - 1) // the first that begins after g
	})
	return i - 1
}

// with returns the segments with those of old replaced by one, or by none.
// The old ones are neighbours.
func (v *version) with(old []*segment.Reader, one *segment.Reader) []*segment.Reader {
	next := make([]*segment.Reader, 0, len(v.segments)+1)
	placed := one == nil
	for _, s := range v.segments {
		if slices.Contains(old, s) {
			if !placed {
				next, placed = append(next, one), true
			}
			continue
		}
		next = append(next, s)
	}
	if !placed {
		next = append(next, one)
	}
	return next
}
