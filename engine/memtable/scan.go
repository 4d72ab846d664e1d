package memtable

import (
	"iter"
	"slices"

	"github.com/godwit-im/godwit"
)

// sectionRecords is how many records a scan finds at once by walking back from
// the last of them.
const sectionRecords = 128

// Since appends to dst the entries of log after a sequence, ascending: up to
// limit entries and bytesMax bytes of Meta and Body, but at least one if there
// is one.
func (t *Table) Since(log godwit.LogID, after godwit.Seq, limit, bytesMax int, dst []godwit.Record) []godwit.Record {
	newest, n := splitHead(t.heads.get(uint64(log)))
	if n == 0 {
		return dst
	}
	head := t.header(newest).seq()
	if after >= head {
		return dst
	}
	from := uint32(1)
	if behind := head - after; behind < godwit.Seq(n) {
		from = n - uint32(behind) + 1
	}
	end := n
	if limit = max(limit, 1); uint64(limit) < uint64(n-from)+1 {
		end = from + uint32(limit) - 1
	}
	start := len(dst)
	var refs [sectionRecords]ref
	for from <= end {
		section := t.section(refs[:], newest, n, from, end)
		for _, r := range section {
			h := t.header(r)
			if bytesMax -= h.metaBytes() + h.bodyBytes(); bytesMax < 0 && len(dst) > start {
				return dst
			}
			dst = append(dst, t.record(r))
		}
		from += uint32(len(section))
	}
	return dst
}

// section fills refs with the records number from to end, as many as it takes,
// ascending. Record n is at newest.
func (t *Table) section(refs []ref, newest ref, n, from, end uint32) []ref {
	if room := uint32(len(refs)); end-from >= room {
		end = from + room - 1
	}
	refs = refs[:end-from+1]
	r := t.seek(newest, n, end)
	for i := len(refs) - 1; ; i-- {
		refs[i] = r
		if i == 0 {
			return refs
		}
		r = t.header(r).older()
	}
}

// All yields the logs, ascending, and the records of each, ascending. A log's
// records can be had until the next log comes.
func (t *Table) All() iter.Seq2[godwit.LogID, iter.Seq[godwit.Record]] {
	return func(yield func(godwit.LogID, iter.Seq[godwit.Record]) bool) {
		logs := make([]godwit.LogID, 0, t.heads.n)
		for key := range t.heads.all() {
			logs = append(logs, godwit.LogID(key))
		}
		slices.Sort(logs)
		var newest ref
		var n uint32
		refs := make([]ref, 4096)
		records := func(yield func(godwit.Record) bool) {
			for from := uint32(1); from <= n; {
				section := t.section(refs, newest, n, from, n)
				for _, r := range section {
					if !yield(t.record(r)) {
						return
					}
				}
				from += uint32(len(section))
			}
		}
		for _, log := range logs {
			newest, n = splitHead(t.heads.get(uint64(log)))
			if !yield(log, records) {
				return
			}
		}
	}
}

// Backward yields the records of log, newest first.
func (t *Table) Backward(log godwit.LogID) iter.Seq[godwit.Record] {
	return func(yield func(godwit.Record) bool) {
		newest, _ := splitHead(t.heads.get(uint64(log)))
		for r := newest; r != 0; r = t.header(r).older() {
			if !yield(t.record(r)) {
				return
			}
		}
	}
}
