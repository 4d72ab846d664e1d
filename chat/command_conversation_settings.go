//tidy:apply

package chat

import (
	"encoding/binary"

	"github.com/godwit-im/godwit"
)

// conversationCommand sets what a user alone sees of a conversation.
type conversationCommand struct {
	user, peer []byte // as in markCommand
	given      uint8  // given…: the others stay
	flags      uint64 // convPinned, convArchived, as far as given
	mute       int64
	channel    bool       // as in markCommand
	deleted    godwit.Seq // entries up to here go; 0: none
	ordinal    uint64     // incoming messages through deleted
	gseq       godwit.Seq // what deleted is in the group's log; of a group that is no channel
}

const (
	givenMute    = 1 << 0
	givenPin     = 1 << 1
	givenArchive = 1 << 2
	givenChannel = 1 << 3
	givenAll     = givenMute | givenPin | givenArchive | givenChannel
)

func (c *conversationCommand) append(dst []byte, home godwit.Partition) []byte {
	dst = appendShort(appendShort(appendHeader(dst, kindSettings, home), c.user), c.peer)
	given := c.given
	if c.channel {
		given |= givenChannel
	}
	dst = append(dst, given)
	for _, n := range [...]uint64{c.flags, uint64(c.mute), uint64(c.deleted), c.ordinal, uint64(c.gseq)} {
		dst = binary.AppendUvarint(dst, n)
	}
	return dst
}

func (c *conversationCommand) parse(r *reader) bool {
	c.user, c.peer = r.short(), r.short()
	given := r.u8()
	c.given, c.channel = given&^givenChannel, given&givenChannel != 0
	c.flags, c.mute, c.deleted, c.ordinal, c.gseq = r.uvarint(), r.millis(), r.seq(), r.uvarint(), r.seq()
	return r.done() && given&^givenAll == 0 && c.flags&^c.mask() == 0 &&
		godwit.ValidID(c.user) && validPeer(c.peer) && (c.given != 0 || c.deleted != 0) &&
		(!c.channel || isGroup(c.peer)) && (c.deleted != 0 || c.ordinal == 0 && c.gseq == 0) && (c.gseq == 0 || isGroup(c.peer) && !c.channel) && c.ordinal <= 1<<62 &&
		(c.given&givenMute != 0 || c.mute == 0)
}

// mask has the flags that the command sets or clears.
func (c *conversationCommand) mask() (flags uint64) {
	if c.given&givenPin != 0 {
		flags |= convPinned
	}
	if c.given&givenArchive != 0 {
		flags |= convArchived
	}
	return flags
}

func (c *conversationCommand) reads(_ header, put func(key []byte)) {
	p := userOf(c.user).Partition()
	put(appendUserKey(nil, p, c.user))
	put(appendConversationKey(nil, p, c.user, c.peer))
}
