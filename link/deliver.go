package link

import (
	"encoding/binary"

	"github.com/godwit-im/godwit"
)

// The methods in this file are what the chat tier calls. They encode before they
// return, never block, and ignore sessions whose edge process is gone.

const overloaded = "overloaded"

// local returns the edge of this process if the session is one of its own.
func (h *Hub) local(s godwit.SessionID) Edge {
	if edgeOf(s) == 0 {
		return h.cfg.Local
	}
	return nil
}

// remote returns the edge process of a session, or nil.
func (h *Hub) remote(s godwit.SessionID) *attached {
	if i := edgeOf(s); i > 0 && i < len(h.edges) {
		return h.edges[i].Load()
	}
	return nil
}

// Connected opens a session.
func (h *Hub) Connected(s godwit.SessionID, w godwit.Welcome) {
	if edge := h.local(s); edge != nil {
		edge.Connected(s, w)
		return
	}
	a := h.remote(s)
	if a == nil {
		return
	}
	x := h.loose.Get().(*scratch)
	defer h.loose.Put(x)
	flags := uint64(0)
	if w.Resumed {
		flags = flagResume
	}
	if w.Channels {
		flags |= flagChannels
	}
	b := appendSession(begin(x.item[:0], itemConnected), s)
	b = appendText(binary.AppendUvarint(b, flags), w.Epoch)
	b = binary.AppendUvarint(binary.AppendUvarint(b, uint64(w.Head)), uint64(w.Start))
	x.item = binary.AppendUvarint(appendText(b, w.Reason), w.Digest)
	if !end(x.item, 0) || !a.queue.put(h.bounds.owed, x.item) {
		a.overflow(s)
	}
}

// Reply answers one request.
func (h *Hub) Reply(s godwit.SessionID, f *godwit.ServerFrame) {
	if edge := h.local(s); edge != nil {
		edge.Reply(s, f)
		return
	}
	a := h.remote(s)
	if a == nil {
		return
	}
	x := h.loose.Get().(*scratch)
	defer h.loose.Put(x)
	x.item = f.AppendTo(appendSession(begin(x.item[:0], itemReply), s), godwit.EncodingProto)
	if !end(x.item, 0) || !a.queue.put(h.bounds.owed, x.item) {
		a.overflow(s)
	}
	x.trim()
}

// overflow closes a session that was owed an answer which found no room.
func (a *attached) overflow(s godwit.SessionID) {
	a.traffic.closed.Add(1)
	a.close(s, godwit.CloseOverloaded, overloaded)
}

func (a *attached) close(s godwit.SessionID, code godwit.CloseCode, reason string) {
	var room [128]byte
	b := appendSession(begin(room[:0], itemClose), s)
	b = appendText(binary.AppendUvarint(b, uint64(code)), reason)
	end(b, 0)
	a.owe(b)
}

// Deliver shows one entry to the sessions of one user: it is encoded once and goes
// to each edge process once, whatever number of sessions that has.
func (h *Hub) Deliver(sessions []godwit.SessionID, e *godwit.Entry) {
	if h.cfg.Local != nil {
		h.deliverLocal(sessions, e)
	}
	var x *scratch
	for i, s := range sessions {
		a := h.remote(s)
		if a == nil || sameEdgeIn(sessions[:i], s) {
			continue
		}
		if x == nil {
			x = h.loose.Get().(*scratch)
			x.frame = godwit.AppendEvent(x.frame[:0], godwit.EncodingProto, e)
		}
		x.item = append(appendSessions(begin(x.item[:0], itemDeliver), sessions[i:]), x.frame...)
		if !end(x.item, 0) || !a.queue.put(h.bounds.hint, x.item) {
			a.traffic.hints.Add(1)
		}
	}
	if x != nil {
		x.trim()
		h.loose.Put(x)
	}
}

// deliverLocal hands the entry to this process's edge, without the sessions of
// others: it would take their ids for its own.
func (h *Hub) deliverLocal(sessions []godwit.SessionID, e *godwit.Entry) {
	own := 0
	for _, s := range sessions {
		if edgeOf(s) == 0 {
			own++
		}
	}
	if own == len(sessions) {
		h.cfg.Local.Deliver(sessions, e)
		return
	}
	if own == 0 {
		return
	}
	mine := make([]godwit.SessionID, 0, own)
	for _, s := range sessions {
		if edgeOf(s) == 0 {
			mine = append(mine, s)
		}
	}
	h.cfg.Local.Deliver(mine, e)
}

func sameEdgeIn(sessions []godwit.SessionID, s godwit.SessionID) bool {
	for _, other := range sessions {
		if edgeOf(other) == edgeOf(s) {
			return true
		}
	}
	return false
}

// appendSessions appends those of sessions that the edge process of the first has.
func appendSessions(dst []byte, sessions []godwit.SessionID) []byte {
	n := uint64(0)
	for _, s := range sessions {
		if edgeOf(s) == edgeOf(sessions[0]) {
			n++
		}
	}
	dst = binary.AppendUvarint(dst, n)
	for _, s := range sessions {
		if edgeOf(s) == edgeOf(sessions[0]) {
			dst = appendSession(dst, s)
		}
	}
	return dst
}

// Fetched answers one fetch.
func (h *Hub) Fetched(s godwit.SessionID, entries []godwit.Entry, head godwit.Seq, err error) {
	if edge := h.local(s); edge != nil {
		edge.Fetched(s, entries, head, err)
		return
	}
	a := h.remote(s)
	if a == nil {
		return
	}
	x := h.loose.Get().(*scratch)
	defer h.loose.Put(x)
	if err == nil {
		b := binary.AppendUvarint(appendSession(begin(x.item[:0], itemFetched), s), 0)
		b = binary.AppendUvarint(binary.AppendUvarint(b, uint64(head)), uint64(len(entries)))
		for i := range entries {
			x.frame = godwit.AppendEvent(x.frame[:0], godwit.EncodingProto, &entries[i])
			b = appendText(b, x.frame)
		}
		x.item = b
		fits := end(b, 0) && a.queue.put(h.bounds.owed, b)
		x.trim()
		if fits {
			return
		}
		a.traffic.fetches.Add(1)
	}
	x.item = appendFetchFailed(x.item[:0], s)
	a.owe(x.item)
}

func appendFetchFailed(dst []byte, s godwit.SessionID) []byte {
	start := len(dst)
	dst = binary.AppendUvarint(appendSession(begin(dst, itemFetched), s), flagFailed)
	dst = append(dst, 0, 0) // head, entries
	end(dst, start)
	return dst
}

// Close ends a session with a code and a short reason.
func (h *Hub) Close(s godwit.SessionID, code godwit.CloseCode, reason string) {
	if edge := h.local(s); edge != nil {
		edge.Close(s, code, reason)
	} else if a := h.remote(s); a != nil {
		a.close(s, code, reason)
	}
}

// trim lets go of what a large page left.
func (x *scratch) trim() {
	if cap(x.item) > keepBytesMax {
		x.item = nil
	}
	if cap(x.frame) > keepBytesMax {
		x.frame = nil
	}
}
