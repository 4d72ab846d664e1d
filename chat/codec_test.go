package chat

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/godwit-im/godwit"
)

func sampleBlock() []byte {
	return appendBlock(nil, []byte("alice"), []byte("bob"), []byte("c1"), []byte("text/plain"), []byte("hi"), true)
}

func sampleCommands() map[string][]byte {
	lane := laneID{godwit.UserID("alice").Partition(), godwit.UserID("bob").Partition()}
	item := laneItem{origin: godwit.NewLogID(lane.src, 7), seq: 300, time: 1_700_000_000_000, block: sampleBlock()}
	st := testSettings(8)
	genesis := genesisCommand{settings: st}
	return map[string][]byte{
		"genesis": genesis.append(nil, 0),
		"send":    append(appendSendHead(nil, 128, 1_700_000_000_000), sampleBlock()...),
		"forward": appendForwardItem(appendForwardHead(nil, 256, lane, testEpoch, 9, 1), &item),
		"ack":     appendAckLane(appendAckLane(appendAckHead(nil, 384, 2), lane, 300), laneID{1, 1023}, 1),
		"trim":    binary.BigEndian.AppendUint64(appendTrimHead(nil, 512, "alice"), 0x0102030405060708),
		"restore": (&restoreCommand{epoch: 0x1112131415161718}).append(nil, 640),
	}
}

// The bytes of every command are part of the log's format: a change here needs
// a new version, not a new golden value.
func TestCommandBytesAreFixed(t *testing.T) {
	golden := map[string]string{
		"genesis": "010100000000" + "01" + "00000001" + "00000000000000e0" + "01020300000000000000000000000000" + "00000008" + "00002710" + "00000000240c8400" + "000186a0",
		"send":    "020100000080" + "80d095ffbc31" + sampleHex,
		"forward": "030100000100" + "PART" + "00000000000000e0" + "09" + "01" + "07" + "ac02" + "80d095ffbc31" + "1f" + sampleHex,
		"ack":     "040100000180" + "02" + "PART" + "ac02" + "000103ff" + "01",
		"trim":    "050100000200" + "05616c696365" + "0102030405060708",
		"restore": "060100000280" + "1112131415161718",
	}
	document, err := os.ReadFile("../docs/formats/commands.md")
	if err != nil {
		t.Fatal(err)
	}
	lane := binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(nil,
		uint16(godwit.UserID("alice").Partition())), uint16(godwit.UserID("bob").Partition()))
	for name, command := range sampleCommands() {
		want, err := hex.DecodeString(string(bytes.ReplaceAll([]byte(golden[name]), []byte("PART"), []byte(hex.EncodeToString(lane)))))
		if err != nil || !bytes.Equal(command, want) {
			t.Errorf("%s is\n%x, want\n%x (%v)", name, command, want, err)
		}
		if _, ok := parseCommand(command); !ok {
			t.Errorf("%s does not parse", name)
		}
		if example := fmt.Sprintf("    %-8s %x\n", name, command); !strings.Contains(string(document), example) {
			t.Errorf("docs/formats/commands.md lacks %q", example)
		}
	}
}

const sampleHex = "07753a616c696365" + "05753a626f62" + "026331" + "01" + "0a746578742f706c61696e" + "6869"

func TestRowsRoundTrip(t *testing.T) {
	u := userRow{log: 1 << 40, sends: 300, time: 1_700_000_000_000, conversations: 7}
	c := conversationRow{number: 5, last: 1 << 50, incoming: 900, read: 3, readIncoming: 2}
	u2 := u
	u2.digest, u2.channels, u2.loggedOut = 1<<63, 2, 1_700_000_000_000
	c2 := c
	c2.time, c2.mute, c2.groupLog, c2.channelSeq = 5, 6, godwit.NewLogID(7, 8), 9
	d := dedupRow{send: 9, seq: 10, time: 11, content: 1 << 63}
	l := laneOutRow{last: 9, acked: 4, bytes: 1000, bytesAcked: 400}
	o := outboxRow{log: 3, seq: 4, bytes: 5}
	i := laneInRow{epoch: 1, last: 2, past: [pastEpochsMax]uint64{3, 4}}
	m := meta{incoming: true, ordinal: 400, origin: godwit.NewLogID(1023, 1<<47), originSeq: 5}
	own := meta{ordinal: 400}
	st := testSettings(64)
	again := st
	again.begin(7)
	again.begin(8)
	f := func(value []byte, parse func([]byte) (any, bool), want any) {
		t.Helper()
		got, ok := parse(value)
		if !ok || !reflect.DeepEqual(got, want) {
			t.Errorf("%x parses as %+v %v, want %+v", value, got, ok, want)
		}
		for n := range value {
			if _, ok := parse(value[:n]); ok && n != len(value) && !isLaneIn(want) {
				t.Errorf("%T cut to %d of %d bytes parses", want, n, len(value))
			}
		}
		if _, ok := parse(append(bytes.Clone(value), 1)); ok && !isOpen(want) {
			t.Errorf("%T with a tail parses", want)
		}
	}
	f(u.append(nil), func(b []byte) (any, bool) { var v userRow; ok := v.parse(b); return v, ok }, u)
	f(c.append(nil), func(b []byte) (any, bool) { var v conversationRow; ok := v.parse(b); return v, ok }, c)
	for _, v := range []userRow{u2} {
		var got userRow
		if !got.parse(v.append(nil)) || got != v {
			t.Errorf("%+v parses as %+v", v, got)
		}
	}
	for _, v := range []conversationRow{c2} {
		var got conversationRow
		if !got.parse(v.append(nil)) || got != v {
			t.Errorf("%+v parses as %+v", v, got)
		}
	}
	f(d.append(nil), func(b []byte) (any, bool) { var v dedupRow; ok := v.parse(b); return v, ok }, d)
	f(l.append(nil), func(b []byte) (any, bool) { var v laneOutRow; ok := v.parse(b); return v, ok }, l)
	f(o.append(nil), func(b []byte) (any, bool) { var v outboxRow; ok := v.parse(b); return v, ok }, o)
	f(i.append(nil), func(b []byte) (any, bool) { var v laneInRow; ok := v.parse(b); return v, ok }, i)
	f(m.append(nil), func(b []byte) (any, bool) { var v meta; ok := v.parse(b); return v, ok }, m)
	f(own.append(nil), func(b []byte) (any, bool) { var v meta; ok := v.parse(b); return v, ok }, own)
	f(st.append(nil), func(b []byte) (any, bool) { v, ok := parseSettings(b); return v, ok }, st)
	f(again.append(nil), func(b []byte) (any, bool) { v, ok := parseSettings(b); return v, ok }, again)
}

// isOpen: fields that are zero are left out at the row's end.
func isOpen(row any) bool {
	switch row.(type) {
	case userRow, conversationRow:
		return true
	}
	return false
}

// isLaneIn: its list of past epochs may end anywhere between two of them.
func isLaneIn(v any) bool { _, ok := v.(laneInRow); return ok }

func TestConversationsCursorRoundTrip(t *testing.T) {
	c := conversationsCursor{set: true, place: place{time: 1_700_000_000_000, last: 1 << 50, number: 7}}
	if got, ok := parseConversationsCursor([]byte(c.String())); !ok || got != c {
		t.Errorf("cursor %+v %v, want %+v", got, ok, c)
	}
	for _, text := range []string{"!", "AA", "AQ", "AQE", "AgE", "AgEB", "AgEBAA", c.String() + "A"} {
		if _, ok := parseConversationsCursor([]byte(text)); ok {
			t.Errorf("cursor %q parses", text)
		}
	}
}

// FuzzConversationsCursor: what is taken from a client means one place.
func FuzzConversationsCursor(f *testing.F) {
	f.Add([]byte(conversationsCursor{place: place{time: 1_700_000_000_000, last: 1 << 50, number: 7}}.String()))
	f.Add([]byte("AQE"))
	f.Add([]byte("AgAAAQ"))
	f.Fuzz(func(t *testing.T, text []byte) {
		c, ok := parseConversationsCursor(text)
		if !ok || !c.set {
			return
		}
		if again, ok := parseConversationsCursor([]byte(c.String())); !ok || again != c || c.place.compare(again.place) != 0 {
			t.Errorf("cursor %q is %+v, and then %+v", text, c, again)
		}
	})
}

// FuzzCommand gives arbitrary bytes to apply: it must not panic, must read only
// what Reads names (the fake panics otherwise), two replicas must agree, and
// what is refused must leave the state alone.
func FuzzCommand(f *testing.F) {
	for _, command := range sampleCommands() {
		f.Add(command, byte(1))
		f.Add(command[:len(command)-1], byte(8))
	}
	f.Fuzz(func(t *testing.T, command []byte, groups byte) {
		if p, ok := parseCommand(command); ok && p.genesis.settings.level > levelMax {
			t.Skip("stops the binary: TestLevelAboveThisBinaryStopsIt")
		}
		n := 1 << (groups % 4)
		run := func() (o [8]outcome, d []uint64, changed bool) {
			w := newWorld(t, n, nil)
			w.send("alice", "bob", "c0", "x")
			before := w.store.digests()
			for g := range n {
				o[g] = w.run(g, command)
				o[g].conv = nil
				if o[g].refusal != nil && before[g] != w.store.groups[g].digest() {
					changed = true
				}
			}
			return o, w.store.digests(), changed
		}
		o1, d1, changed := run()
		o2, d2, _ := run()
		if changed {
			t.Error("a refused command changed the state")
		}
		if !reflect.DeepEqual(o1, o2) || !reflect.DeepEqual(d1, d2) {
			t.Errorf("two replicas differ: %+v, %+v", o1, o2)
		}
	})
}

// FuzzRecord gives arbitrary bytes to the parser of stored records.
func FuzzRecord(f *testing.F) {
	in := meta{incoming: true, ordinal: 3, origin: godwit.NewLogID(5, 6), originSeq: 7}
	own := meta{ordinal: 3}
	f.Add(in.append(nil), sampleBlock())
	f.Add(own.append(nil), sampleBlock())
	change := groupChange{do: doAdd, by: []byte("bob"), count: 3, users: 1, list: []byte("\x05carol")}
	for _, kind := range []recordKind{recordMark, recordEdit, recordRecall, recordPointer, recordChange, recordSettings} {
		m := meta{kind: kind, origin: in.origin, originSeq: 7}
		f.Add(m.append(nil), sampleBlock())
		f.Add(m.append(nil), change.append(nil))
	}
	ids, err := newMessageIDs([16]byte{1})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, md, body []byte) {
		var e godwit.Entry
		var m meta
		r := &godwit.Record{Seq: 4, Time: 5, Meta: md, Body: body}
		if ids.groupEntry(&e, &m, "g", godwit.NewLogID(1, 2), r) == shownEntry && (e.Seq != 0 || e.GSeq != 4) {
			t.Errorf("entry of a group: %+v", e)
		}
		if !ids.entry(&e, godwit.NewLogID(1, 2), r) || e.Kind != godwit.EntryMessage {
			return
		}
		b, _ := parseBlock(body)
		if !isDirect(b.to) {
			return
		}
		again := appendBlock(nil, b.from[2:], b.to[2:], b.cid, b.typ, b.body, b.text)
		if !bytes.Equal(again, body) {
			t.Errorf("block %x is written back as %x", body, again)
		}
		msg := &e.Msg
		if e.Seq != 4 || msg.Time != 5 || msg.MID == (godwit.MessageID{}) || !bytes.HasSuffix(body, msg.Body) ||
			(string(msg.Conv) != string(b.to) && string(msg.Conv) != string(b.from)) {
			t.Errorf("entry %+v", e)
		}
	})
}

func TestRecordToEntryDoesNotAllocate(t *testing.T) {
	ids, err := newMessageIDs([16]byte{1})
	if err != nil {
		t.Fatal(err)
	}
	own := meta{ordinal: 3}
	r := &godwit.Record{Seq: 4, Time: 5, Meta: own.append(nil), Body: sampleBlock()}
	e := new(godwit.Entry)
	if n := testing.AllocsPerRun(100, func() {
		if !ids.entry(e, 1, r) {
			t.Fatal("the record does not parse")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
