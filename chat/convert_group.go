package chat

import (
	"cmp"
	"slices"
	"sync"

	"github.com/godwit-im/godwit"
)

// groupReader shows records of a group's log. Which, is its caller's matter; what
// became of them it shows as far as the reader's memberships go.
type groupReader struct {
	ids      messageIDs
	id       godwit.GroupID
	log      godwit.LogID
	revised  bool // some messages of it were edited or recalled
	member   memberRow
	all      bool // members see what came before they joined
	key      []byte
	overlays []overlay
}

// open finds what has to be known of the group before its records are read. A
// dissolved one is read like any other: what was a member's stays his.
func (g *groupReader) open(v View, id godwit.GroupID) (row groupRow, ok bool) {
	g.key = appendGroupKey(g.key[:0], bytesOf(id))
	value, have := v.Get(g.key)
	if have && !row.parse(value) {
		return row, false
	}
	g.id, g.log, g.revised = id, row.logID(bytesOf(id)), row.overlays > 0
	g.member, g.all = memberRow{}, row.flags&groupHistoryAll != 0
	return row, true
}

// reveals tells whether an overlay may be shown. An edit that lies in none of the
// reader's memberships is not his to see: the message stays as it was written,
// and edits that he may see stand where they were. A recall is for everybody.
func (g *groupReader) reveals(o *overlayRow) bool {
	return o.isRecalled() || g.member.maySee(o.last, g.all)
}

// page appends records as entries, one for each.
func (g *groupReader) page(v View, records []godwit.Record, dst []godwit.Entry) (_ []godwit.Entry, ok bool) {
	start := len(dst)
	g.overlays = g.overlays[:0]
	for i := range records {
		dst = append(dst, godwit.Entry{})
		e := &dst[len(dst)-1]
		var md meta
		if g.ids.groupEntry(e, &md, g.id, g.log, &records[i]) != shownEntry {
			return dst, false
		}
		if !g.revised || e.Kind == godwit.EntryGroup {
			continue
		}
		seq := records[i].Seq
		if md.hasOrigin() {
			seq = md.originSeq
		}
		g.key = appendGroupOverlayKey(g.key[:0], bytesOf(g.id), seq)
		if row, have := v.Get(g.key); have {
			o := overlay{at: i}
			if !o.row.parse(row) {
				return dst, false
			}
			if g.reveals(&o.row) {
				g.overlays = append(g.overlays, o)
			}
		}
	}
	return dst, applyOverlays(v, g.log, g.overlays, dst[start:])
}

// resolve fills in the entries of a page that stand in groups' logs. A log's
// owner may see all that pointers in it name: fan-out gave them to him as a
// member. What is gone from the group's log is a skip. The worker's view is
// another one after it.
func (w *readWorker) resolve(user godwit.UserID, entries []godwit.Entry, pointers []pointer) *godwit.Error {
	place := func(log godwit.LogID) int {
		if g := w.service.cfg.Store.Group(log.Partition()); g != w.group {
			return g
		}
		return -1 // first comes what is in the view that is open
	}
	slices.SortFunc(pointers, func(a, b pointer) int {
		return cmp.Or(cmp.Compare(place(a.log), place(b.log)), cmp.Compare(a.log, b.log), cmp.Compare(a.gseq, b.gseq))
	})
	for len(pointers) > 0 {
		log := pointers[0].log
		n := 1
		for n < len(pointers) && pointers[n].log == log {
			n++
		}
		if pointers[0].group != "" {
			if refusal := w.resolveLog(user, entries, pointers[:n]); refusal != nil {
				return refusal
			}
		}
		pointers = pointers[n:]
	}
	return nil
}

// resolveLog fills in the entries of one group's log, which ascend.
func (w *readWorker) resolveLog(user godwit.UserID, entries []godwit.Entry, run []pointer) *godwit.Error {
	log := run[0].log
	v := w.open(w.service.cfg.Store.Group(log.Partition()))
	g := &w.reader
	g.ids = *w.service.ids.Load()
	if _, ok := g.open(v, run[0].group); !ok || g.log != log {
		return w.damaged(log, run[0].gseq)
	}
	if g.revised {
		g.member, _ = memberOf(v, bytesOf(g.id), bytesOf(user))
	}
	from, to := run[0].gseq, run[len(run)-1].gseq
	if v.Head(log) < to {
		return godwit.ErrUnavailable // this replica is behind the one that fanned it out
	}
	w.referred = w.referred[:0]
	if span := uint64(to - from + 1); span <= 2*uint64(len(run)) {
		w.referred = v.Since(log, from-1, int(span), pointedBytesMax, w.referred)
	}
	if n := len(w.referred); n == 0 || w.referred[n-1].Seq < to {
		w.referred = w.referred[:0]
		for _, p := range slices.Backward(run) { // downwards is how the log is walked
			if r, ok := v.Entry(log, p.gseq); ok {
				w.referred = append(w.referred, r)
			}
		}
		slices.Reverse(w.referred)
	}
	var ok bool
	if w.shown, ok = g.page(v, w.referred, w.shown[:0]); !ok {
		return w.damaged(log, from)
	}
	i := 0
	for _, p := range run {
		for i < len(w.referred) && w.referred[i].Seq < p.gseq {
			i++
		}
		if i == len(w.referred) || w.referred[i].Seq != p.gseq || w.shown[i].IsSkip() {
			continue
		}
		own := entries[p.at].Seq
		entries[p.at] = w.shown[i]
		entries[p.at].Seq = own
	}
	clear(w.referred)
	return nil
}

// pointedBytesMax bounds what is read at once of a group's log.
const pointedBytesMax = 8 << 20

func (w *readWorker) damaged(log godwit.LogID, seq godwit.Seq) *godwit.Error {
	w.service.cfg.Logger.Error("stored record does not parse", "log", uint64(log), "seq", seq)
	return godwit.ErrInternal
}

// groupNames remembers which groups logs are of: a pointer names only the log, and
// the owner's rows, which know, are keyed by the group. It never changes.
type groupNames struct {
	mu    sync.RWMutex
	names map[godwit.LogID]godwit.GroupID
}

// groupNamesMax bounds the groups remembered. Overflow: all are forgotten, and
// looked up again where needed.
const groupNamesMax = 1 << 16

func (n *groupNames) of(log godwit.LogID) godwit.GroupID {
	n.mu.RLock()
	defer n.mu.RUnlock()
	return n.names[log]
}

func (n *groupNames) put(log godwit.LogID, group godwit.GroupID) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.names == nil || len(n.names) >= groupNamesMax {
		n.names = map[godwit.LogID]godwit.GroupID{}
	}
	n.names[log] = group
}

// name finds the groups of pointers. One that the user's rows do not know stays
// without a name, and its entry a skip.
func (w *readWorker) name(v View, user godwit.UserID, pointers []pointer) {
	names, looked := &w.service.groupNames, false
	for i := range pointers {
		p := &pointers[i]
		if p.group = names.of(p.log); p.group != "" || looked {
			continue
		}
		looked = true
		eachGroup(v, user, func(id []byte, c *conversationRow) bool {
			names.put(c.groupLog, godwit.GroupID(id))
			return true
		})
		p.group = names.of(p.log)
	}
}

// eachGroup calls fn with the groups among a user's conversations until it returns
// false; what it gets dies with the call. ok is false where a row does not parse.
func eachGroup(v View, user godwit.UserID, fn func(id []byte, c *conversationRow) bool) (ok bool) {
	prefix := append(appendOwnedPrefix(nil, user.Partition(), rowConversation, bytesOf(user)), groupPrefix...)
	ok = true
	v.Scan(prefix, func(key, value []byte) bool {
		var c conversationRow
		if ok = c.parse(value); !ok {
			return false
		}
		return c.groupLog == 0 || fn(key[len(prefix):], &c)
	})
	return ok
}
