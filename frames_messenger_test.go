package godwit

import (
	"strings"
	"testing"
)

func listOf(users ...string) (out [][]byte) {
	for _, user := range users {
		out = append(out, []byte(user))
	}
	return out
}

// messengerFrames holds the frames of what a messenger has beside messages, each
// with few and with all fields.
func messengerFrames() []*ClientFrame {
	conv, mid := []byte("g:42"), []byte(MessageID{1}.String())
	return []*ClientFrame{
		{ID: 1, Kind: KindConnect, Connect: Connect{Caps: listOf("a"), Resume: Resume{
			Set: true, Epoch: []byte("k3Zx"), Seq: 7, Channels: []ChannelPlace{{Conv: conv, GSeq: SeqMax}, {}},
		}}},
		{ID: 4, Kind: KindHistory, History: History{Conv: conv, GBefore: 9, Limit: 50}},
		{ID: 4, Kind: KindHistory, History: History{Conv: conv, HasGAfter: true}},
		{ID: 4, Kind: KindHistory, History: History{Conv: conv, Before: 1, After: 2, HasAfter: true, GBefore: 3, GAfter: 4, HasGAfter: true}},
		{ID: 6, Kind: KindPresence, Presence: Presence{HasWatch: true}},
		{ID: 6, Kind: KindPresence, Presence: Presence{Get: listOf("bob"), Watch: listOf("bob", "carol"), HasWatch: true}},
		{ID: 6, Kind: KindPresence, Presence: Presence{Get: listOf("bob"), HasWatch: true}},
		{ID: 6, Kind: KindPresence, Presence: Presence{Watch: listOf("bob"), HasWatch: true, Device: []byte("web-1")}},
		{Kind: KindMark},
		{ID: 9, Kind: KindMark, Mark: Mark{Conv: conv, Delivered: 918292, Read: 918291}},
		{Kind: KindTyping, Typing: Typing{Conv: conv}},
		{Kind: KindTyping, Typing: Typing{Conv: conv, Stop: true}},
		{ID: 10, Kind: KindGroup},
		{ID: 10, Kind: KindGroup, Group: Group{Do: []byte(GroupSet), HasName: true}},
		{ID: 10, Kind: KindGroup, Group: Group{
			Do: []byte(GroupCreate), Group: []byte("42"), CID: []byte("c"), Name: []byte(awkward), HasName: true, Users: listOf("bob", "carol"),
			Role: []byte(RoleAdmin), Join: []byte(JoinOpen), History: []byte(HistoryAll), GSeq: 5, Next: []byte("cursor"), Limit: 1<<32 - 1,
		}},
		{ID: 11, Kind: KindEdit},
		{ID: 11, Kind: KindEdit, Edit: Edit{MID: mid, Text: []byte(awkward), HasText: true, Type: []byte("text/plain")}},
		{ID: 11, Kind: KindEdit, Edit: Edit{MID: mid, HasText: true}},
		{ID: 11, Kind: KindEdit, Edit: Edit{MID: mid, Data: []byte{0, 0xff}, HasData: true}},
		{ID: 12, Kind: KindRecall},
		{ID: 12, Kind: KindRecall, Recall: Recall{MID: mid}},
		{ID: 13, Kind: KindDevice, Device: Device{Do: []byte(DeviceList)}},
		{ID: 13, Kind: KindDevice, Device: Device{Do: []byte(DeviceLogout), Device: []byte("web-7f3a"), All: true}},
		{ID: 14, Kind: KindBlock},
		{ID: 14, Kind: KindBlock, Block: People{Add: listOf("bob"), Remove: listOf("carol", "dave")}},
		{ID: 15, Kind: KindContact, Contact: People{Add: listOf("bob", "carol")}},
		{ID: 15, Kind: KindContact, Contact: People{Remove: listOf("bob")}},
		{ID: 16, Kind: KindConversation, Conversation: ConversationChange{Conv: conv}},
		{ID: 16, Kind: KindConversation, Conversation: ConversationChange{Conv: conv, HasMute: true, HasPin: true, HasArchive: true}},
		{ID: 16, Kind: KindConversation, Conversation: ConversationChange{Conv: conv, Pin: true, HasPin: true, HasArchive: true}},
		{ID: 16, Kind: KindConversation, Conversation: ConversationChange{
			Conv: conv, Mute: 1795417297200, HasMute: true, Pin: true, HasPin: true, Archive: true, HasArchive: true, Delete: SeqMax,
		}},
	}
}

// entriesOfEveryKind holds entries with few and with all fields, in a log and in
// a channel.
func entriesOfEveryKind() []Entry {
	edited, recalled := textMessage("hi"), textMessage("")
	edited.Edited = 1795417299000
	recalled.Recalled, recalled.Text, recalled.Body = true, false, nil
	head := Message{MID: MessageID{7}, Conv: []byte("u:bob"), From: []byte("bob"), Time: 1795417297200}
	change := &GroupChange{
		Conv: "g:42", By: "alice", Time: 1795417297200, Do: GroupCreate, Users: []UserID{"bob", "carol"}, Count: 3,
		Name: awkward, Role: RoleAdmin, Join: JoinOpen, History: HistoryAll,
	}
	return []Entry{
		{Seq: 1, GSeq: 9, Msg: textMessage("hi")},
		{GSeq: 9, Msg: dataMessage([]byte{1}, "a/b")},
		{Seq: 2, Msg: edited},
		{Seq: 3, Msg: recalled},
		{GSeq: 9, SkipTo: 9},
		{Seq: 4, Kind: EntryReceipt, Receipt: &Receipt{}},
		{Seq: SeqMax, Kind: EntryReceipt, Receipt: &Receipt{Conv: "u:bob", User: "bob", Delivered: 4, Read: 3, Unread: 1<<53 - 1}},
		{Seq: 5, Kind: EntryEdit, Msg: edited},
		{Seq: 5, GSeq: 3, Kind: EntryEdit, Msg: dataMessage([]byte{0, 0xff}, "a/b")},
		{Seq: 6, Kind: EntryRecall, Msg: head},
		{GSeq: 6, Kind: EntryRecall},
		{Seq: 7, GSeq: 1, Kind: EntryGroup, Group: change},
		{GSeq: 1, Kind: EntryGroup, Group: &GroupChange{Conv: "g:42", Do: GroupBecomesChannel}},
		{Seq: 8, Kind: EntrySettings, Settings: &ConversationSettings{}},
		{Seq: 8, Kind: EntrySettings, Settings: &ConversationSettings{Pin: true}},
		{Seq: 8, Kind: EntrySettings, Settings: &ConversationSettings{Conv: "u:bob", Mute: 1795417297200, Pin: true, Archive: true, Deleted: SeqMax}},
	}
}

func messengerReplies() []*ServerFrame {
	entries := entriesOfEveryKind()
	replies := []*ServerFrame{
		{ID: 1, Kind: KindConnect, Connect: ConnectReply{Session: "s", Digest: 1<<53 - 1, Limits: Limits{Members: 100000, Groups: 1000, Edit: 86400}}},
		{ID: 2, Kind: KindSend, Send: SendReply{State: StateStored, GSeq: 7, Conv: "g:42"}},
		{ID: 2, Kind: KindSend, Send: SendReply{State: StateStored, Seq: 5, GSeq: 7, Conv: "g:42", Dup: true}},
		{ID: 3, Kind: KindSync, Sync: SyncReply{Entries: entries, Head: 9, Digest: 77}},
		{ID: 4, Kind: KindHistory, History: HistoryReply{Entries: entries}},
		{ID: 5, Kind: KindConversations, Conversations: ConversationsReply{Digest: 1, Items: []ConversationItem{
			{
				Conv: "g:42", Last: entries[1], Unread: 3, Read: 4, Delivered: 5, PeerRead: 6, PeerDelivered: 7, GSeq: 8, Name: awkward,
				Channel: true, Mute: 1795417297200, Pin: true, Archive: true,
			},
			{Conv: "u:bob", Last: entries[6], Delivered: 1, Pin: true},
			{Conv: "u:carol", Archive: true},
		}}},
		{ID: 9, Kind: KindDone},
		{ID: 9, Kind: KindDone, Done: Done{Seq: 5, GSeq: 6, Dup: true}},
		{ID: 10, Kind: KindGroup},
		{ID: 10, Kind: KindGroup, Group: GroupReply{Group: "42", Dup: true}},
		{ID: 10, Kind: KindGroup, Group: GroupReply{
			Group: "42", Conv: "g:42", Name: awkward, Join: JoinInvite, History: HistoryJoined, Role: RoleOwner, Count: 2, Channel: true, GSeq: 12,
			Members: []Member{{User: "alice", Role: RoleOwner, Since: 1, Delivered: 12, Read: 11}, {User: "bob", Role: "from later"}},
			Groups:  []GroupItem{{Group: "42", Conv: "g:42", Name: "Chess", Role: RoleMember, Count: 2, Channel: true}, {Group: "43"}},
			Next:    "cursor", Delivered: 4, Read: 3, Dup: true,
		}},
		{ID: 13, Kind: KindDevice},
		{ID: 13, Kind: KindDevice, Devices: DevicesReply{Devices: []DeviceItem{
			{Device: "web-7f3a", Since: 1795417297200, Online: true, Seen: 1795417297300, This: true}, {Device: "phone", Online: true},
		}}},
		{ID: 14, Kind: KindBlock, People: PeopleReply{Users: []UserID{"bob", "carol"}}},
		{ID: 14, Kind: KindBlock},
		{ID: 15, Kind: KindContact, People: PeopleReply{Users: []UserID{"bob"}}},
		{Kind: KindEphemeral, Ephemeral: Ephemeral{IsTyping: true, Typing: TypingNotice{Conv: "u:bob", User: "bob", Stop: true}}},
		{Kind: KindEphemeral, Ephemeral: Ephemeral{IsTyping: true}},
		{Kind: KindEphemeral, Ephemeral: Ephemeral{Presence: PresenceItem{User: "bob", Online: true, LastSeen: 1795417297200}}},
		{Kind: KindEphemeral, Ephemeral: Ephemeral{IsReceipt: true, Receipt: Receipt{Conv: "g:42", User: "bob", Delivered: 7, Read: 5}}},
		{Kind: KindEphemeral, Ephemeral: Ephemeral{IsReceipt: true}},
		{Kind: KindEphemeral},
		{Kind: KindChannel, Channel: ChannelStart{Conv: "g:42", GSeq: 5, Reset: true}},
		{Kind: KindChannel},
	}
	for _, e := range entries {
		replies = append(replies, &ServerFrame{Kind: KindEvent, Event: e})
	}
	return replies
}

// A list to watch is told from none also when it is empty.
func TestEmptyWatchListIsToldFromNone(t *testing.T) {
	f := func(enc Encoding, src string, want bool) {
		t.Helper()
		var frame ClientFrame
		if err := frame.Parse(enc, []byte(src)); err != nil || frame.Presence.HasWatch != want {
			t.Errorf("%q: %v, has a list: %v", src, err, frame.Presence.HasWatch)
		}
		checkClient(t, enc, []byte(src))
	}
	f(EncodingJSON, `{"presence":{}}`, false)
	f(EncodingJSON, `{"presence":{"get":["bob"]}}`, false)
	f(EncodingJSON, `{"presence":{"watch":null}}`, false)
	f(EncodingJSON, `{"presence":{"watching":false}}`, false)
	f(EncodingJSON, `{"presence":{"watch":[]}}`, true)
	f(EncodingJSON, `{"presence":{"watch":[],"watching":false}}`, true)
	f(EncodingJSON, `{"presence":{"watching":true}}`, true)
	f(EncodingJSON, `{"presence":{"watch":["bob"]}}`, true)
	f(EncodingProto, "\x42\x02\x18\x00", false)
	f(EncodingProto, "\x42\x02\x18\x01", true)
	f(EncodingProto, "\x42\x03\x12\x01b", true)
	f(EncodingProto, "\x42\x05\x12\x01b\x18\x00", true)
}

// What this code doesn't know moves a cursor and is otherwise ignored.
func TestUnknownEntriesAndEphemeralsArePassedOver(t *testing.T) {
	f := func(src string, want Entry, wantErr error) {
		t.Helper()
		var frame ServerFrame
		err := frame.Parse(EncodingJSON, []byte(src))
		if got := frame.Event; err != wantErr || err == nil && (got.Seq != want.Seq || got.SkipTo != want.SkipTo || got.GSeq != want.GSeq) {
			t.Errorf("%s: %v, %+v", src, err, got)
		}
		checkServer(t, EncodingJSON, []byte(src))
	}
	f(`{"ev":{"seq":5,"poll":{}}}`, Entry{Seq: 5, SkipTo: 5}, nil)
	f(`{"ev":{"seq":5,"gseq":7,"poll":{}}}`, Entry{Seq: 5, SkipTo: 5}, nil)
	f(`{"ev":{"gseq":7,"poll":{}}}`, Entry{GSeq: 7, SkipTo: 7}, nil)
	f(`{"ev":{"poll":{}}}`, Entry{}, ErrFrameInvalid)
	f(`{"ev":{"seq":5,"msg":{},"edit":{}}}`, Entry{}, ErrFrameInvalid)
	f(`{"ev":{"gseq":5,"skip":{"from":1,"to":2}}}`, Entry{}, ErrFrameInvalid)
	f(`{"eph":{"reaction":{}}}`, Entry{}, ErrFrameUnknown)
	f(`{"eph":{"typing":{},"presence":{}}}`, Entry{}, ErrFrameInvalid)
	f(`{"eph":{"typing":{},"receipt":{}}}`, Entry{}, ErrFrameInvalid)
	f(`{"eph":{},"ev":{"seq":5,"msg":{}}}`, Entry{}, ErrFrameInvalid)
}

// A reply to a send in a group names a place in the sender's log only if there is one.
func TestSendReplyOfAGroup(t *testing.T) {
	f := func(r SendReply, want string) {
		t.Helper()
		frame := ServerFrame{ID: 1, Kind: KindSend, Send: r}
		if got := string(frame.AppendTo(nil, EncodingJSON)); !strings.Contains(got, want) {
			t.Errorf("%s lacks %s", got, want)
		}
	}
	f(SendReply{}, `"state":"","seq":0,"mid"`)
	f(SendReply{GSeq: 7}, `"state":"","gseq":7,"mid"`)
	f(SendReply{Seq: 5, GSeq: 7}, `"state":"","seq":5,"gseq":7,"mid"`)
}

// A message that was taken back shows no body, whatever else a frame says.
func TestRecalledMessageHasNoBody(t *testing.T) {
	e := Entry{Seq: 1, Msg: textMessage("secret")}
	e.Msg.Recalled = true
	for _, enc := range encodings {
		if src := AppendEvent(nil, enc, &e); strings.Contains(string(src), "secret") || strings.Contains(string(src), `"text"`) || strings.Contains(string(src), `"data"`) {
			t.Errorf("%q shows it", src)
		}
	}
	var f ServerFrame
	for _, src := range []string{
		`{"ev":{"seq":1,"msg":{"text":"secret","recalled":true}}}`,
		`{"ev":{"seq":1,"recall":{"text":"secret","type":"a/b"}}}`,
	} {
		mustParse(f.Parse(EncodingJSON, []byte(src)))
		if m := &f.Event.Msg; len(m.Body) != 0 || m.Text || len(m.Type) != 0 {
			t.Errorf("%s: read as %+v", src, m)
		}
	}
}
