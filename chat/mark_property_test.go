package chat

import (
	"encoding/binary"
	"fmt"
	"slices"
	"testing"

	"github.com/cespare/xxhash/v2"
	"github.com/godwit-im/godwit"
	"pgregory.net/rapid"
)

// reading is chaos with readers: marks, edits, recalls and deletions, over lanes
// that forward late, twice and in pieces. What rows say is compared with a count
// over the logs, and with what was accepted.
type reading struct {
	*world
	rt       *rapid.T
	service  *Service
	users    []godwit.UserID
	messages []*readMessage
	lanes    []laneID
	model    map[pair]*readModel
	held     []*heldMark
}

// heldMark is a command whose look was long ago when it is applied.
type heldMark struct {
	pair
	group                   int
	command                 []byte
	delivered, read         godwit.Seq
	toldDelivered, toldRead godwit.Seq
}

type pair struct{ user, peer godwit.UserID }

type readMessage struct {
	from, to godwit.UserID
	cid      string
	at       outcome
	text     string
	recalled bool
}

// readModel is what one user asked for in one conversation.
type readModel struct {
	delivered, read         godwit.Seq // the highest accepted
	toldDelivered, toldRead godwit.Seq // what the peer is to know, in his sequences
	deleted                 godwit.Seq
	peer                    peerMarkRow // as last seen
	row                     conversationRow
}

func newReading(t *testing.T, rt *rapid.T, groups int) *reading {
	r := &reading{
		world: newWorld(t, groups, level2), rt: rt, model: map[pair]*readModel{},
	}
	alice, bob, _ := usersApart(8)
	r.users = []godwit.UserID{alice, bob}
	cfg := Config{Store: r.store, LaneItemsMax: 1 << 20, LaneBytesMax: 1 << 30, OutboxMax: 1 << 20}
	r.service = &Service{cfg: cfg, forwarder: newForwarder(&cfg, &counters{})}
	for _, from := range r.users {
		for _, to := range r.users {
			r.model[pair{from, to}] = &readModel{}
			lane := laneID{from.Partition(), to.Partition()}
			if r.store.Group(lane.src) != r.store.Group(lane.dst) && !slices.Contains(r.lanes, lane) {
				r.lanes = append(r.lanes, lane)
			}
		}
	}
	return r
}

func (r *reading) user(label string) godwit.UserID {
	return rapid.SampledFrom(r.users).Draw(r.rt, label)
}

func (r *reading) send() {
	m := &readMessage{from: r.user("from"), to: r.user("to"), cid: fmt.Sprint("c", len(r.messages)), text: fmt.Sprint("text", len(r.messages))}
	m.at = r.world.send(m.from, m.to, m.cid, m.text)
	m.at.mustBe(r.rt, nil)
	r.messages = append(r.messages, m)
}

// change runs one change as the service does: a look, then its command.
func (r *reading) change(c change) (o outcome, proposed bool) {
	v := r.store.View(c.place())
	command, next := c.look(v)
	v.Close()
	if next != stepPropose {
		return o, false
	}
	if rapid.IntRange(0, 9).Draw(r.rt, "twice") == 0 {
		r.run(c.place(), command)
		again := r.run(c.place(), command)
		if again.refusal == nil && !again.dup {
			r.rt.Fatalf("a repeated command answers %+v", again)
		}
		return again, true
	}
	return r.run(c.place(), command), true
}

// row reads a conversation; records are those of its log, erased ones included.
func (r *reading) row(p pair) (c conversationRow, log godwit.LogID, records []godwit.Record) {
	g := r.store.groups[r.store.Group(p.user.Partition())]
	u, _ := userOfView(memView{g}, p.user)
	if row, ok := g.rows[string(appendConversationKey(nil, p.user.Partition(), []byte(p.user), []byte(p.peer)))]; ok && !c.parse(row) {
		r.rt.Fatal("conversation row does not parse")
	}
	return c, u.logID(p.user), g.logs[u.logID(p.user)]
}

// newestIncoming is the newest message of the peer at or before seq.
func (r *reading) newestIncoming(p pair, seq godwit.Seq) (at, origin godwit.Seq) {
	c, _, records := r.row(p)
	for _, record := range records {
		var m meta
		if m.parse(record.Meta) && record.Seq <= seq && uint64(record.Conv) == c.number && m.isCounted() {
			at, origin = record.Seq, m.originSeq
		}
	}
	return at, origin
}

func (r *reading) place(p pair, label string) godwit.Seq {
	_, _, records := r.row(p)
	return godwit.Seq(rapid.IntRange(0, len(records)+1).Draw(r.rt, label))
}

func (r *reading) mark() {
	p := pair{r.user("reader"), r.user("peer")}
	delivered, read := r.place(p, "delivered"), r.place(p, "read")
	before, _, records := r.row(p)
	m := r.model[p]
	ok := before.number != 0 && delivered <= godwit.Seq(len(records)) && read <= godwit.Seq(len(records))
	changes := read > m.read || max(delivered, read) > m.delivered
	readAt, readOrigin := r.newestIncoming(p, read)
	deliveredAt, deliveredOrigin := r.newestIncoming(p, delivered)
	c := &markChange{service: r.service, key: markKey{p.user, string(p.peer)}, delivered: delivered, read: read}
	c.group = r.store.Group(p.user.Partition())
	v := r.store.View(c.group)
	command, next := c.look(v)
	v.Close()
	if proposed := next == stepPropose; proposed != (ok && changes) {
		r.rt.Fatalf("mark %d, %d of %v with %+v is proposed: %t (%v)", delivered, read, p, before, proposed, c.refusal)
	}
	if next != stepPropose {
		return
	}
	h := &heldMark{pair: p, group: c.group, command: command, delivered: max(delivered, read), read: read}
	if read > m.read && readAt > m.read && p.user != p.peer {
		h.toldRead = readOrigin
	}
	if delivered > max(m.delivered, read) && deliveredAt > m.read && p.user != p.peer {
		h.toldDelivered = deliveredOrigin
	}
	r.held = append(r.held, h)
	if rapid.IntRange(0, 2).Draw(r.rt, "hold") > 0 {
		r.release()
	}
}

// release applies a mark that was looked up a while ago, and maybe keeps it for more.
func (r *reading) release() {
	if len(r.held) == 0 {
		return
	}
	i := rapid.IntRange(0, len(r.held)-1).Draw(r.rt, "held")
	h := r.held[i]
	m := r.model[h.pair]
	moves := h.delivered > m.delivered || h.read > m.read
	if o := r.run(h.group, h.command); o.refusal != nil || o.dup == moves {
		r.rt.Fatalf("mark %+v after %+v answers %+v", h, m, o)
	}
	if moves {
		m.read, m.delivered = max(m.read, h.read), max(m.delivered, h.delivered)
		m.toldRead, m.toldDelivered = max(m.toldRead, h.toldRead), max(m.toldDelivered, h.toldDelivered)
	}
	if rapid.Bool().Draw(r.rt, "done") {
		r.held = slices.Delete(r.held, i, i+1)
	}
}

func (r *reading) message() *readMessage {
	if len(r.messages) == 0 {
		return nil
	}
	return rapid.SampledFrom(r.messages).Draw(r.rt, "message")
}

func (r *reading) revise(edit *godwit.Edit) {
	m := r.message()
	if m == nil {
		return
	}
	by := m.from
	if rapid.IntRange(0, 4).Draw(r.rt, "other") == 0 {
		by = r.user("by")
	}
	c := &reviseChange{service: r.service, user: by, log: m.at.log, seq: m.at.seq, edit: edit}
	may := by == m.from && m.at.seq > r.model[pair{m.from, m.to}].deleted && !(m.recalled && edit != nil)
	o, proposed := r.change(c)
	if done := proposed && o.refusal == nil; done != may {
		r.rt.Fatalf("%+v by %s: %t, %v, %v", m, by, proposed, o.refusal, c.refusal)
	}
	switch {
	case !may:
	case edit == nil:
		m.recalled = true
	default:
		m.text = string(edit.Text)
	}
}

func (r *reading) edit() {
	text := rapid.SampledFrom([]string{"a", "b", "c"}).Draw(r.rt, "text")
	r.revise(&godwit.Edit{Text: []byte(text), HasText: true})
}

func (r *reading) remove() {
	p := pair{r.user("owner"), r.user("peer")}
	m := r.model[p]
	upTo := r.place(p, "delete")
	if upTo == 0 {
		return
	}
	c := &conversationChange{service: r.service, group: r.store.Group(p.user.Partition()), command: conversationCommand{
		user: []byte(p.user), peer: []byte(p.peer), deleted: upTo,
	}}
	if o, proposed := r.change(c); proposed && o.refusal == nil {
		m.deleted, m.read, m.delivered = max(m.deleted, upTo), max(m.read, upTo), max(m.delivered, upTo)
	} else if c.refusal != godwit.ErrUnavailable && c.refusal != godwit.ErrNotMember && c.refusal != godwit.ErrBadCursor {
		r.rt.Fatalf("delete of %d in %v: %v, %v", upTo, p, c.refusal, o.refusal)
	}
}

func (r *reading) forward() {
	if len(r.lanes) == 0 {
		return
	}
	lane := rapid.SampledFrom(r.lanes).Draw(r.rt, "lane")
	first, items := r.outbox(lane)
	if len(items) == 0 {
		return
	}
	from := rapid.IntRange(0, len(items)-1).Draw(r.rt, "item")
	to := rapid.IntRange(from+1, len(items)).Draw(r.rt, "end")
	o := r.carry(lane, first+uint64(from), items[from:to])
	if o.last > 0 && rapid.Bool().Draw(r.rt, "acked") {
		r.ack(lane, o.last)
	}
}

func (r *reading) carry(lane laneID, first uint64, items []laneItem) outcome {
	group := r.store.Group(lane.dst)
	return r.run(group, appendLaneItems(nil, r.home(group), lane, testEpoch, first, items))
}

// drain delivers everything. What arrives puts nothing on a lane.
func (r *reading) drain() {
	for _, lane := range r.lanes {
		first, items := r.outbox(lane)
		if len(items) > 0 {
			last := first + uint64(len(items)) - 1
			if o := r.carry(lane, first, items); o.last != last {
				r.rt.Fatalf("lane %v holds %d of %d", lane, o.last, last)
			}
			r.ack(lane, last)
		}
	}
}

// crash replays all commands, in batches of another size.
func (r *reading) crash() {
	before := r.store.digests()
	r.store = r.store.replicaInBatches(rapid.IntRange(1, 9).Draw(r.rt, "batch"))
	r.service.cfg.Store = r.store
	r.service.forwarder.store = r.store
	if after := r.store.digests(); !slices.Equal(before, after) {
		r.rt.Fatal("a replay gives another state")
	}
}

// replicaInBatches is replica with n commands before each flush.
func (s *memStore) replicaInBatches(n int) *memStore {
	c := newMemStore(len(s.groups))
	c.clock = s.clock
	for i, g := range s.groups {
		for j, command := range g.commands {
			c.groups[i].apply(c.machine, memCommand{command.stamp, slices.Clone(command.command)}, nil)
			if j%n == n-1 {
				c.machine.Flush(i, false)
			}
		}
		c.machine.Flush(i, false)
	}
	return c
}

// check counts by brute force. It holds at any moment.
func (r *reading) check() {
	for _, user := range r.users {
		var digest uint64
		for _, peer := range r.users {
			p := pair{user, peer}
			m := r.model[p]
			c, _, records := r.row(p)
			unread, incoming := uint64(0), uint64(0)
			for _, record := range records {
				var md meta
				if md.parse(record.Meta); uint64(record.Conv) != c.number || !md.isCounted() {
					continue
				}
				incoming++
				if record.Seq > m.read {
					unread++
				}
			}
			if c.number != 0 && (c.unread(0) != unread || c.incoming != incoming || c.read != m.read || c.delivered != m.delivered || c.deleted != m.deleted) {
				r.rt.Fatalf("%v: unread %d of %d, row %+v, model %+v", p, unread, incoming, c, m)
			}
			if c.read < m.row.read || c.delivered < m.row.delivered || c.readIncoming < m.row.readIncoming {
				r.rt.Fatalf("%v: a mark went back from %+v to %+v", p, m.row, c)
			}
			m.row = c
			if c.number != 0 && !(c.deleted != 0 && c.last <= c.deleted) {
				text := binary.BigEndian.AppendUint64([]byte("u:"+string(peer)), unread)
				digest += xxhash.Sum64(binary.BigEndian.AppendUint64(text, uint64(m.read)))
			}
			r.checkPeer(p)
		}
		g := r.store.groups[r.store.Group(user.Partition())]
		if u, _ := userOfView(memView{g}, user); u.digest != digest || u.counted != u.conversations {
			r.rt.Fatalf("%s has digest %x of %d, want %x of %d", user, u.digest, u.counted, digest, u.conversations)
		}
	}
}

// checkPeer: what the user knows of the peer's marks never goes back.
func (r *reading) checkPeer(p pair) {
	now, m := r.peer(p), r.model[p]
	if now.delivered < m.peer.delivered || now.read < m.peer.read || now.seq < m.peer.seq {
		r.rt.Fatalf("%v: the peer's mark went back from %+v to %+v", p, m.peer, now)
	}
	m.peer = now
}

func (r *reading) peer(p pair) (m peerMarkRow) {
	g := r.store.groups[r.store.Group(p.user.Partition())]
	if row, ok := g.rows[string(appendMarkKey(nil, p.user.Partition(), []byte(p.user), []byte(p.peer)))]; ok && !m.parse(row) {
		r.rt.Fatal("mark row does not parse")
	}
	return m
}

// checkAtRest: receipts have arrived, and all logs show the last bodies.
func (r *reading) checkAtRest() {
	for p, m := range r.model {
		got := r.peer(pair{p.peer, p.user})
		if got.read != m.toldRead || got.delivered != max(m.toldDelivered, m.toldRead) {
			r.rt.Fatalf("%s knows %+v of %s, want %+v", p.peer, got, p.user, m)
		}
	}
	for _, user := range r.users {
		shownTo := map[string]bool{}
		for _, e := range readAll(r.t, r.world, user) {
			if e.IsSkip() || e.Kind == godwit.EntryReceipt || e.Kind == godwit.EntrySettings {
				continue
			}
			m := r.messages[slices.IndexFunc(r.messages, func(m *readMessage) bool {
				var id godwit.MessageID
				r.ids.make(&id, m.at.log, m.at.seq)
				return id == e.Msg.MID
			})]
			shownTo[m.cid] = shownTo[m.cid] || e.Kind == godwit.EntryMessage
			want := m.text
			if m.recalled {
				want = ""
			}
			if string(e.Msg.Body) != want || e.Kind == godwit.EntryMessage && e.Msg.Recalled != m.recalled {
				r.rt.Fatalf("%s sees %+v of %+v", user, e, m)
			}
		}
		for _, peer := range r.users {
			sent := uint64(0)
			for _, m := range r.messages {
				if m.from == peer && m.to == user && peer != user {
					sent++
				}
			}
			if c, _, _ := r.row(pair{user, peer}); c.incoming != sent {
				r.rt.Fatalf("%s has %d messages of %s, who sent %d", user, c.incoming, peer, sent)
			}
		}
		for _, m := range r.messages {
			if m.from == user && shownTo[m.cid] != (m.at.seq > r.model[pair{user, m.to}].deleted) {
				r.rt.Fatalf("%s sees %+v: %t", user, m, shownTo[m.cid])
			}
		}
	}
}

func TestMarksAndRevisionsAgreeWithACount(t *testing.T) {
	for _, groups := range []int{1, 8} {
		t.Run(fmt.Sprint(groups, " groups"), func(t *testing.T) {
			rapid.Check(t, func(rt *rapid.T) {
				r := newReading(t, rt, groups)
				if (groups > 1) != (len(r.lanes) == 2) {
					t.Fatalf("%d lanes between %d groups", len(r.lanes), groups)
				}
				step := func(f func()) func(*rapid.T) { return func(*rapid.T) { f(); r.check() } }
				rt.Repeat(map[string]func(*rapid.T){
					"send": step(r.send), "send again": step(r.send), "mark": step(r.mark), "mark again": step(r.mark), "mark late": step(r.release),
					"edit": step(r.edit), "recall": step(func() { r.revise(nil) }), "delete": step(r.remove),
					"forward": step(r.forward), "forward again": step(r.forward), "crash": step(r.crash),
				})
				r.drain()
				r.crash()
				r.check()
				r.checkAtRest()
			})
		})
	}
}
