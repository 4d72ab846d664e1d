package chat

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/godwit-im/godwit"
)

// sampleMarkCommands are of a conversation between alice and bob.
func sampleMarkCommands() map[string][]byte {
	alice, bob := []byte("alice"), []byte("bob")
	lane := laneID{godwit.UserID("alice").Partition(), godwit.UserID("bob").Partition()}
	mark := markCommand{user: alice, peer: bob, delivered: 300, read: 2, ordinal: 1, peerDelivered: 7, peerRead: 5}
	channel := markCommand{user: alice, peer: []byte("g:g42"), channel: true, read: 300, ordinal: 290, total: 301, peerRead: 300}
	set := conversationCommand{user: alice, peer: bob, given: givenMute | givenPin, flags: convPinned, mute: 1_700_000_000_000, deleted: 2, ordinal: 1}
	receipt := receiptItem{from: alice, to: bob, delivered: 7, read: 5}
	member := memberMarkItem{group: []byte("g42"), user: alice, delivered: 7, read: 5}
	item := func(k itemKind, payload []byte) []byte {
		return appendCarryItem(nil, &laneItem{kind: k, origin: godwit.NewLogID(lane.src, 7), seq: 300, time: 1_700_000_000_000, block: payload})
	}
	carry := appendLaneHead(nil, kindCarry, 256, lane, testEpoch, 9, 3)
	carry = append(carry, item(itemMessage, sampleBlock())...)
	carry = append(carry, item(itemReceipt, receipt.append(nil))...)
	carry = append(carry, item(itemRevise, appendRevise(nil, false, 2, sampleBlock()))...)
	toGroup := laneID{lane.src, godwit.GroupID("g42").Partition()}
	gcarry := append(appendLaneHead(nil, kindCarry, 256, toGroup, testEpoch, 10, 1), item(itemMemberMark, member.append(nil))...)
	return map[string][]byte{
		"mark":   mark.append(nil, 0),
		"cmark":  channel.append(nil, 0),
		"set":    set.append(nil, 0),
		"edit":   appendReviseCommand(nil, 0, 1, 1_700_000_000_000, false, 1, sampleBlock()),
		"recall": appendReviseCommand(nil, 0, 1, 1_700_000_000_000, true, 1, appendBlock(nil, alice, bob, []byte("c1"), nil, nil, false)),
		"carry":  carry,
		"gcarry": gcarry,
	}
}

// The bytes of every command are part of the log's format.
func TestMarkCommandBytesAreFixed(t *testing.T) {
	const alice, bob, time = "05616c696365", "03626f62", "80d095ffbc31"
	const item = "07" + "ac02" + time
	golden := map[string]string{
		"mark":   "140100000000" + alice + bob + "00" + "ac02" + "02" + "01" + "00" + "07" + "05",
		"cmark":  "140100000000" + alice + "05673a673432" + "01" + "00" + "ac02" + "a202" + "ad02" + "00" + "ac02",
		"set":    "150100000000" + alice + bob + "03" + "01" + time + "02" + "01" + "00",
		"edit":   "160100000000" + "01" + time + "0001" + sampleHex,
		"recall": "160100000000" + "01" + time + "0101" + "07753a616c696365" + "05753a626f62" + "026331" + "00" + "00",
		"carry": "170100000100" + "PART" + "00000000000000e0" + "09" + "03" + "00" + item + "1f" + sampleHex +
			"01" + item + "0c" + alice + bob + "0705" + "02" + item + "21" + "0002" + sampleHex,
		"gcarry": "170100000100" + "GPRT" + "00000000000000e0" + "0a" + "01" + "03" + item + "0c" + "03673432" + alice + "0705",
	}
	document, err := os.ReadFile("../docs/formats/commands.md")
	if err != nil {
		t.Fatal(err)
	}
	part := func(to godwit.Partition) string {
		lane := binary.BigEndian.AppendUint16(nil, uint16(godwit.UserID("alice").Partition()))
		return hex.EncodeToString(binary.BigEndian.AppendUint16(lane, uint16(to)))
	}
	parts := strings.NewReplacer("PART", part(godwit.UserID("bob").Partition()), "GPRT", part(godwit.GroupID("g42").Partition()))
	for name, command := range sampleMarkCommands() {
		if got, want := hex.EncodeToString(command), parts.Replace(golden[name]); got != want {
			t.Errorf("%s is\n%s, want\n%s", name, got, want)
		}
		if _, ok := parseCommand(command); !ok {
			t.Errorf("%s does not parse", name)
		}
		if _, ok := parseCommand(append(bytes.Clone(command), 0)); ok && name != "edit" {
			t.Errorf("%s with a tail parses", name)
		}
		if example := fmt.Sprintf("    %-8s %x\n", name, command); !strings.Contains(string(document), example) {
			t.Errorf("docs/formats/commands.md lacks %q", example)
		}
	}
}

// A run of messages alone is the forward it was at level 1, byte by byte.
func TestMessagesAloneAreAForward(t *testing.T) {
	lane := laneID{godwit.UserID("alice").Partition(), godwit.UserID("bob").Partition()}
	item := laneItem{origin: godwit.NewLogID(lane.src, 7), seq: 300, time: 1_700_000_000_000, block: sampleBlock()}
	got := appendLaneItems(nil, 256, lane, testEpoch, 9, []laneItem{item})
	if want := sampleCommands()["forward"]; !bytes.Equal(got, want) {
		t.Errorf("%x, want %x", got, want)
	}
	o := outboxRow{log: 3, seq: 4, bytes: 5}
	if got := o.append(nil); !bytes.Equal(got, []byte{3, 4, 5}) {
		t.Errorf("the outbox row of a message is %x", got)
	}
}

func TestMarkRowsRoundTrip(t *testing.T) {
	m := peerMarkRow{delivered: 300, read: 299, seq: 1 << 50}
	var again peerMarkRow
	if !again.parse(m.append(nil)) || again != m {
		t.Errorf("%+v parses as %+v", m, again)
	}
	o := outboxRow{log: 3, seq: 4, bytes: 5, kind: itemReceipt, time: 1_700_000_000_000, payload: []byte{1}}
	var row outboxRow
	if !row.parse(o.append(nil)) || !reflect.DeepEqual(row, o) {
		t.Errorf("%+v parses as %+v", o, row)
	}
	for _, damaged := range [][]byte{{1}, {1, 2, 0}, {1, 2, 3, 4}, m.append(m.append(nil))} {
		if again.parse(damaged) {
			t.Errorf("%x parses", damaged)
		}
	}
	if value := o.append(nil); row.parse(value[:len(value)-1]) {
		t.Error("an outbox row without its payload parses")
	}
}

// A group of an earlier level refuses what a newer program proposes.
func TestEarlierLevelRefusesMarks(t *testing.T) {
	w := newWorld(t, 1, nil)
	w.send("alice", "bob", "c1", "hi")
	before := w.store.digests()
	for name, command := range sampleMarkCommands() {
		if name == "carry" || name == "gcarry" {
			continue // refused for its lane already
		}
		if o := w.run(0, command); o.refusal != godwit.ErrFrameInvalid {
			t.Errorf("%s: %v", name, o.refusal)
		}
	}
	if !slices.Equal(before, w.store.digests()) {
		t.Error("a refused command changed the state")
	}
}

// FuzzMarkCommand gives arbitrary bytes to apply, and to what is read after it.
func FuzzMarkCommand(f *testing.F) {
	for _, command := range sampleMarkCommands() {
		f.Add(command, byte(1))
		f.Add(command[:len(command)-1], byte(8))
	}
	f.Fuzz(func(t *testing.T, command []byte, groups byte) {
		p, ok := parseCommand(command)
		if !ok {
			return
		}
		var again []byte
		switch c := p.body.(type) {
		case *markCommand:
			again = c.append(nil, p.header.home)
		case *conversationCommand:
			again = c.append(nil, p.header.home)
		case *reviseCommand:
			again = appendReviseCommand(nil, p.header.home, c.log, c.time, c.recall, c.seq, c.block.raw)
		case *carryCommand:
			again = command
		default:
			return
		}
		if q, ok := parseCommand(again); !ok || !reflect.DeepEqual(q, p) {
			t.Errorf("%x is written back as %x", command, again)
		}
		n := 1 << (groups % 4)
		run := func() (o []outcome, d []uint64) {
			w := newWorld(t, n, level2)
			w.send("alice", "bob", "c0", "x")
			w.send("bob", "alice", "c0", "y")
			before := w.store.digests()
			for g := range n {
				o = append(o, w.run(g, command))
				if o[g].refusal != nil && before[g] != w.store.groups[g].digest() {
					t.Error("a refused command changed the state")
				}
			}
			for _, user := range []godwit.UserID{"alice", "bob"} {
				readAll(t, w, user)
			}
			return o, w.store.digests()
		}
		o1, d1 := run()
		o2, d2 := run()
		if !reflect.DeepEqual(o1, o2) || !slices.Equal(d1, d2) {
			t.Errorf("two replicas differ: %+v, %+v", o1, o2)
		}
	})
}

// readAll converts a user's log.
func readAll(t testing.TB, w *world, user godwit.UserID) []godwit.Entry {
	t.Helper()
	v := w.store.View(w.store.Group(user.Partition()))
	defer v.Close()
	u, refusal := userOfView(v, user)
	c := converter{ids: w.ids, v: v, user: []byte(user), log: u.logID(user)}
	records := v.Since(c.log, 0, 1<<20, 1<<30, nil)
	entries, ok := c.page(records, nil)
	if refusal != nil || !ok || !c.revise(records, entries) || c.bad {
		t.Fatalf("the log of %s can't be read", user)
	}
	return entries
}
