//tidy:apply

package chat

import (
	"encoding/binary"
	"fmt"

	"github.com/godwit-im/godwit"
)

// applier turns commands into state. What it holds is scratch and the effects
// of the batch so far; no field outlives a Flush as state.
type applier struct {
	key, value, meta []byte   // scratch: Tx copies what it keeps
	settings         settings // of the group, of this command
	effects          effects
}

// outcome is the answer to one command.
type outcome struct {
	refusal *godwit.Error // final, nothing changed; nil: done

	// of a send: where it lies in the sender's log, now or since an earlier attempt
	log  godwit.LogID
	seq  godwit.Seq
	time int64
	dup  bool
	conv []byte // aliases the command

	gseq    godwit.Seq // of a group command: where it lies in the group's log
	channel bool       // its entry comes by the channel: it has no place in members' logs
	// extra is what one kind alone answers, nil otherwise.
	extra any

	// of a forward: what the destination holds of the lane
	last  uint64
	stale bool // the lane belongs to an incarnation that has ended
}

// effects are what a batch asks to be done outside, in the order of the
// commands. All slices in them alias commands.
type effects struct {
	hints    []hint
	forwards []forwardEffect
	trims    [][]byte // users whose dedup rows are due for a look
	groups   []groupEffect
	logouts  []logoutEffect
	channels []channelEffect
	// groupTrims are members whose dedup rows in a group are: group, user.
	groupTrims [][2][]byte
	fanouts    []fanoutEffect
	pointers   []pointersEffect // of fanouts
	owns       []ownEffect
	// memberMarks moved in small groups.
	memberMarks []memberMarkEffect
}

// memberMarkEffect says that a member's marks moved in a group of at most so many
// members, who are told.
type memberMarkEffect struct {
	group, user []byte
	membersMax  uint32
}

// groupEffect says that a group's log has a new entry: members' logs need
// pointers, or a channel's sessions the entry.
type groupEffect struct {
	group  []byte
	log    godwit.LogID
	record godwit.Record // with its Seq; Meta is a copy
	// channel: sessions get it from here; its members' logs get nothing but what
	// the change says of them.
	channel bool
	fanned  bool // the group's row says that no log lacks an entry, this one included
}

// hint says that a user's log has a new entry.
type hint struct {
	// other: not a message, and block and origin are not set. The entry is made
	// of the record as readers make it.
	other  bool
	log    godwit.LogID
	record godwit.Record
	// made is the entry of an other if apply knows all of it; then log and record
	// are not set. Marks and settings lie in rows, which a flush does not read.
	made *godwit.Entry

	user      []byte
	seq       godwit.Seq
	time      int64
	incoming  bool
	origin    godwit.LogID
	originSeq godwit.Seq
	block     block
}

// forwardEffect is an item that entered the outbox.
type forwardEffect struct {
	lane laneID
	n    uint64
	item laneItem
}

// parsed is a command with the one body its kind names.
type parsed struct {
	header  header
	genesis genesisCommand
	send    sendCommand
	forward forwardCommand
	ack     ackCommand
	trim    trimCommand
	restore restoreCommand
	body    body // of all other kinds
}

// parseCommand is false for whatever this code would not propose itself.
func parseCommand(command []byte) (p parsed, ok bool) {
	r := reader{b: command}
	p.header = parseHeader(&r)
	if r.bad || p.header.level() == 0 {
		return p, false
	}
	switch p.header.kind {
	case kindGenesis:
		ok = p.genesis.parse(&r)
	case kindSend:
		ok = p.send.parse(&r, p.header.version)
	case kindForward:
		ok = p.forward.parse(&r)
	case kindAck:
		ok = p.ack.parse(&r)
	case kindTrim:
		ok = p.trim.parse(&r)
	case kindRestore:
		ok = p.restore.parse(&r)
	default:
		p.body = newBody(p.header.kind)
		ok = parseBody(p.body, r)
	}
	return p, ok
}

// parseBody has a reader of its own: given to an interface it lies on the heap,
// which commands of the common kinds are spared.
func parseBody(b body, r reader) bool { return b.parse(&r) }

// apply executes one command. A command that does not parse, is not of this
// group or needs a higher level than the group has is refused by every replica
// alike: no leader proposes one. What must not be survived is the opposite, a
// group whose level this code does not know: it would diverge silently.
func (a *applier) apply(tx Tx, command []byte) outcome {
	p, ok := parseCommand(command)
	if !ok {
		return outcome{refusal: godwit.ErrFrameInvalid}
	}
	row, have := tx.Get(a.keyOf(appendKey(a.key[:0], p.header.home, rowSettings)))
	if !have {
		if p.header.kind == kindGenesis {
			return a.genesis(tx, p.header, &p.genesis)
		}
		return outcome{refusal: godwit.ErrUnavailable}
	}
	a.settings = mustSettings(row)
	st := &a.settings
	switch {
	case p.header.level() > st.level:
		return outcome{refusal: godwit.ErrFrameInvalid}
	case p.header.kind == kindSend:
		return a.send(tx, st, &p.send)
	case p.header.kind == kindForward:
		return a.forward(tx, st, &p.forward)
	case p.header.kind == kindAck:
		return a.ack(tx, st, &p.ack)
	case p.header.kind == kindTrim:
		return a.trim(tx, st, &p.trim)
	case p.header.kind == kindRestore:
		return a.restore(tx, p.header, st, &p.restore)
	case p.body != nil:
		return p.body.apply(a, tx, p.header, st)
	}
	return outcome{} // genesis, which the group has already
}

// genesis writes the settings of a group that has none.
func (a *applier) genesis(tx Tx, h header, c *genesisCommand) outcome {
	if homeOf(tx.Group(), int(c.settings.groups)) != h.home || c.settings.group(h.home) != tx.Group() {
		return outcome{refusal: godwit.ErrFrameInvalid}
	}
	if c.settings.level > levelMax {
		panic(tooNew(c.settings.level))
	}
	a.value = c.settings.append(a.value[:0])
	tx.Put(a.keyOf(appendKey(a.key[:0], h.home, rowSettings)), a.value)
	return outcome{}
}

// restore begins a new incarnation of the group's logs and lanes.
func (a *applier) restore(tx Tx, h header, st *settings, c *restoreCommand) outcome {
	if c.epoch == st.epoch || st.isPast(c.epoch) {
		return outcome{}
	}
	st.begin(c.epoch)
	a.value = st.append(a.value[:0])
	tx.Put(a.keyOf(appendKey(a.key[:0], h.home, rowSettings)), a.value)
	return outcome{}
}

func mustSettings(row []byte) settings {
	st, ok := parseSettings(row)
	if !ok {
		panic("BUG: settings row does not parse")
	}
	if st.level > levelMax {
		panic(tooNew(st.level))
	}
	return st
}

func tooNew(level uint32) string {
	return fmt.Sprintf("BUG: group has feature level %d, this binary knows %d: it is older than the data", level, levelMax)
}

// keyOf keeps the grown scratch.
func (a *applier) keyOf(key []byte) []byte {
	a.key = key
	return key
}

// user reads a user's row; a user without one has the zero row.
func (a *applier) user(tx Tx, p godwit.Partition, id []byte) (u userRow) {
	if row, ok := tx.Get(a.keyOf(appendUserKey(a.key[:0], p, id))); ok && !u.parse(row) {
		panic("BUG: user row does not parse")
	}
	return u
}

func (a *applier) putUser(tx Tx, p godwit.Partition, id []byte, u *userRow) {
	a.value = u.append(a.value[:0])
	tx.Put(a.keyOf(appendUserKey(a.key[:0], p, id)), a.value)
}

func (a *applier) conversation(tx Tx, p godwit.Partition, id, peer []byte) (c conversationRow) {
	if row, ok := tx.Get(a.keyOf(appendConversationKey(a.key[:0], p, id, peer))); ok && !c.parse(row) {
		panic("BUG: conversation row does not parse")
	}
	if c.flags&convCounted != 0 {
		c.was = c.digest(peer)
	}
	return c
}

// putConversation also keeps the digest of u, which the caller puts after it.
func (a *applier) putConversation(tx Tx, p godwit.Partition, st *settings, id, peer []byte, u *userRow, c *conversationRow) {
	if st.level >= 2 {
		if c.flags&convCounted == 0 {
			c.flags |= convCounted
			u.counted++
		}
		u.digest += c.digest(peer) - c.was
		c.was = c.digest(peer)
	}
	a.value = c.append(a.value[:0])
	tx.Put(a.keyOf(appendConversationKey(a.key[:0], p, id, peer)), a.value)
}

// allot gives a user without a log the partition's next one.
func (a *applier) allot(tx Tx, p godwit.Partition, u *userRow) {
	if u.log == 0 {
		u.log = a.allotLog(tx, p)
	}
}

// allotLog returns the partition's next log.
func (a *applier) allotLog(tx Tx, p godwit.Partition) uint64 {
	var last uint64
	if row, ok := tx.Get(a.keyOf(appendKey(a.key[:0], p, rowCounter))); ok {
		r := reader{b: row}
		if last = r.uvarint(); !r.done() {
			panic("BUG: counter row does not parse")
		}
	}
	a.value = binary.AppendUvarint(a.value[:0], last+1)
	tx.Put(a.key, a.value)
	return last + 1
}

// open numbers a conversation that is new to its user.
func (u *userRow) open(c *conversationRow) {
	if c.number == 0 {
		u.conversations++
		c.number = u.conversations
	}
}
