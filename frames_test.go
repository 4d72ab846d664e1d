package godwit

import (
	"bytes"
	"encoding/json"
	"regexp"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	pb "github.com/godwit-im/godwit/internal/godwitpb"
)

var encodings = []Encoding{EncodingJSON, EncodingProto}

func textMessage(body string) Message {
	return Message{
		MID: MessageID{1, 2, 3, 0xff, 15: 0xfe}, Conv: []byte("u:bob"), From: []byte("alice"), CID: []byte("01JDC7Q0V8"),
		Time: 1795417297200, Body: []byte(body), Text: true,
	}
}

func dataMessage(body []byte, mediaType string) Message {
	m := textMessage("")
	m.Text, m.Body, m.Type = false, body, []byte(mediaType)
	return m
}

const awkward = "quote \" backslash \\ / tab \t newline \n return \r nul \x00 unit \x1f del \x7f é 漢字 😀 \u2028\u2029 </script>"

// clientFrames holds every kind of frame, with few and with all fields.
func clientFrames() []*ClientFrame {
	return append(messengerFrames(), []*ClientFrame{
		{Kind: KindPing},
		{ID: 1, Kind: KindConnect},
		{ID: 1<<53 - 1, Kind: KindConnect, Connect: Connect{
			Token: []byte("e30.e30.c2ln"), Device: []byte("web-7f3a"), Caps: [][]byte{[]byte("receipts"), []byte("")},
			Resume: Resume{Set: true, Epoch: []byte("k3Zx"), Seq: SeqMax, Stamp: []byte("465223887110471681")},
		}},
		{ID: 1, Kind: KindConnect, Connect: Connect{Resume: Resume{Set: true}}},
		{ID: 2, Kind: KindSend, Send: Send{To: []byte("bob"), CID: []byte("01JDC7Q0V8"), Text: []byte("hi"), HasText: true}},
		{ID: 2, Kind: KindSend, Send: Send{To: []byte("bob"), CID: []byte("c"), HasText: true, Time: 1795417297000}},
		{ID: 2, Kind: KindSend, Send: Send{Group: []byte("g42"), CID: []byte("c"), Data: []byte{0, 1, 0xff}, HasData: true, Type: []byte("image/png")}},
		{ID: 2, Kind: KindSend, Send: Send{To: []byte("bob"), CID: []byte("c"), HasData: true}},
		{Kind: KindSend, Send: Send{To: []byte("u:bob"), CID: []byte("c"), Text: []byte(awkward), HasText: true}},
		{Kind: KindSend, Send: Send{To: []byte("bob"), CID: []byte("c"), Text: bytes.Repeat([]byte("long "), 5000), HasText: true}},
		{Kind: KindSend},
		{ID: 3, Kind: KindSync},
		{ID: 3, Kind: KindSync, Sync: Sync{Since: 918274, Limit: 500}},
		{ID: 3, Kind: KindSync, Sync: Sync{From: 5, To: 9, Limit: 1<<32 - 1}},
		{ID: 4, Kind: KindHistory, History: History{Conv: []byte("u:bob"), Before: 918291, Limit: 50}},
		{ID: 4, Kind: KindHistory, History: History{Conv: []byte("u:bob"), HasAfter: true}},
		{ID: 4, Kind: KindHistory, History: History{Conv: []byte("g:42"), After: 7, HasAfter: true}},
		{ID: 4, Kind: KindHistory},
		{ID: 5, Kind: KindConversations},
		{ID: 5, Kind: KindConversations, Conversations: Conversations{Limit: 20, Next: []byte("cursor")}},
		{Kind: KindAck, Ack: Ack{Seq: 918292}},
		{Kind: KindAck},
		{ID: 6, Kind: KindPresence},
		{ID: 6, Kind: KindPresence, Presence: Presence{Get: [][]byte{[]byte("bob"), []byte("carol")}}},
		{ID: 8, Kind: KindRefresh, Refresh: Refresh{Token: []byte("e30.e30.c2ln")}},
		{ID: 8, Kind: KindRefresh},
	}...)
}

// serverFrames holds every kind of frame, with few and with all fields.
func serverFrames() []*ServerFrame {
	entries := []Entry{{Seq: 5, Msg: textMessage("hi")}, {Seq: 6, SkipTo: 9}, {Seq: 10, Msg: dataMessage([]byte{0, 0xff}, "a/b")}}
	return append(messengerReplies(), []*ServerFrame{
		{Kind: KindPing},
		{ID: 1, Kind: KindConnect},
		{ID: 1, Kind: KindConnect, Connect: ConnectReply{
			Session: "s9a", Node: "edge-2", Epoch: "k3Zx", Seq: 918290, Resumed: true, Missed: 17, Ping: 25, TTL: 3580,
			Time: 1795417297123, User: "alice", Device: "web-7f3a", Caps: []string{"receipts", "x"}, Stamp: "465223887110471681",
			Limits: Limits{Frame: 65536, Body: 16384, InFlight: 64, SendPerS: 20, Page: 100, Watch: 500, Presence: 200, Window: 512, RPC: 50, Wait: 60, Queue: 2097152, Sessions: 32, FramesPerS: 200},
		}},
		{ID: 1, Kind: KindConnect, Connect: ConnectReply{Session: "s", Epoch: "k3Zx", Reason: "too_far"}},
		{ID: 2, Kind: KindSend, Send: SendReply{State: StateStored, Seq: 918291, MID: MessageID{9}, Conv: "u:bob", Time: 1795417297200, Dup: true}},
		{ID: 2, Kind: KindSend},
		{ID: 3, Kind: KindSync},
		{ID: 3, Kind: KindSync, Sync: SyncReply{Entries: entries, Head: SeqMax}},
		{ID: 4, Kind: KindHistory, History: HistoryReply{Entries: entries, More: true}},
		{ID: 4, Kind: KindHistory},
		{ID: 5, Kind: KindConversations},
		{ID: 5, Kind: KindConversations, Conversations: ConversationsReply{Next: "cursor", AsOf: 7, Items: []ConversationItem{
			{Conv: "u:bob", Last: entries[0], Unread: 3, Read: 4}, {Conv: "u:carol"}, {Conv: "g:42", Last: entries[1]},
		}}},
		{ID: 6, Kind: KindPresence},
		{ID: 6, Kind: KindPresence, Presence: PresenceReply{Users: []PresenceItem{{User: "bob", Online: true, LastSeen: 1795417297200}, {User: "carol"}}}},
		{ID: 7, Kind: KindError, Error: ErrRateLimited.Reply(250)},
		{Kind: KindError, Error: ErrorReply{Code: "from.later", Num: 4999, Message: awkward}},
		{Kind: KindEvent, Event: Entry{Seq: 918291, Msg: textMessage("hi")}},
		{Kind: KindEvent, Event: Entry{Seq: 1, Msg: textMessage(awkward)}},
		{Kind: KindEvent, Event: Entry{Seq: 1, Msg: textMessage("")}},
		{Kind: KindEvent, Event: Entry{Seq: 1, Msg: textMessage(strings.Repeat("漢", 6000))}},
		{Kind: KindEvent, Event: Entry{Seq: SeqMax, Msg: dataMessage(bytes.Repeat([]byte{0xff, 0}, 200), "application/octet-stream")}},
		{Kind: KindEvent, Event: Entry{Seq: 2, Msg: dataMessage(nil, "")}},
		{Kind: KindSkip, Skip: Skip{From: 918300, To: 918344}},
		{Kind: KindResumed, Resumed: Resumed{Seq: 918290}},
		{Kind: KindResumed},
		{Kind: KindGoaway, Goaway: Goaway{Reason: "drain", AfterMS: 8000, SpreadMS: 60000, URL: "wss://other.example/v1/ws"}},
		{Kind: KindGoaway},
		{ID: 8, Kind: KindRefresh, Refresh: RefreshReply{TTL: 3600}},
		{ID: 8, Kind: KindRefresh},
		{Kind: KindPoll, Poll: Poll{Cursor: "k3Zx.ai2"}},
		{Kind: KindPoll},
	}...)
}

// fieldsOf prints a frame's values. It makes no difference between an empty
// slice and none, nor shows what the codecs keep for themselves.
func (f *ClientFrame) fieldsOf() string { return exported(f) }

func (f *ServerFrame) fieldsOf() string { return exported(f) }

var emptyValue = regexp.MustCompile(`([:,\[])(""|\[\])`)

// exported goes by encoding/json, which follows pointers and sees what is exported.
func exported(frame any) string {
	b, err := json.Marshal(frame)
	if err != nil {
		panic(err)
	}
	return emptyValue.ReplaceAllString(string(b), "${1}null")
}

func TestEveryClientFrameRoundTrips(t *testing.T) {
	var got ClientFrame
	for _, want := range clientFrames() {
		for _, enc := range encodings {
			src := want.AppendTo(nil, enc)
			if err := got.Parse(enc, src); err != nil {
				t.Fatalf("%q: %v", src, err)
			}
			if got.fieldsOf() != want.fieldsOf() {
				t.Errorf("%s: %.200q\n got %.900s\nwant %.900s", enc.Subprotocol(), src, got.fieldsOf(), want.fieldsOf())
			}
		}
		checkClient(t, EncodingJSON, want.AppendTo(nil, EncodingJSON))
		checkClient(t, EncodingProto, want.AppendTo(nil, EncodingProto))
	}
}

func TestEveryServerFrameRoundTrips(t *testing.T) {
	var got ServerFrame
	for _, want := range serverFrames() {
		for _, enc := range encodings {
			src := want.AppendTo(nil, enc)
			if err := got.Parse(enc, src); err != nil {
				t.Fatalf("%q: %v", src, err)
			}
			if got.fieldsOf() != want.fieldsOf() {
				t.Errorf("%s: %.200q\n got %.900s\nwant %.900s", enc.Subprotocol(), src, got.fieldsOf(), want.fieldsOf())
			}
		}
		checkServer(t, EncodingJSON, want.AppendTo(nil, EncodingJSON))
		checkServer(t, EncodingProto, want.AppendTo(nil, EncodingProto))
	}
}

// checkClient parses src and demands the oracle's verdict and values, and that
// what is accepted stays the same when it is written and read again.
func checkClient(t *testing.T, enc Encoding, src []byte) {
	t.Helper()
	var f ClientFrame
	var want pb.ClientFrame
	if !agrees(t, enc, src, f.Parse(enc, src), &want) {
		return
	}
	if p := want.Presence; p != nil && len(p.Watch) > 0 {
		p.Watching = true
	}
	var again ClientFrame
	for _, enc := range encodings {
		first := f.AppendTo(nil, enc)
		if err := again.Parse(enc, first); err != nil {
			t.Fatalf("%q written as %q: %v", src, first, err)
		}
		if second := again.AppendTo(nil, enc); !bytes.Equal(first, second) {
			t.Fatalf("%q written as %q, then as %q", src, first, second)
		}
	}
	sameValues(t, src, f.AppendTo(nil, EncodingProto), new(pb.ClientFrame), &want)
}

func checkServer(t *testing.T, enc Encoding, src []byte) {
	t.Helper()
	var f ServerFrame
	var want pb.ServerFrame
	if !agrees(t, enc, src, f.Parse(enc, src), &want) {
		return
	}
	settle(&want)
	var again ServerFrame
	for _, enc := range encodings {
		first := f.AppendTo(nil, enc)
		if err := again.Parse(enc, first); err != nil {
			t.Fatalf("%q written as %q: %v", src, first, err)
		}
		if second := again.AppendTo(nil, enc); !bytes.Equal(first, second) {
			t.Fatalf("%q written as %q, then as %q", src, first, second)
		}
	}
	sameValues(t, src, f.AppendTo(nil, EncodingProto), new(pb.ServerFrame), &want)
}

// agrees reads src with the oracle into want and compares verdicts. It returns
// whether the frame is accepted.
func agrees(t *testing.T, enc Encoding, src []byte, got error, want proto.Message) bool {
	t.Helper()
	var v verdict
	loose := false
	if enc == EncodingJSON {
		v = oracleJSON(src, want)
	} else {
		v, loose = oracleProto(src, want)
	}
	err := v.err()
	if refused := err != nil; refused != (got != nil) || refused && !loose && got != err {
		t.Fatalf("%s %q\n got %v\nwant %v", enc.Subprotocol(), src, got, err)
	}
	return err == nil
}

func sameValues(t *testing.T, src, encoded []byte, got, want proto.Message) {
	t.Helper()
	if err := proto.Unmarshal(encoded, got); err != nil {
		t.Fatalf("%q written as %q: %v", src, encoded, err)
	}
	withoutUnknown(want)
	if !proto.Equal(got, want) {
		t.Fatalf("%q\n got %v\nwant %v", src, got, want)
	}
}

func withoutUnknown(m proto.Message) {
	b, err := proto.Marshal(m)
	if err == nil {
		err = proto.UnmarshalOptions{DiscardUnknown: true}.Unmarshal(b, m)
	}
	if err != nil {
		panic(err)
	}
}
