//tidy:apply

package chat

// Machine is the deterministic state above the engine's logs. The engine calls
// Apply and Flush of one group from one goroutine; groups run concurrently.
// Between both calls it keeps what came out of the commands: that is the only
// thing it holds, all state lies in tx.
type Machine struct {
	groups []machineGroup
	// service takes effects; set once by NewService, before anything is
	// proposed. nil: effects are dropped.
	service *Service
}

// machineGroup is owned by the group's applying goroutine.
type machineGroup struct {
	applier applier
	replies []pendingReply
	scratch flushScratch
}

// pendingReply is an answer that waits until its batch is visible to readers.
type pendingReply struct {
	waiter  waiter
	outcome outcome
}

// waiter is what this package gives Store.Propose: exactly one of both methods
// is called, exactly once. applied runs on the applying goroutine.
type waiter interface {
	Fail(err error)
	applied(o *outcome, scratch *flushScratch)
}

// NewMachine returns a machine for a store of so many raft groups.
func NewMachine(groups int) *Machine {
	return &Machine{groups: make([]machineGroup, groups)}
}

// Apply executes one committed command. waiter (nil on replay and on followers)
// gets its answer at Flush.
func (m *Machine) Apply(tx Tx, command []byte, w Waiter) {
	g := &m.groups[tx.Group()]
	out := g.applier.apply(tx, command)
	if w != nil {
		g.replies = append(g.replies, pendingReply{w.(waiter), out})
	}
}

// Reads names every row that Apply of the command may Get. It may be called
// from any goroutine.
func (m *Machine) Reads(command []byte, add func(key []byte)) {
	reads(command, make([]byte, 0, 256), add)
}

// reads names the rows of one command, building keys in key. A command that
// apply refuses unread needs none.
func reads(command, key []byte, add func(key []byte)) {
	p, ok := parseCommand(command)
	if !ok {
		return
	}
	put := func(k []byte) {
		add(k)
		key = k[:0]
	}
	put(appendKey(key, p.header.home, rowSettings))
	switch p.header.kind {
	case kindGenesis, kindRestore:
	case kindSend:
		b := &p.send.block
		from, to := b.from[2:], b.to[2:]
		lane := laneID{b.sender().Partition(), b.recipient().Partition()}
		put(appendKey(key, lane.src, rowCounter))
		put(appendUserKey(key, lane.src, from))
		put(appendConversationKey(key, lane.src, from, to))
		put(appendDedupKey(key, lane.src, from, b.identityHash()))
		put(appendKey(key, lane.dst, rowCounter))
		put(appendUserKey(key, lane.dst, to))
		put(appendConversationKey(key, lane.dst, to, from))
		put(appendPeerKey(key, lane.dst, rowBlock, to, from))
		put(appendLaneOutKey(key, lane))
	case kindForward:
		put(appendKey(key, p.forward.lane.dst, rowCounter))
		put(appendLaneInKey(key, p.forward.lane))
		for items := p.forward.items; !items.done(); {
			var it laneItem
			b, _ := p.forward.next(&items, &it)
			put(appendUserKey(key, p.forward.lane.dst, b.to[2:]))
			put(appendConversationKey(key, p.forward.lane.dst, b.to[2:], b.from[2:]))
			put(appendPeerKey(key, p.forward.lane.dst, rowBlock, b.to[2:], b.from[2:]))
		}
	case kindAck:
		for lanes := p.ack.lanes; !lanes.done(); {
			lane, through := p.ack.next(&lanes)
			put(appendLaneOutKey(key, lane))
			put(appendOutboxKey(key, lane, through))
		}
	case kindTrim:
		partition := userOf(p.trim.user).Partition()
		put(appendUserKey(key, partition, p.trim.user))
		for hashes := p.trim.hashes; !hashes.done(); {
			put(appendDedupKey(key, partition, p.trim.user, hashes.u64()))
		}
	default:
		p.body.reads(p.header, add)
	}
}
