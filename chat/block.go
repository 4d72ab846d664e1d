//tidy:apply

package chat

import (
	"github.com/cespare/xxhash/v2"
	"github.com/godwit-im/godwit"
)

// A block is one message laid out once: the records of both logs alias it, and
// so does everything that is read from them. The order of the fields makes the
// two hashes of the dedup row sums over contiguous bytes. A message to a group has
// "g:" and its id as to.
//
//	len "u:"from | len "u:"to | len cid | flags | len type | type | body…
//	             ^ identity ------------^ content ----------------------^
type block struct {
	raw      []byte
	from, to []byte // with their "u:" so that a conversation id can alias them
	cid      []byte
	typ      []byte
	body     []byte
	text     bool

	identity, content int // offsets into raw
}

const (
	blockText     = 1 << 0 // the body is UTF-8 text
	blockFlags    = blockText
	blockBytesMin = 1 + 3 + 1 + 3 + 1 + 1 + 1 + 1
)

func appendBlock(dst []byte, from, to, cid, typ, body []byte, text bool) []byte {
	dst = append(append(dst, byte(2+len(from)), 'u', ':'), from...)
	dst = append(append(dst, byte(2+len(to)), 'u', ':'), to...)
	return appendBlockContent(appendShort(dst, cid), typ, body, text)
}

// appendGroupBlock is appendBlock of a message to a group.
func appendGroupBlock(dst []byte, from, group, cid, typ, body []byte, text bool) []byte {
	dst = append(append(dst, byte(2+len(from)), 'u', ':'), from...)
	dst = append(append(dst, byte(2+len(group)), 'g', ':'), group...)
	return appendBlockContent(appendShort(dst, cid), typ, body, text)
}

func appendBlockContent(dst, typ, body []byte, text bool) []byte {
	flags := byte(0)
	if text {
		flags |= blockText
	}
	dst = appendShort(append(dst, flags), typ)
	return append(dst, body...)
}

// parseBlock splits src, all of which is one block. ok says that the layout
// holds; valid checks the fields.
func parseBlock(src []byte) (b block, ok bool) {
	r := reader{b: src}
	b.raw = src
	b.from = r.short()
	b.identity = len(src) - len(r.b)
	b.to = r.short()
	b.cid = r.short()
	b.content = len(src) - len(r.b)
	flags := r.u8()
	b.text = flags&blockText != 0
	b.typ = r.short()
	b.body = r.b
	return b, !r.bad && flags&^blockFlags == 0 && isDirect(b.from) && (isDirect(b.to) || isGroup(b.to))
}

func isDirect(conv []byte) bool { return len(conv) > 2 && conv[0] == 'u' && conv[1] == ':' }
func isGroup(conv []byte) bool  { return len(conv) > 2 && conv[0] == 'g' && conv[1] == ':' }

// valid reports whether every field may stand in a stored message.
func (b *block) valid() bool {
	return godwit.ValidID(b.from[2:]) && godwit.ValidID(b.to[2:]) && godwit.ValidID(b.cid) &&
		len(b.typ) <= godwit.TypeBytesMax
}

// sender and recipient alias the block.
func (b *block) sender() godwit.UserID    { return userOf(b.from[2:]) }
func (b *block) recipient() godwit.UserID { return userOf(b.to[2:]) }

// identityHash names (conversation, client id) within one sender; contentHash
// tells a retry from another message under the same id. XXH64 is not
// collision-proof, but a sender who makes a collision meets only himself.
func (b *block) identityHash() uint64 { return xxhash.Sum64(b.raw[b.identity:b.content]) }
func (b *block) contentHash() uint64  { return xxhash.Sum64(b.raw[b.content:]) }
