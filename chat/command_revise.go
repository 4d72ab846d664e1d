//tidy:apply

package chat

import (
	"encoding/binary"

	"github.com/godwit-im/godwit"
)

// reviseCommand edits or recalls a message of a 1:1 conversation. Its block is the
// message's with the new body, or none.
type reviseCommand struct {
	log  uint64 // number of the author's log
	time int64  // of the message: the window counts from there
	reviseItem
}

func appendReviseCommand(dst []byte, home godwit.Partition, log uint64, time int64, recall bool, seq godwit.Seq, block []byte) []byte {
	dst = binary.AppendUvarint(appendHeader(dst, kindRevise, home), log)
	return appendRevise(binary.AppendUvarint(dst, uint64(time)), recall, seq, block)
}

func (c *reviseCommand) parse(r *reader) bool {
	c.log, c.time = r.uvarint(), r.millis()
	return !r.bad && c.log > 0 && c.log < 1<<48 && c.reviseItem.take(r) && isDirect(c.block.to)
}

func (c *reviseCommand) logID() godwit.LogID {
	return godwit.NewLogID(c.block.sender().Partition(), c.log)
}

func (c *reviseCommand) reads(_ header, put func(key []byte)) {
	from, to := c.block.from[2:], c.block.to[2:]
	lane := laneID{c.block.sender().Partition(), c.block.recipient().Partition()}
	put(appendUserKey(nil, lane.src, from))
	put(appendConversationKey(nil, lane.src, from, to))
	put(appendOverlayKey(nil, lane.src, from, c.logID(), c.seq))
	put(appendLaneOutKey(nil, lane))
	it := laneItem{kind: itemRevise, origin: c.logID(), block: appendRevise(nil, c.recall, c.seq, c.block.raw)}
	it.reads(lane.dst, put)
}
