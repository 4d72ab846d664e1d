package chat

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/godwit-im/godwit"
)

// right is a request that one user makes about what belongs to others. A new kind
// of request is a new row.
type right struct {
	name  string
	frame godwit.ClientFrame
	want  map[string]*godwit.Error // by who asks; nil: done, absent: see refused
}

// TestWhoMayDoWhat asks for everything as everybody. dave never had anything to do
// with the others; eve was a member of the group and was removed; carol is blocked
// by alice. What is refused changes nothing.
//
//tidy:long a table of requests
func TestWhoMayDoWhat(t *testing.T) {
	for _, groups := range []int{1, 8} {
		bubble(t, groups, nil, func(s *served) {
			mid := s.send("alice", "bob", "c1", "private").MID.AppendTo(nil)
			s.send("carol", "alice", "c1", "before the block")
			s.block("alice", "carol")
			g := s.createGroup("alice", "g1", "club", "bob", "carol", "eve")
			conv, id := "g:"+string(g.Group), []byte(g.Group)
			inGroup := s.send("alice", conv, "c2", "for members").MID.AppendTo(nil)
			s.settle()
			s.mustGroup(s.askGroup("alice", godwit.GroupRemove, string(g.Group), func(f *godwit.Group) { f.Users = [][]byte{[]byte("eve")} }))
			s.send("alice", conv, "c3", "not for eve")
			s.settle()

			outsiders := func(e *godwit.Error) map[string]*godwit.Error {
				return map[string]*godwit.Error{"dave": e, "eve": e}
			}
			group := func(do string, change func(*godwit.Group)) godwit.ClientFrame {
				f := godwit.ClientFrame{Kind: godwit.KindGroup, Group: godwit.Group{Do: []byte(do), Group: id}}
				if change != nil {
					change(&f.Group)
				}
				return f
			}
			user := func(u string) func(*godwit.Group) {
				return func(f *godwit.Group) { f.Users = [][]byte{[]byte(u)} }
			}
			everyone := func(e *godwit.Error) map[string]*godwit.Error {
				return map[string]*godwit.Error{"bob": e, "carol": e, "dave": e, "eve": e}
			}
			edit := func(mid []byte) godwit.ClientFrame {
				return godwit.ClientFrame{Kind: godwit.KindEdit, Edit: godwit.Edit{MID: mid, Text: []byte("forged"), HasText: true}}
			}
			recall := func(mid []byte) godwit.ClientFrame {
				return godwit.ClientFrame{Kind: godwit.KindRecall, Recall: godwit.Recall{MID: mid}}
			}
			forged := slices.Clone(mid)
			forged[3] ^= 1
			notMembers := map[string]*godwit.Error{"bob": godwit.ErrForbidden, "carol": godwit.ErrForbidden, "dave": godwit.ErrNotMember, "eve": godwit.ErrNotMember}
			for _, r := range []right{
				{"send to the group", *sendFrame(conv, "x1", "hi"), outsiders(godwit.ErrNotMember)},
				{"its info", group(godwit.GroupInfo, nil), outsiders(godwit.ErrNotMember)},
				{"its members", group(godwit.GroupMembers, nil), outsiders(godwit.ErrNotMember)},
				{"its receipts", group(godwit.GroupReceipts, func(f *godwit.Group) { f.GSeq = 1 }), outsiders(godwit.ErrNotMember)},
				{"add oneself", group(godwit.GroupAdd, user("dave")), notMembers},
				{"remove the owner", group(godwit.GroupRemove, user("alice")), notMembers},
				{"give roles", group(godwit.GroupRole, func(f *godwit.Group) { f.Users, f.Role = [][]byte{[]byte("bob")}, []byte(godwit.RoleOwner) }), notMembers},
				{"rename it", group(godwit.GroupSet, func(f *godwit.Group) { f.Name, f.HasName = []byte("mine"), true }), notMembers},
				{"join it", group(godwit.GroupJoin, nil), outsiders(godwit.ErrNotMember)},
				{"leave it", group(godwit.GroupLeave, nil), outsiders(godwit.ErrNotMember)},
				{"edit another's message", edit(mid), everyone(godwit.ErrNoMessage)},
				{"recall another's message", recall(mid), everyone(godwit.ErrNoMessage)},
				{"edit a forged id", edit(forged), everyone(godwit.ErrNoMessage)},
				{"edit in the group", edit(inGroup), everyone(godwit.ErrNoMessage)},
				{"recall in the group", recall(inGroup), everyone(godwit.ErrNoMessage)},
				{"mark the group", godwit.ClientFrame{Kind: godwit.KindMark, Mark: godwit.Mark{Conv: []byte(conv), Read: 1}}, map[string]*godwit.Error{"dave": godwit.ErrNotMember}},
				{"mute the group", godwit.ClientFrame{Kind: godwit.KindConversation, Conversation: godwit.ConversationChange{Conv: []byte(conv), Pin: true, HasPin: true}}, map[string]*godwit.Error{"dave": godwit.ErrNotMember}},
				{"block oneself", *peopleFrame(godwit.KindBlock, []string{"dave"}, nil), map[string]*godwit.Error{"dave": godwit.ErrBadUser}},
				{"log out nobody's device", godwit.ClientFrame{Kind: godwit.KindDevice, Device: godwit.Device{Do: []byte(godwit.DeviceLogout)}}, everyone(godwit.ErrFrameInvalid)},
			} {
				for _, who := range []string{"bob", "carol", "dave", "eve"} {
					want, stands := r.want[who]
					if !stands {
						continue
					}
					before, f := s.store.digests(), r.frame
					got := s.ask(godwit.UserID(who), &f)
					if got.Kind != godwit.KindError || got.Error.Code != want.Code {
						t.Errorf("%d groups: %s as %s: %d %s, want %s", groups, r.name, who, got.Kind, got.Error.Code, want.Code)
					}
					if !slices.Equal(before, s.store.digests()) {
						t.Errorf("%s as %s was refused and changed the state", r.name, who)
					}
				}
			}

			// What is read is one's own.
			for who, secret := range map[godwit.UserID][]string{
				"dave": {"private", "for members", "not for eve"}, "eve": {"private", "not for eve"}, "carol": {"private"},
			} {
				seen := fmt.Sprint(s.sync(who), s.readable(who, "u:alice"), s.readable(who, "u:bob"), s.readable(who, conv))
				for _, text := range secret {
					if strings.Contains(seen, text) {
						t.Errorf("%s reads %q: %s", who, text, seen)
					}
				}
			}
			// The blocked is told what everybody is told.
			if r := s.ask("carol", sendFrame("alice", "x9", "let me in")); r.Kind != godwit.KindSend || r.Send.State != "stored" {
				t.Errorf("the blocked sends: %+v", r)
			}
			s.settle()
			if seen := fmt.Sprint(s.sync("alice")); strings.Contains(seen, "let me in") || !strings.Contains(seen, "before the block") {
				t.Errorf("alice reads %s", seen)
			}
		})
	}
}

// readable is history where there may be none.
func (s *served) readable(user godwit.UserID, conv string) (lines []string) {
	r := s.ask(user, &godwit.ClientFrame{Kind: godwit.KindHistory, History: godwit.History{Conv: []byte(conv)}})
	for i := range r.History.Entries {
		lines = append(lines, string(r.History.Entries[i].Msg.Body))
	}
	return lines
}

// The bytes of these commands are part of the log's format.
func TestCommandBytesOfRightsAreFixed(t *testing.T) {
	seen := deviceCommand{op: deviceSeen, user: []byte("al"), device: []byte("tv"), forget: []byte("pc"), issued: 300}
	all := deviceCommand{op: deviceLogoutAll, user: []byte("al")}
	sent := append(appendCheckedSend(nil, 128, 300, true), sampleBlock()...)
	for name, c := range map[string]struct {
		command []byte
		want    string
	}{
		"send v2":      {sent, "020200000080" + "01" + "ac02" + sampleHex},
		"block":        {appendPeople(nil, 1, listBlocked, "al", [][]byte{[]byte("bo"), []byte("cy")}, [][]byte{[]byte("di")}), "1e0100000001" + "01" + "02616c" + "02" + "02626f" + "026379" + "01" + "026469"},
		"device":       {seen.append(nil, 1), "1f0100000001" + "01" + "02616c" + "027476" + "027063" + "ac02"},
		"logout":       {all.append(nil, 1), "1f0100000001" + "03" + "02616c" + "00" + "00" + "00"},
		"expire":       {appendEraseExpired(nil, 1, 300), "200100000001" + "01" + "ac02"},
		"conversation": {appendErase(nil, 1, eraseConversation, []byte("al"), []byte("bo"), 0), "200100000001" + "02" + "02616c" + "02626f"},
		"group":        {appendErase(nil, 1, eraseGroup, []byte("g1"), nil, 0), "200100000001" + "03" + "026731"},
		"rows":         {append(appendErase(nil, 1, eraseRows, []byte("al"), nil, 1), "b\x02bo"...), "200100000001" + "04" + "02616c" + "01" + "62" + "02626f"},
		"user":         {appendErase(nil, 1, eraseUser, []byte("al"), nil, 0), "200100000001" + "05" + "02616c"},
		"keep user":    {(&keepCommand{op: keepUser, id: []byte("al"), peer: []byte("bo"), kept: 300, by: []byte("op")}).append(nil, 1), "210100000001" + "01" + "02616c" + "02626f" + "ac02" + "026f70"},
		"keep group":   {(&keepCommand{op: keepGroup, id: []byte("g1")}).append(nil, 1), "210100000001" + "02" + "026731" + "00" + "00"},
		"keep expired": {(&keepCommand{op: keepExpired, id: []byte("g1"), kept: 300, before: 7, upTo: 9, ordinal: 8}).append(nil, 1), "210100000001" + "03" + "026731" + "ac02" + "07" + "09" + "08"},
	} {
		if want, _ := hex.DecodeString(c.want); !bytes.Equal(c.command, want) {
			t.Errorf("%s is\n%x, want\n%s", name, c.command, c.want)
		}
		if _, ok := parseCommand(c.command); !ok {
			t.Errorf("%s does not parse", name)
		}
		for n := range len(c.command) {
			if _, ok := parseCommand(c.command[:n]); ok && !strings.HasPrefix(name, "send") {
				t.Errorf("%d bytes of %s parse", n, name)
			}
		}
	}
	bad := []string{
		"1e0100000001" + "03" + "02616c" + "01" + "02626f" + "00", // no such list
		"1e0100000001" + "01" + "02616c" + "00" + "00",            // nothing
		"1e0100000001" + "01" + "02616c" + "01" + "02616c" + "00", // himself
		"1f0100000001" + "02" + "02616c" + "00" + "00" + "00",     // a logout of no device
		"200100000001" + "04" + "02616c" + "01" + "75" + "02626f", // a row that is not the user's to erase
		"200100000001" + "06" + "02616c",
		"210100000001" + "04" + "026731" + "00" + "00",                            // no such op
		"210100000001" + "01" + "02616c" + "00" + "01" + "00",                     // a conversation with nobody
		"210100000001" + "02" + "026731" + "8080e983b1de17" + "00",                // kept longer than times go
		"210100000001" + "03" + "026731" + "00" + "07" + "09" + "08",              // expired without a rule
		"210100000001" + "02" + "026731" + "01" + "41" + strings.Repeat("61", 65), // by whom is too long
		"020200000080" + "02" + "ac02" + sampleHex,                                // an unknown flag
	}
	for _, text := range bad {
		command, _ := hex.DecodeString(text)
		if _, ok := parseCommand(command); ok {
			t.Errorf("%s parses", text)
		}
	}
}

// FuzzRights applies whatever parses at level 2: no panic, the same state twice,
// and a refusal changes nothing.
func FuzzRights(f *testing.F) {
	seen := deviceCommand{op: deviceSeen, user: []byte("alice"), device: []byte("tv"), forget: []byte("pc"), issued: 300}
	f.Add(append(appendCheckedSend(nil, 0, 300, true), sampleBlock()...))
	f.Add(appendPeople(nil, 0, listBlocked, "alice", [][]byte{[]byte("bob")}, [][]byte{[]byte("carol")}))
	f.Add(seen.append(nil, 0))
	f.Add(appendErase(nil, 0, eraseConversation, []byte("alice"), []byte("bob"), 0))
	f.Add(append(appendErase(nil, 0, eraseRows, []byte("alice"), nil, 1), "c\x03bob"...))
	f.Add(appendErase(nil, 0, eraseUser, []byte("alice"), nil, 0))
	f.Add((&keepCommand{op: keepUser, id: []byte("alice"), peer: []byte("bob"), kept: 300, by: []byte("op")}).append(nil, 0))
	f.Add((&keepCommand{op: keepGroup, id: []byte("g1"), kept: 300}).append(nil, 0))
	f.Add((&keepCommand{op: keepExpired, id: []byte("g1"), kept: 300, before: 7, upTo: 9, ordinal: 8}).append(nil, 0))
	f.Fuzz(func(t *testing.T, command []byte) {
		p, ok := parseCommand(command)
		if !ok || p.header.kind != kindPeople && p.header.kind != kindDevice && p.header.kind != kindErase && p.header.kind != kindKeep && p.header.version != sendVersion {
			return
		}
		run := func() (outcome, []uint64, bool) {
			w := newWorld(t, 1, func(st *settings) {
				st.level, st.policy = 2, policy{channelAbove: 1, membersMax: 1, peopleMax: 3, whoMayStart: startContacts}
			})
			w.run(0, appendPeople(nil, 0, listBlocked, "alice", [][]byte{[]byte("eve")}, nil))
			before := w.store.digests()
			o := w.run(0, command)
			return o, w.store.digests(), o.refusal != nil && !slices.Equal(before, w.store.digests())
		}
		o1, d1, changed := run()
		o2, d2, _ := run()
		if changed || o1.refusal != o2.refusal || !slices.Equal(d1, d2) {
			t.Errorf("%x: refused and changed %v, %v and %v", command, changed, o1.refusal, o2.refusal)
		}
	})
}
