package chat

import (
	"fmt"
	"slices"
	"strings"

	"github.com/godwit-im/godwit"
)

// handGroup is a group whose rows and records a test writes itself, beside the
// commands that do it otherwise: states that are hard to reach come for free.
type handGroup struct {
	s   *served
	id  godwit.GroupID
	row groupRow
}

func (s *served) handGroup(id godwit.GroupID, flags uint64) *handGroup {
	g := &handGroup{s: s, id: id, row: groupRow{log: 77, flags: flags, name: []byte("Chess"), creator: []byte("alice"), version: 1}}
	g.put()
	return g
}

func (g *handGroup) log() godwit.LogID { return g.row.logID([]byte(g.id)) }

func (g *handGroup) mem(p godwit.Partition) *memGroup { return g.s.store.groups[g.s.store.Group(p)] }

// with changes the state between batches.
func (g *handGroup) with(p godwit.Partition, f func(m *memGroup)) {
	m := g.mem(p)
	m.view.Lock()
	defer m.view.Unlock()
	f(m)
}

func (g *handGroup) put() {
	g.with(g.id.Partition(), func(m *memGroup) { m.Put(appendGroupKey(nil, []byte(g.id)), g.row.append(nil)) })
}

// enter appends a record to the group's log.
func (g *handGroup) enter(md meta, body []byte) groupEffect {
	md.ordinal = g.row.messages
	r := godwit.Record{Conv: groupConversation, Prev: g.row.head, Time: 1_700_000_000_000 + int64(g.row.head), Meta: md.append(nil), Body: body}
	g.with(g.id.Partition(), func(m *memGroup) {
		r.Seq = g.row.head + 1
		m.logs[g.log()] = append(m.logs[g.log()], r)
	})
	g.row.head, g.row.time = r.Seq, r.Time
	g.put()
	return groupEffect{group: []byte(g.id), log: g.log(), record: r, channel: g.row.boundary != 0 && r.Seq > g.row.boundary}
}

func (g *handGroup) block(from godwit.UserID, text string) []byte {
	b := appendShort(appendShort(nil, []byte("u:"+from)), []byte("g:"+g.id))
	return append(appendShort(append(appendShort(b, []byte("c")), blockText), nil), text...)
}

func (g *handGroup) message(from godwit.UserID, text string) groupEffect {
	g.row.messages++
	return g.enter(meta{}, g.block(from, text))
}

// revise edits a message, or with an empty text takes it back.
func (g *handGroup) revise(seq godwit.Seq, from godwit.UserID, text string) groupEffect {
	md, o := meta{kind: recordEdit, origin: g.log(), originSeq: seq}, overlayRow{}
	if text == "" {
		md.kind, o.flags = recordRecall, overlayRecalled
	}
	g.row.overlays++
	e := g.enter(md, g.block(from, text))
	o.last, o.time = e.record.Seq, e.record.Time
	g.with(g.id.Partition(), func(m *memGroup) { m.Put(appendGroupOverlayKey(nil, []byte(g.id), seq), o.append(nil)) })
	return e
}

func (g *handGroup) change(c groupChange) groupEffect {
	return g.enter(meta{kind: recordChange}, c.append(nil))
}

func (g *handGroup) member(user godwit.UserID) (m memberRow) {
	if row, ok := g.mem(g.id.Partition()).rows[string(appendMemberKey(nil, []byte(g.id), []byte(user)))]; ok && !m.parse(row) {
		panic("BUG: member row")
	}
	return m
}

func (g *handGroup) putMember(user godwit.UserID, m memberRow) {
	g.with(g.id.Partition(), func(mem *memGroup) { mem.Put(appendMemberKey(nil, []byte(g.id), []byte(user)), m.append(nil)) })
}

func (g *handGroup) named(do changeDo, by godwit.UserID, user godwit.UserID) groupEffect {
	return g.change(groupChange{do: do, by: []byte(by), count: 2, users: 1, list: appendShort(nil, []byte(user))})
}

func (g *handGroup) join(user godwit.UserID) groupEffect {
	m := g.member(user)
	if m.left != 0 {
		copy(m.spans[1:], m.spans[:])
		m.spans[0] = [2]godwit.Seq{m.since, m.left}
	}
	m.role, m.since, m.left = roleMember, g.row.head+1, 0
	g.putMember(user, m)
	return g.named(doAdd, "alice", user)
}

func (g *handGroup) leave(user godwit.UserID) groupEffect {
	m := g.member(user)
	m.left = g.row.head + 1
	g.putMember(user, m)
	return g.named(doRemove, "alice", user)
}

// point appends pointers to a member's log. what: how his row changes.
func (g *handGroup) point(user godwit.UserID, what func(c *conversationRow), seqs ...godwit.Seq) {
	g.with(user.Partition(), func(m *memGroup) {
		var u userRow
		u.log = 500
		userKey, key := appendUserKey(nil, user.Partition(), []byte(user)), appendConversationKey(nil, user.Partition(), []byte(user), []byte("g:"+g.id))
		if row, ok := m.rows[string(userKey)]; ok && !u.parse(row) {
			panic("BUG: user row")
		}
		var c conversationRow
		if row, ok := m.rows[string(key)]; ok && !c.parse(row) {
			panic("BUG: conversation row")
		}
		u.open(&c)
		c.groupLog = g.log()
		for _, seq := range seqs {
			md := meta{kind: recordPointer, ordinal: uint64(seq), origin: g.log(), originSeq: seq}
			log := u.logID(user)
			r := godwit.Record{Seq: godwit.Seq(len(m.logs[log]) + 1), Conv: uint32(c.number), Prev: c.last, Time: 1_700_000_000_000, Meta: md.append(nil)}
			m.logs[log] = append(m.logs[log], r)
			c.last, c.gseq, c.time = r.Seq, seq, r.Time+int64(r.Seq)
		}
		if what != nil {
			what(&c)
		}
		m.Put(key, c.append(nil))
		m.Put(userKey, u.append(nil))
	})
}

// userRow changes a user's row.
func (g *handGroup) userRow(user godwit.UserID, f func(u *userRow)) {
	g.with(user.Partition(), func(m *memGroup) {
		u := userRow{log: 500}
		key := appendUserKey(nil, user.Partition(), []byte(user))
		if row, ok := m.rows[string(key)]; ok && !u.parse(row) {
			panic("BUG: user row")
		}
		f(&u)
		m.Put(key, u.append(nil))
	})
}

// draw shows an entry: "3/7 bob hi", a place that is not there as "-".
func draw(e *godwit.Entry) string {
	place := func(s godwit.Seq) string {
		if s == 0 {
			return "-"
		}
		return fmt.Sprint(s)
	}
	at := place(e.Seq) + "/" + place(e.GSeq)
	switch {
	case e.IsSkip() && e.Seq == 0:
		return at + " skip"
	case e.IsSkip():
		return fmt.Sprintf("skip %d-%d", e.Seq, e.SkipTo)
	case e.Kind == godwit.EntryGroup:
		return fmt.Sprintf("%s %s %s %v", at, e.Group.Conv, e.Group.Do, e.Group.Users)
	case e.Kind == godwit.EntryMessage || e.Kind == godwit.EntryEdit || e.Kind == godwit.EntryRecall:
		kind := map[godwit.EntryKind]string{godwit.EntryEdit: " edit", godwit.EntryRecall: " recall"}[e.Kind]
		if e.Msg.Edited != 0 {
			kind += " edited"
		}
		if e.Msg.Recalled {
			kind += " recalled"
		}
		return strings.TrimSpace(fmt.Sprintf("%s%s %s %s %s", at, kind, e.Msg.From, e.Msg.Conv, e.Msg.Body))
	}
	return fmt.Sprintf("%s kind %d", at, e.Kind)
}

func drawAll(entries []godwit.Entry) (lines []string) {
	for i := range entries {
		lines = append(lines, draw(&entries[i]))
	}
	return lines
}

func (s *served) wantEntries(what string, entries []godwit.Entry, want ...string) {
	s.t.Helper()
	if got := drawAll(entries); !slices.Equal(got, want) {
		s.t.Errorf("%s:\n%q, want\n%q", what, got, want)
	}
}

func (s *served) syncAll(user godwit.UserID) []godwit.Entry {
	s.t.Helper()
	r := s.ask(user, &godwit.ClientFrame{Kind: godwit.KindSync})
	if r.Kind != godwit.KindSync {
		s.t.Fatalf("sync of %s: %+v", user, r.Error)
	}
	return r.Sync.Entries
}

func (s *served) historyOf(user godwit.UserID, h godwit.History) (godwit.HistoryReply, *godwit.Error) {
	s.t.Helper()
	r := s.ask(user, &godwit.ClientFrame{Kind: godwit.KindHistory, History: h})
	if r.Kind == godwit.KindError {
		return r.History, godwit.ErrorOf(r.Error.Code)
	}
	return r.History, nil
}
