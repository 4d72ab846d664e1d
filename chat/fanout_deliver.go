package chat

import (
	"slices"

	"github.com/godwit-im/godwit"
)

// arrived tells sessions, and senders who wait for it, what members' logs got in
// a batch. Called from a flush; it does not block.
func (f *fanouts) arrived(e *effects, scratch *flushScratch) {
	for i := range e.owns {
		f.answerOwn(&e.owns[i], scratch)
	}
	for i := range e.fanouts {
		f.deliver(&e.fanouts[i], scratch)
	}
}

// deliver hands the members' sessions the entries themselves, if they are still
// kept, else says that there are some.
func (f *fanouts) deliver(e *fanoutEffect, scratch *flushScratch) {
	ids := f.service.ids.Load()
	if ids == nil {
		return
	}
	var kept []fanEntry
	f.mu.Lock()
	if g := f.groups[string(e.conv[2:])]; g != nil && g.log == e.log {
		kept = g.entries
	}
	f.mu.Unlock()
	for i := range e.recipients {
		r := &e.recipients[i]
		scratch.sessions = f.service.cfg.Router.Sessions(userOf(r.user), scratch.sessions[:0])
		if len(scratch.sessions) == 0 {
			continue
		}
		at, _ := slices.BinarySearchFunc(kept, r.gseq, func(e fanEntry, t godwit.Seq) int {
			return int(min(max(int64(e.seq)-int64(t), -1), 1))
		})
		for n := range r.count {
			gseq, seq := r.gseq+godwit.Seq(n), r.seq+godwit.Seq(n)
			if at+n >= len(kept) || kept[at+n].seq != gseq || !f.entry(&scratch.entry, ids, e.log, &kept[at+n]) {
				f.service.cfg.Edge.Hint(scratch.sessions, r.seq+godwit.Seq(r.count-1))
				break
			}
			scratch.entry.Seq = seq
			f.service.cfg.Edge.Deliver(scratch.sessions, &scratch.entry)
		}
	}
}

// entry makes what clients see of a message; false for what only readers make.
func (f *fanouts) entry(to *godwit.Entry, ids *messageIDs, log godwit.LogID, e *fanEntry) bool {
	if e.flags&fanCounts == 0 {
		return false
	}
	b, ok := parseBlock(e.record.Body)
	if !ok {
		return false
	}
	*to = godwit.Entry{GSeq: e.seq}
	b.message(&to.Msg, false, e.time)
	ids.make(&to.Msg.MID, log, e.seq)
	return true
}
