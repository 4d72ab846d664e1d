package link

import (
	"encoding/binary"
	"slices"

	"github.com/godwit-im/godwit"
)

// Hint tells sessions of one user of their log's head. Like a delivery it may be
// dropped.
func (h *Hub) Hint(sessions []godwit.SessionID, head godwit.Seq) {
	h.spread(sessions, func(edge Edge, sessions []godwit.SessionID) {
		edge.Hint(sessions, head)
	}, func(a *attached, sessions []godwit.SessionID, x *scratch) {
		x.item = binary.AppendUvarint(appendAll(begin(x.item[:0], itemHint), sessions), uint64(head))
		if !end(x.item, 0) || !a.queue.put(h.bounds.hint, x.item) {
			a.traffic.hints.Add(1)
		}
	})
}

// Tell writes a frame that is owed to sessions of any users: it is encoded once
// and goes to each edge process once. Sessions for which there is no room are
// closed.
func (h *Hub) Tell(sessions []godwit.SessionID, f *godwit.ServerFrame) {
	h.spread(sessions, func(edge Edge, sessions []godwit.SessionID) {
		edge.Tell(sessions, f)
	}, func(a *attached, sessions []godwit.SessionID, x *scratch) {
		if !a.announce(itemTell, h.bounds.owed, sessions, f, x) {
			for _, s := range sessions {
				a.overflow(s)
			}
		}
	})
}

// Whisper writes an ephemeral frame to sessions of any users, if there is room.
func (h *Hub) Whisper(sessions []godwit.SessionID, f *godwit.ServerFrame) {
	h.spread(sessions, func(edge Edge, sessions []godwit.SessionID) {
		edge.Whisper(sessions, f)
	}, func(a *attached, sessions []godwit.SessionID, x *scratch) {
		if !a.announce(itemWhisper, h.bounds.whisper, sessions, f, x) {
			a.traffic.whispers.Add(uint64(len(sessions)))
		}
	})
}

// announce queues a frame for sessions of one edge process; x has it encoded from
// the first of them on.
func (a *attached) announce(kind itemKind, bound int, sessions []godwit.SessionID, f *godwit.ServerFrame, x *scratch) bool {
	if len(x.frame) == 0 {
		x.frame = f.AppendTo(x.frame, godwit.EncodingProto)
	}
	x.item = append(appendAll(begin(x.item[:0], kind), sessions), x.frame...)
	return end(x.item, 0) && a.queue.put(bound, x.item)
}

func appendAll(dst []byte, sessions []godwit.SessionID) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(sessions)))
	for _, s := range sessions {
		dst = appendSession(dst, s)
	}
	return dst
}

// spread hands sessions to the edge of this process and to each edge process that
// has some of them, once each, in the order given. Those of a process that is gone
// are left out.
func (h *Hub) spread(sessions []godwit.SessionID, local func(Edge, []godwit.SessionID), remote func(*attached, []godwit.SessionID, *scratch)) {
	x := h.loose.Get().(*scratch)
	defer h.loose.Put(x)
	x.frame = x.frame[:0]
	for start, end := 0, 0; start < len(sessions); start = end {
		if start == 0 {
			sessions = x.group(sessions)
		}
		edge := edgeOf(sessions[start])
		for end = start + 1; end < len(sessions) && edgeOf(sessions[end]) == edge; end++ {
		}
		if edge == 0 {
			if h.cfg.Local != nil {
				local(h.cfg.Local, sessions[start:end])
			}
		} else if a := h.remote(sessions[start]); a != nil {
			remote(a, sessions[start:end], x)
		}
	}
	x.trim()
}

// group puts the sessions of each edge process side by side, in the order given.
// What it returns dies with the next call.
func (x *scratch) group(sessions []godwit.SessionID) []godwit.SessionID {
	mixed := false
	for _, s := range sessions {
		mixed = mixed || edgeOf(s) != edgeOf(sessions[0])
	}
	if !mixed {
		return sessions
	}
	x.ends = slices.Grow(x.ends[:0], godwit.SessionEdgeMax+1)[:godwit.SessionEdgeMax+1]
	clear(x.ends)
	for _, s := range sessions {
		x.ends[edgeOf(s)&godwit.SessionEdgeMax]++
	}
	sum := uint32(0)
	for i, n := range x.ends {
		x.ends[i] = sum
		sum += n
	}
	x.sorted = slices.Grow(x.sorted[:0], len(sessions))[:len(sessions)]
	for _, s := range sessions {
		at := &x.ends[edgeOf(s)&godwit.SessionEdgeMax]
		x.sorted[*at] = s
		*at++
	}
	return x.sorted
}
