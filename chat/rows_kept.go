//tidy:apply

package chat

import (
	"encoding/binary"

	"github.com/godwit-im/godwit"
)

// keptRow says for how long a conversation is kept. Of a 1:1 conversation each
// side has one, in the partition of its user; of a group one lies with the group.
type keptRow struct {
	kept  int64 // ms: older entries go
	since int64 // ms, when that was set
	by    []byte
}

// keptMax bounds how long, in ms: some 3,000 years, which times in ms may be
// added to.
const keptMax = 100_000_000_000_000

// appendKeptKey names the row of a user's conversation with a peer, or without a
// user that of a group, which is no user's name.
func appendKeptKey(dst []byte, p godwit.Partition, user, peer []byte) []byte {
	return append(appendOwnedPrefix(dst, p, rowKept, user), peer...)
}

func (k *keptRow) append(dst []byte) []byte {
	dst = binary.AppendUvarint(dst, uint64(k.kept))
	return append(binary.AppendUvarint(dst, uint64(k.since)), k.by...)
}

func (k *keptRow) parse(src []byte) bool {
	r := reader{b: src}
	k.kept, k.since = r.millis(), r.millis()
	k.by = r.take(len(r.b))
	return r.done() && k.kept > 0 && k.kept <= keptMax && len(k.by) <= keptByMax
}
