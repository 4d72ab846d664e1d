package chat

import (
	"slices"

	"github.com/godwit-im/godwit"
)

// fanPlace is an entry of a group's log.
type fanPlace struct {
	log  godwit.LogID
	gseq godwit.Seq
}

// storedSend is a message to a group that is stored, and whose answer waits for
// its place in the sender's own log. It is answered by whoever claims it: the
// place, the deadline or Close; the last two know only that it is stored.
type storedSend struct {
	request
	place fanPlace
	reply godwit.SendReply // without Seq
}

// stored takes over the answer to a send that is in its group's log and waits for
// its pointer in the sender's. Called from a flush, before the fan-out knows the
// entry. Those who wait are as many as requests, which the edge bounds.
func (f *fanouts) stored(r *request, user godwit.UserID, o *outcome) {
	w := &storedSend{place: fanPlace{o.log, o.gseq}, reply: godwit.SendReply{
		State: godwit.StateStored, GSeq: o.gseq, Conv: godwit.ConversationID(o.conv), Time: o.time, Dup: o.dup,
	}}
	f.service.ids.Load().make(&w.reply.MID, o.log, o.gseq)
	f.mu.Lock()
	under := len(f.waiting[w.place]) > 0
	f.waiting[w.place] = append(f.waiting[w.place], w)
	f.mu.Unlock()
	if !f.service.deadlines.replace(r, &w.request, w) {
		f.forgetStored(w) // answered meanwhile
		return
	}
	if o.dup && !under {
		f.findOwn(w, user)
	}
}

// answer writes the reply of a claimed request.
func (f *fanouts) answer(w *storedSend, seq godwit.Seq, frame *godwit.ServerFrame) {
	*frame = godwit.ServerFrame{ID: w.id, Kind: godwit.KindSend, Send: w.reply}
	frame.Send.Seq = seq
	f.service.cfg.Edge.Reply(w.session, frame)
}

// answerOwn: a message is in its sender's log.
func (f *fanouts) answerOwn(e *ownEffect, scratch *flushScratch) {
	place := fanPlace{e.log, e.gseq}
	f.mu.Lock()
	waiting := f.waiting[place]
	delete(f.waiting, place)
	f.mu.Unlock()
	for _, w := range waiting {
		if f.service.deadlines.claim(&w.request) {
			f.answer(w, e.seq, &scratch.frame)
		}
	}
}

// expired: the deadline came first.
func (f *fanouts) expired(w *storedSend) {
	f.forgetStored(w)
	f.answer(w, 0, new(godwit.ServerFrame))
}

func (f *fanouts) forgetStored(w *storedSend) {
	f.mu.Lock()
	defer f.mu.Unlock()
	waiting := slices.DeleteFunc(f.waiting[w.place], func(other *storedSend) bool { return other == w })
	if f.waiting[w.place] = waiting; len(waiting) == 0 {
		delete(f.waiting, w.place)
	}
}

// ownSteps bounds the pointers that are looked at to find one's own message, in
// pages of ownPage.
const (
	ownSteps = 1000
	ownPage  = 100
)

// findOwn answers a repeated send with the place that the first one got.
func (f *fanouts) findOwn(w *storedSend, user godwit.UserID) {
	f.service.startRead(&read{
		request: request{session: w.session, what: requestTrim}, user: user,
		do: func(r *read, rw *readWorker, v View) answer {
			seq := rw.ownSeq(v, r.user, []byte(w.reply.Conv), w.place)
			if f.service.deadlines.claim(&w.request) {
				f.forgetStored(w)
				f.answer(w, seq, &rw.frame)
			}
			return answerNone
		},
	})
}

// ownSeq walks a group's pointers in a user's log back to the one of an entry, as
// far as the bound; 0: not found.
func (w *readWorker) ownSeq(v View, user godwit.UserID, conv []byte, place fanPlace) godwit.Seq {
	u, refusal := userOfView(v, user)
	var row conversationRow
	value, ok := v.Get(appendConversationKey(nil, user.Partition(), bytesOf(user), conv))
	if refusal != nil || !ok || !row.parse(value) || row.groupLog != place.log {
		return 0
	}
	page := godwit.Page{Newest: row.last, Limit: ownPage, BytesMax: 1 << 20}
	for range ownSteps / ownPage {
		records, more := v.Conversation(u.logID(user), uint32(row.number), page, w.records[:0])
		w.records = records
		for i := len(records) - 1; i >= 0; i-- {
			var md meta
			if !md.parse(records[i].Meta) || md.kind != recordPointer || md.origin != place.log {
				continue
			}
			if md.originSeq <= place.gseq {
				if md.originSeq == place.gseq {
					return records[i].Seq
				}
				return 0
			}
		}
		if !more || len(records) == 0 {
			return 0
		}
		page.Before = records[0].Seq
	}
	return 0
}
