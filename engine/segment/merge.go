package segment

import (
	"fmt"
	"slices"

	"github.com/godwit-im/godwit"
)

// Merge writes the segments sources, oldest first, as one: every entry keep
// accepts (nil: all), every head, and per log the oldest source's pointer out of
// the range. m is as for Create. throttle (may be nil) is told of bytes read and
// written; its error ends the merge. The sources stay as they are.
func Merge(cfg Config, m Meta, sources []*Reader, keep func(godwit.LogID, *godwit.Record) bool, throttle func(bytes int) error) (Meta, error) {
	w, err := Create(cfg, m)
	if err != nil {
		return Meta{}, err
	}
	defer w.Abort()
	g := merger{w: w, keep: keep, throttle: throttle}
	for _, r := range sources {
		g.add(r)
	}
	for g.err == nil && g.log() {
		g.run()
	}
	if g.err == nil {
		g.verify(sources)
	}
	if g.err != nil {
		return Meta{}, fmt.Errorf("merge into segment %d: %w", m.ID, g.err)
	}
	made, err := w.Finish()
	if err != nil {
		return Meta{}, fmt.Errorf("merge into segment %d: %w", m.ID, err)
	}
	return made, nil
}

// merger is one merge under way: a scanner per source, each at a run or at its end.
type merger struct {
	w        *Writer
	keep     func(godwit.LogID, *godwit.Record) bool
	throttle func(bytes int) error
	scans    []*Scanner
	ended    int64 // bytes read by scanners that are done
	told     int64 // bytes throttle knows of
	next     godwit.LogID
	dropped  uint64
	err      error
}

func (g *merger) add(r *Reader) {
	s := r.Scan()
	if s.NextRun() {
		g.scans = append(g.scans, s)
	} else if g.err == nil {
		g.err = s.Err()
	}
}

// log finds the least log of all sources.
func (g *merger) log() bool {
	for i, s := range g.scans {
		if i == 0 || s.log < g.next {
			g.next = s.log
		}
	}
	return len(g.scans) > 0
}

// run writes the run of the log from every source that has it.
func (g *merger) run() {
	older, head, found := uint32(0), godwit.Seq(0), false
	for _, s := range g.scans {
		if s.log != g.next {
			continue
		}
		if head = max(head, s.head); !found {
			older, found = s.older, true
		}
	}
	if g.err = g.w.AddHead(g.next, head, older); g.err != nil {
		return
	}
	for i, s := range g.scans {
		if s.log != g.next {
			continue
		}
		if g.copy(s, older); g.err != nil {
			return
		}
		if !s.NextRun() {
			if g.err = s.Err(); g.err != nil {
				return
			}
			g.ended += s.read()
			g.scans[i] = nil
		}
	}
	g.scans = slices.DeleteFunc(g.scans, func(s *Scanner) bool { return s == nil })
	g.tell()
}

func (g *merger) copy(s *Scanner, older uint32) {
	for s.Next() {
		if s.entries%1024 == 0 {
			if g.tell(); g.err != nil {
				return
			}
		}
		if g.keep != nil && !g.keep(s.log, &s.record) {
			g.dropped++
			continue
		}
		if g.err = g.w.Add(s.log, older, &s.record); g.err != nil {
			return
		}
	}
	g.err = s.Err()
}

// tell reports to throttle, a quarter of a read at least.
func (g *merger) tell() {
	if g.throttle == nil {
		return
	}
	done := g.ended + g.w.offset()
	for _, s := range g.scans {
		if s != nil { // nil: ended in this round
			done += s.read()
		}
	}
	if n := done - g.told; n >= readBytes/4 {
		g.told = done
		g.err = g.throttle(int(n))
	}
}

// verify counts: what was read is written or was dropped.
func (g *merger) verify(sources []*Reader) {
	want := uint64(0)
	for _, r := range sources {
		want += r.meta.Entries
	}
	if got := g.w.meta.Entries + g.dropped; got != want {
		g.err = fmt.Errorf("%w: %d entries came out of %d", ErrCorrupt, got, want)
	}
}
