package chat

import (
	"slices"

	"github.com/godwit-im/godwit"
)

// fanModel is what members' logs should have of a group, told by its log alone.
type fanModel struct {
	want     map[godwit.UserID]*fanWant
	boundary godwit.Seq
	messages uint64
}

type fanWant struct {
	pointers    []godwit.Seq
	incoming    uint64 // of pointers
	in          bool
	since, left godwit.Seq
	channelFrom godwit.Seq
	seenBefore  uint64   // in a channel: countable entries that are not unread
	sent        []uint64 // or through one of his own, if its mark has come
}

func (m *fanModel) of(user []byte) *fanWant {
	w := m.want[godwit.UserID(user)]
	if w == nil {
		w = &fanWant{}
		m.want[godwit.UserID(user)] = w
	}
	return w
}

// modelOf replays a group's log. Nobody has read anything.
func modelOf(t failer, s *memStore, group string) *fanModel {
	t.Helper()
	m := &fanModel{want: map[godwit.UserID]*fanWant{}}
	g := groupOfStore(t, s, group)
	for _, r := range s.groups[s.Group(godwit.GroupID(group).Partition())].logs[g.logID([]byte(group))] {
		var md meta
		if !md.parse(r.Meta) {
			t.Fatalf("entry %d of %s does not parse", r.Seq, group)
		}
		var sender []byte
		var c groupChange
		switch md.kind {
		case recordMessage:
			b, _ := parseBlock(r.Body)
			sender = b.from[2:]
			m.messages++
			w := m.of(sender)
			w.sent = append(w.sent, m.messages)
		case recordChange:
			c, _ = parseGroupChange(r.Body)
		}
		named := slices.Collect(c.named())
		if c.do == doCreate {
			named = append(named, c.by)
		}
		joins := c.do == doCreate || c.do == doAdd || c.do == doJoin
		leaves := c.do == doRemove || c.do == doLeave
		if joins {
			for _, user := range named {
				w := m.of(user)
				w.in, w.since, w.left = true, r.Seq, 0
				if m.boundary != 0 {
					w.channelFrom, w.seenBefore = r.Seq, m.messages
				}
			}
		}
		for user, w := range m.want {
			if !w.in || m.boundary != 0 && !((joins || leaves) && c.names([]byte(user))) {
				continue
			}
			w.pointers = append(w.pointers, r.Seq)
			if md.kind == recordMessage && string(sender) != string(user) {
				w.incoming++
			}
		}
		if leaves {
			for _, user := range named {
				w := m.of(user)
				w.in, w.left = false, r.Seq
			}
		}
		if c.do == doChannel {
			m.boundary = r.Seq
			for _, w := range m.want {
				if w.in {
					w.channelFrom, w.seenBefore = r.Seq, m.messages-w.incoming
				}
			}
		}
	}
	if g.boundary != m.boundary || g.messages != m.messages || g.head != godwit.Seq(len(s.groups[s.Group(godwit.GroupID(group).Partition())].logs[g.logID([]byte(group))])) {
		t.Fatalf("row %+v, log has boundary %d and %d messages", g, m.boundary, m.messages)
	}
	return m
}

func groupOfStore(t failer, s *memStore, group string) (g groupRow) {
	t.Helper()
	v := s.View(s.Group(godwit.GroupID(group).Partition()))
	defer v.Close()
	if row, ok := v.Get(appendGroupKey(nil, []byte(group))); !ok || !g.parse(slices.Clone(row)) {
		t.Fatalf("row of %s is missing or does not parse", group)
	}
	return g
}

// pointersOf returns the sequences of the group's log that a user's log points
// to, in its order, and his row.
func pointersOf(t failer, s *memStore, user godwit.UserID, group string) (pointers []godwit.Seq, row conversationRow, u userRow) {
	t.Helper()
	v := s.View(s.Group(user.Partition()))
	defer v.Close()
	u, _ = userOfView(v, user)
	value, ok := v.Get(appendConversationKey(nil, user.Partition(), []byte(user), []byte("g:"+group)))
	if !ok {
		return nil, row, u
	}
	if !row.parse(value) {
		t.Fatalf("conversation row of %s does not parse", user)
	}
	records, _ := v.Conversation(u.logID(user), uint32(row.number), godwit.Page{Newest: row.last, Forward: true, Limit: 1 << 30, BytesMax: 1 << 30}, nil)
	for _, r := range records {
		var md meta
		if !md.parse(r.Meta) || md.kind != recordPointer || md.origin != row.groupLog || len(r.Body) != 0 {
			t.Fatalf("entry %d of %s is no pointer: %+v", r.Seq, user, md)
		}
		pointers = append(pointers, md.originSeq)
	}
	return pointers, row, u
}

// checkFanout compares all members' logs with the group's.
func checkFanout(t failer, s *memStore, group string) {
	t.Helper()
	m := modelOf(t, s, group)
	for user, w := range m.want {
		got, row, _ := pointersOf(t, s, user, group)
		if !slices.Equal(got, w.pointers) {
			t.Fatalf("log of %s points to %v, want %v", user, got, w.pointers)
		}
		if row.incoming != w.incoming || row.since != w.since || row.left != w.left || row.channelFrom != w.channelFrom {
			t.Fatalf("row of %s is %+v, want %+v", user, row, w)
		}
		if w.channelFrom != 0 && row.readIncoming != w.seenBefore && !slices.Contains(w.sent, row.readIncoming) {
			t.Fatalf("%s in the channel has seen %d, want %d", user, row.readIncoming, w.seenBefore)
		}
	}
}

// checkGroupCounts compares what users count as their groups with the rows.
func checkGroupCounts(t failer, s *memStore, groups ...string) {
	t.Helper()
	type counts struct{ groups, channels uint64 }
	want := map[godwit.UserID]counts{}
	for _, group := range groups {
		for user, w := range modelOf(t, s, group).want {
			c := want[user]
			if w.in {
				c.groups++
				if w.channelFrom != 0 {
					c.channels++
				}
			}
			want[user] = c
		}
	}
	for user, c := range want {
		if _, _, u := pointersOf(t, s, user, groups[0]); u.groups != c.groups || u.channels != c.channels {
			t.Fatalf("%s counts %d groups, %d channels, want %+v", user, u.groups, u.channels, c)
		}
	}
}

// checkFanned: nothing is pending, and nobody is listed who left.
func checkFanned(t failer, s *memStore, group string) {
	t.Helper()
	g := groupOfStore(t, s, group)
	mem := s.groups[s.Group(godwit.GroupID(group).Partition())]
	if _, ok := mem.rows[string(appendPendingKey(nil, []byte(group)))]; ok || g.fanned != g.head {
		t.Fatalf("fanned %d of %d, pending %v", g.fanned, g.head, ok)
	}
	members := uint64(0)
	for n := range uint32(g.buckets) {
		for r := (reader{b: mem.rows[string(appendBucketKey(nil, []byte(group), n))]}); ; {
			e, ok := nextBucketEntry(&r)
			if !ok {
				break
			}
			// Those whose bucket was not known are found when it is read next.
			if e.left == 0 {
				members++
			}
		}
	}
	if members != g.members {
		t.Fatalf("%d members listed, want %d", members, g.members)
	}
}
