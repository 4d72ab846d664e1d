//tidy:apply

package chat

import "github.com/godwit-im/godwit"

// peerMarkRow is how far the other of a 1:1 conversation has got, in sequences of
// the owner's log. Neither mark goes back.
type peerMarkRow struct {
	delivered godwit.Seq // at least read
	read      godwit.Seq
	seq       godwit.Seq // where the mark stands in the owner's log; older ones are skips
}

func appendMarkKey(dst []byte, p godwit.Partition, user, peer []byte) []byte {
	return append(appendOwnedPrefix(dst, p, rowMark, user), peer...)
}

func (m *peerMarkRow) append(dst []byte) []byte {
	return appendFields(dst, 3, uint64(m.delivered), uint64(m.read), uint64(m.seq))
}

func (m *peerMarkRow) parse(src []byte) bool {
	r := reader{b: src}
	m.delivered, m.read, m.seq = r.seq(), r.seq(), r.seq()
	return r.done() && m.seq > 0 && m.read <= m.delivered
}

// raise moves marks forward and tells whether one moved.
func (m *peerMarkRow) raise(delivered, read godwit.Seq) bool {
	if delivered <= m.delivered && read <= m.read {
		return false
	}
	m.delivered, m.read = max(m.delivered, delivered), max(m.read, read)
	return true
}
