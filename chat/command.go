//tidy:apply

package chat

import (
	"encoding/binary"

	"github.com/godwit-im/godwit"
)

// kind says what a command does. The numbers are part of the log's format.
type kind uint8

const (
	kindGenesis kind = 1 // settings of a group, its first command
	kindSend    kind = 2 // one message into the sender's log
	kindForward kind = 3 // items of one lane into recipients' logs
	kindAck     kind = 4 // items the destinations hold leave the outbox
	kindTrim    kind = 5 // expired dedup rows of one user leave
	kindRestore kind = 6 // the store was restored from a backup: a new epoch

	// from level 2 on
	kindPolicy kind = 7 // raises the level and sets the policy; itself of level 1

	kindGroupCreate kind = 10 // a group and its first members
	kindGroupChange kind = 11 // its members, roles and settings
	kindGroupSend   kind = 12 // one message into a group's log
	kindFanout      kind = 13 // pointers to entries of a group's log into members' logs
	kindFanned      kind = 14 // members' logs have a group's entries up to here
	kindGroupRevise kind = 15 // an edit or recall in a group's log
	kindGroupTrim   kind = 16 // expired dedup rows of one member leave

	kindMark     kind = 20 // a user's own marks
	kindSettings kind = 21 // what a user alone sees of a conversation
	kindRevise   kind = 22 // an edit or recall of a message of a 1:1 conversation
	kindCarry    kind = 23 // like kindForward, items of any kind

	kindPeople kind = 30 // whom a user blocks, and his contacts
	kindDevice kind = 31 // a device was seen first, or logged out
	kindErase  kind = 32 // of a user or a conversation, retention of all
	kindKeep   kind = 33 // how long one conversation is kept
)

// body is a command's content behind its header, for the kinds that are not on
// the path of every message. Its fields alias the command.
type body interface {
	parse(r *reader) bool
	// reads names every row that apply may Get; see Machine.Reads.
	reads(h header, put func(key []byte))
	apply(a *applier, tx Tx, h header, st *settings) outcome
}

// newBody returns the body of a kind, nil if this code does not know it.
func newBody(k kind) body {
	switch k {
	case kindPolicy:
		return new(policyCommand)
	case kindPeople:
		return new(peopleCommand)
	case kindDevice:
		return new(deviceCommand)
	case kindErase:
		return new(eraseCommand)
	case kindKeep:
		return new(keepCommand)
	case kindGroupCreate:
		return new(groupCreateCommand)
	case kindGroupChange:
		return new(groupChangeCommand)
	case kindGroupSend:
		return new(groupSendCommand)
	case kindGroupRevise:
		return new(groupReviseCommand)
	case kindGroupTrim:
		return new(groupTrimCommand)
	case kindMark:
		return new(markCommand)
	case kindSettings:
		return new(conversationCommand)
	case kindRevise:
		return new(reviseCommand)
	case kindCarry:
		return new(carryCommand)
	case kindFanout:
		return new(fanoutCommand)
	case kindFanned:
		return new(fannedCommand)
	}
	return nil
}

const (
	commandVersion = 1
	// sendVersion is that of a send with flags behind its header, from level 2 on.
	sendVersion = 2
	headerBytes = 6

	forwardItemsMax = 1024
	ackLanesMax     = 1024
	trimHashesMax   = 4096
)

// header begins every command: kind, version, tenant (0 today) and the first
// partition of the group, where the settings row lies.
type header struct {
	kind    kind
	version uint8
	tenant  uint16
	home    godwit.Partition
}

func appendHeader(dst []byte, k kind, home godwit.Partition) []byte {
	return appendPartition(append(dst, byte(k), commandVersion, 0, 0), home)
}

func parseHeader(r *reader) header {
	return header{kind: kind(r.u8()), version: r.u8(), tenant: r.u16(), home: r.partition()}
}

// level returns the feature level a command needs, 0 if this code doesn't know it.
func (h *header) level() uint32 {
	switch {
	case h.tenant == 0 && h.version == sendVersion && h.kind == kindSend:
		return 2
	case h.version != commandVersion || h.tenant != 0:
	case h.kind >= kindGenesis && h.kind <= kindPolicy:
		return 1
	case newBody(h.kind) != nil:
		return 2
	}
	return 0
}

// policyCommand raises the level of a group and sets its policy.
type policyCommand struct {
	level  uint32
	policy policy
}

func (c *policyCommand) append(dst []byte, home godwit.Partition) []byte {
	return c.policy.append(binary.BigEndian.AppendUint32(appendHeader(dst, kindPolicy, home), c.level))
}

func (c *policyCommand) parse(r *reader) bool {
	c.level = r.u32()
	c.policy.take(r)
	return r.done() && c.level >= 2 && c.policy.valid()
}

func (c *policyCommand) reads(header, func(key []byte)) {}

// apply never lowers the level: that would make a group unreadable to itself.
func (c *policyCommand) apply(a *applier, tx Tx, h header, st *settings) outcome {
	if c.level > levelMax {
		panic(tooNew(c.level))
	}
	st.level, st.policy = max(st.level, c.level), c.policy
	a.value = st.append(a.value[:0])
	tx.Put(a.keyOf(appendKey(a.key[:0], h.home, rowSettings)), a.value)
	return outcome{}
}

// genesisCommand sets what the group's apply reads; ignored when already set.
type genesisCommand struct{ settings settings }

func (c *genesisCommand) append(dst []byte, home godwit.Partition) []byte {
	return c.settings.append(appendHeader(dst, kindGenesis, home))
}

func (c *genesisCommand) parse(r *reader) (ok bool) {
	c.settings, ok = parseSettings(r.b)
	return ok && !r.bad
}

// restoreCommand begins the incarnation after a restore; ignored when that, or a
// later one, has begun.
type restoreCommand struct{ epoch uint64 }

func (c *restoreCommand) append(dst []byte, home godwit.Partition) []byte {
	return binary.BigEndian.AppendUint64(appendHeader(dst, kindRestore, home), c.epoch)
}

func (c *restoreCommand) parse(r *reader) bool {
	c.epoch = r.u64()
	return r.done() && c.epoch != 0
}

// sendCommand stores one message in its sender's log.
type sendCommand struct {
	// granted: the leader found, or the operator said, that the sender may start
	// this conversation.
	granted    bool
	clientTime int64 // ms, of the client's first attempt; 0: not given
	block      block
}

func appendSendHead(dst []byte, home godwit.Partition, clientTime int64) []byte {
	return binary.AppendUvarint(appendHeader(dst, kindSend, home), uint64(clientTime))
}

// appendCheckedSend is appendSendHead for a send that was looked at before.
func appendCheckedSend(dst []byte, home godwit.Partition, clientTime int64, granted bool) []byte {
	start := len(dst)
	dst = appendHeader(dst, kindSend, home)
	dst[start+1] = sendVersion
	flags := byte(0)
	if granted {
		flags = sendGranted
	}
	return binary.AppendUvarint(append(dst, flags), uint64(clientTime))
}

const sendGranted = 1 << 0

func (c *sendCommand) parse(r *reader, version uint8) (ok bool) {
	if version == sendVersion {
		flags := r.u8()
		if c.granted = flags&sendGranted != 0; flags&^sendGranted != 0 {
			return false
		}
	}
	c.clientTime = r.millis()
	if r.bad {
		return false
	}
	c.block, ok = parseBlock(r.b)
	return ok && isDirect(c.block.to) && c.block.valid()
}

// laneID names the ordered queue from one partition to another.
type laneID struct{ src, dst godwit.Partition }

// forwardCommand brings items first, first+1 … of a lane to their destination.
type forwardCommand struct {
	lane  laneID
	epoch uint64 // of the source group
	first uint64
	count uint64
	items reader // count items, not yet parsed
}

// laneItem is one message, or another thing, on its way to another group.
type laneItem struct {
	kind   itemKind
	origin godwit.LogID // the sender's log and the sequence there
	seq    godwit.Seq
	time   int64
	block  []byte // of a message; of other kinds what command_carry.go says
}

func appendForwardHead(dst []byte, home godwit.Partition, lane laneID, epoch, first uint64, count int) []byte {
	return appendLaneHead(dst, kindForward, home, lane, epoch, first, count)
}

func appendLaneHead(dst []byte, k kind, home godwit.Partition, lane laneID, epoch, first uint64, count int) []byte {
	dst = appendPartition(appendPartition(appendHeader(dst, k, home), lane.src), lane.dst)
	dst = binary.BigEndian.AppendUint64(dst, epoch)
	return binary.AppendUvarint(binary.AppendUvarint(dst, first), uint64(count))
}

func appendForwardItem(dst []byte, it *laneItem) []byte {
	dst = binary.AppendUvarint(dst, logNumber(it.origin))
	dst = binary.AppendUvarint(dst, uint64(it.seq))
	dst = binary.AppendUvarint(dst, uint64(it.time))
	dst = binary.AppendUvarint(dst, uint64(len(it.block)))
	return append(dst, it.block...)
}

// parse checks every item once, so that apply either takes all of them or none.
func (c *forwardCommand) parse(r *reader) bool {
	if !c.parseHead(r) {
		return false
	}
	items := c.items
	for range c.count {
		var it laneItem
		if b, ok := c.next(&items, &it); !ok || !b.isForLane(c.lane) {
			return false
		}
	}
	return items.done()
}

func (c *forwardCommand) parseHead(r *reader) bool {
	c.lane = laneID{r.partition(), r.partition()}
	c.epoch = r.u64()
	c.first = r.uvarint()
	c.count = r.uvarint()
	c.items = *r
	return !r.bad && c.epoch != 0 && c.first != 0 && c.first <= 1<<62 && c.count != 0 && c.count <= forwardItemsMax
}

// next takes one item off r.
func (c *forwardCommand) next(r *reader, it *laneItem) (b block, ok bool) {
	if !takeLaneItem(r, c.lane, it) {
		return b, false
	}
	return parseBlock(it.block)
}

func takeLaneItem(r *reader, lane laneID, it *laneItem) bool {
	number := r.uvarint()
	it.origin = godwit.NewLogID(lane.src, number)
	it.seq = r.seq()
	it.time = r.millis()
	size := r.uvarint()
	if r.bad || number == 0 || number >= 1<<48 || it.seq == 0 || size > uint64(len(r.b)) {
		return false
	}
	it.block = r.take(int(size))
	return true
}

// ackCommand removes delivered items of several lanes of one source group.
type ackCommand struct {
	count uint64
	lanes reader
}

func appendAckHead(dst []byte, home godwit.Partition, count int) []byte {
	return binary.AppendUvarint(appendHeader(dst, kindAck, home), uint64(count))
}

func appendAckLane(dst []byte, lane laneID, through uint64) []byte {
	return binary.AppendUvarint(appendPartition(appendPartition(dst, lane.src), lane.dst), through)
}

func (c *ackCommand) parse(r *reader) bool {
	c.count = r.uvarint()
	c.lanes = *r
	if r.bad || c.count == 0 || c.count > ackLanesMax {
		return false
	}
	lanes := c.lanes
	for range c.count {
		if _, through := c.next(&lanes); lanes.bad || through == 0 {
			return false
		}
	}
	return lanes.done()
}

func (c *ackCommand) next(r *reader) (lane laneID, through uint64) {
	return laneID{r.partition(), r.partition()}, r.uvarint()
}

// trimCommand names dedup rows of one user that the leader found expired.
type trimCommand struct {
	user   []byte
	hashes reader // 8 bytes each
}

func appendTrimHead(dst []byte, home godwit.Partition, user godwit.UserID) []byte {
	return appendShort(appendHeader(dst, kindTrim, home), bytesOf(user))
}

func (c *trimCommand) parse(r *reader) bool {
	c.user = r.short()
	c.hashes = *r
	n := len(r.b)
	return !r.bad && godwit.ValidID(c.user) && n > 0 && n%8 == 0 && n/8 <= trimHashesMax
}

func logNumber(log godwit.LogID) uint64 { return uint64(log) & (1<<48 - 1) }
