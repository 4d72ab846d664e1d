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
	kept := fanKept{ids: ids, group: stringOf[godwit.GroupID](e.conv[2:]), log: e.log, made: scratch.made[:0]}
	f.mu.Lock()
	if g := f.groups[string(e.conv[2:])]; g != nil && g.log == e.log {
		kept.entries = g.entries
	}
	f.mu.Unlock()
	pointers := 0
	for i := range e.recipients {
		r := &e.recipients[i]
		pointers += r.count
		scratch.sessions = f.service.cfg.Router.Sessions(userOf(r.user), scratch.sessions[:0])
		if len(scratch.sessions) == 0 {
			continue
		}
		for n := range r.count {
			entry := kept.entry(r.gseq + godwit.Seq(n))
			if entry == nil {
				f.service.cfg.Edge.Hint(scratch.sessions, r.seq+godwit.Seq(r.count-1))
				break
			}
			entry.Seq = r.seq + godwit.Seq(n)
			f.service.cfg.Edge.Deliver(scratch.sessions, entry)
		}
	}
	f.counters.pointers.Add(uint64(pointers))
	clear(kept.made)
	scratch.made = kept.made[:0]
}

// fanKept makes what clients see of entries, each once for all recipients.
type fanKept struct {
	ids     *messageIDs
	group   godwit.GroupID
	log     godwit.LogID
	entries []fanEntry // ascending
	first   int        // of them, the one that made begins with
	made    []godwit.Entry
}

// entry returns an entry of the group's log, which is valid until the next call
// and has no Seq; nil: it is not kept.
func (k *fanKept) entry(gseq godwit.Seq) *godwit.Entry {
	if len(k.made) == 0 {
		k.first = searchEntries(k.entries, gseq)
	}
	at := k.first
	if at < len(k.entries) && k.entries[at].seq <= gseq {
		at += int(min(gseq-k.entries[at].seq, fanBufferEntriesMax))
	}
	if at >= len(k.entries) || k.entries[at].seq != gseq {
		if at = searchEntries(k.entries, gseq); at == len(k.entries) || k.entries[at].seq != gseq {
			return nil
		}
	}
	if at < k.first {
		k.first, k.made = at, k.made[:0] // a late one is behind: begin again
	}
	for len(k.made) <= at-k.first {
		k.made = append(k.made, godwit.Entry{})
	}
	e := &k.made[at-k.first]
	if e.GSeq == gseq {
		return e
	}
	var md meta
	if k.ids.groupEntry(e, &md, k.group, k.log, &k.entries[at].record) != shownEntry {
		return nil
	}
	return e
}

// searchEntries finds the first entry from gseq on.
func searchEntries(entries []fanEntry, gseq godwit.Seq) int {
	at, _ := slices.BinarySearchFunc(entries, gseq, func(e fanEntry, t godwit.Seq) int {
		return int(min(max(int64(e.seq)-int64(t), -1), 1))
	})
	return at
}
