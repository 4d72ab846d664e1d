package chat

import (
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

const testGroup = "g42"

func usersOf(names ...string) (l userList) {
	for _, name := range names {
		l.add([]byte(name))
	}
	return l
}

func membersOf(names ...string) (l userList) {
	for _, name := range names {
		l.addMember([]byte(name), 0)
	}
	return l
}

func bucketsOf(numbers ...uint64) (l bucketList) {
	for _, n := range numbers {
		l.add(n)
	}
	return l
}

// sampleGroupCommands are about the group g42 of a store of one raft group.
func sampleGroupCommands() map[string][]byte {
	group, alice := []byte(testGroup), []byte("alice")
	change := func(c groupChangeCommand) []byte {
		c.group, c.by = group, alice
		return c.append(nil, 0)
	}
	create := groupCreateCommand{by: alice, group: group, name: []byte("Team"), flags: groupOpen, users: usersOf("bob", "carol")}
	block := appendGroupBlock(nil, alice, group, []byte("c1"), nil, []byte("hi"), true)
	return map[string][]byte{
		"gcreate": create.append(nil, 0),
		"gset":    change(groupChangeCommand{do: doSet, has: hasName | hasHistory, name: []byte("Ours"), flags: groupHistoryAll}),
		"gadd":    change(groupChangeCommand{do: doAdd, places: 1, buckets: bucketsOf(0, 300), users: usersOf("dave", "erin")}),
		"gremove": change(groupChangeCommand{do: doRemove, users: membersOf("bob")}),
		"gleave":  change(groupChangeCommand{do: doLeave, users: membersOf("alice")}),
		"gjoin":   change(groupChangeCommand{do: doJoin, places: 1, buckets: bucketsOf(0), users: usersOf("alice")}),
		"grole":   change(groupChangeCommand{do: doRole, role: roleOwner, owner: alice, users: membersOf("bob")}),
		"gsend":   append(appendGroupSendHead(nil, 0, false, 1_700_000_000_000), block...),
		"gedit":   append(appendGroupReviseHead(nil, 0, false, false, 2, 1_700_000_000_000, alice), block...),
		"grecall": appendGroupBlock(appendGroupReviseHead(nil, 0, true, true, 2, 1_700_000_000_000, []byte("bob")),
			alice, group, []byte("c1"), nil, nil, false),
		"gtrim": binary.BigEndian.AppendUint64(appendGroupTrimHead(nil, 0, group, alice), 0x0102030405060708),
	}
}

// The bytes of every command are part of the log's format.
func TestGroupCommandBytesAreFixed(t *testing.T) {
	const g42, alice = "03673432", "05616c696365"
	const message = "07753a616c696365" + "05673a673432" + "026331"
	golden := map[string]string{
		"gcreate": "0a0100000000" + alice + g42 + "01" + "0004" + "5465616d" + "02" + "03626f62" + "056361726f6c",
		"gset":    "0b0100000000" + "0200" + g42 + alice + "0502" + "0004" + "4f757273",
		"gadd":    "0b0100000000" + "0300" + g42 + alice + "01" + "0200ac02" + "02" + "0464617665" + "046572696e",
		"gremove": "0b0100000000" + "0400" + g42 + alice + "01" + "03626f6200",
		"gleave":  "0b0100000000" + "0500" + g42 + alice + "01" + alice + "00",
		"gjoin":   "0b0100000000" + "0600" + g42 + alice + "01" + "0100" + "01" + alice,
		"grole":   "0b0100000000" + "0700" + g42 + alice + "03" + alice + "00" + "01" + "03626f6200",
		"gsend":   "0c0100000000" + "00" + "80d095ffbc31" + message + "0100" + "6869",
		"gedit":   "0f0100000000" + "00" + "02" + "80d095ffbc31" + alice + message + "0100" + "6869",
		"grecall": "0f0100000000" + "03" + "02" + "80d095ffbc31" + "03626f62" + message + "0000",
		"gtrim":   "100100000000" + g42 + alice + "0102030405060708",
	}
	document, err := os.ReadFile("../docs/formats/commands.md")
	if err != nil {
		t.Fatal(err)
	}
	samples := sampleGroupCommands()
	if len(samples) != len(golden) {
		t.Errorf("%d samples, %d golden values", len(samples), len(golden))
	}
	for name, command := range samples {
		if got := hex.EncodeToString(command); got != golden[name] {
			t.Errorf("%s is\n%s, want\n%s", name, got, golden[name])
		}
		if _, ok := parseCommand(command); !ok {
			t.Errorf("%s does not parse", name)
		}
		if example := fmt.Sprintf("    %-8s %x\n", name, command); !strings.Contains(string(document), example) {
			t.Errorf("docs/formats/commands.md lacks %q", example)
		}
	}
}

func TestGroupRowsRoundTrip(t *testing.T) {
	g := groupRow{
		log: 7, time: 1_700_000_000_000, head: 300, messages: 200, members: 65, buckets: 2, room: 1, version: 9, fanned: 299,
		boundary: 4, flags: groupOpen, created: 1_600_000_000_000, name: []byte("Team"), creator: []byte("alice"), owner: []byte("bob"),
	}
	withOverlays := g
	withOverlays.overlays, withOverlays.freed, withOverlays.owner = 3, 4, []byte{}
	for _, want := range []groupRow{g, withOverlays} {
		var got groupRow
		value := want.append(nil)
		if !got.parse(value) || !reflect.DeepEqual(got, want) {
			t.Errorf("%+v parses as %+v", want, got)
		}
	}
	for n := range g.append(nil) {
		if new(groupRow).parse(g.append(nil)[:n]) {
			t.Errorf("a group row cut to %d bytes parses", n)
		}
	}
	m := memberRow{bucket: 3, role: roleAdmin, since: 5}
	marked := memberRow{bucket: 3, role: roleAdmin, since: 5, left: 9, delivered: 8, read: 7, sends: 6}
	marked.spans[0], marked.spans[memberSpansMax-1] = [2]godwit.Seq{1, 2}, [2]godwit.Seq{3, 4}
	for _, want := range []memberRow{m, marked} {
		var got memberRow
		if !got.parse(want.append(nil)) || got != want {
			t.Errorf("%+v parses as %+v", want, got)
		}
	}
	c := groupChange{do: doRole, by: []byte("alice"), count: 3, has: hasAll, name: []byte("Team"), open: true, all: true, role: roleAdmin}
	c.add([]byte("bob"))
	c.add([]byte("carol"))
	becomes := groupChange{do: doChannel, by: []byte{}, count: 501, boundary: 9, name: []byte{}, list: []byte{}}
	for _, want := range []groupChange{c, becomes} {
		got, ok := parseGroupChange(want.append(nil))
		if !ok || !reflect.DeepEqual(got, want) {
			t.Errorf("%+v parses as %+v", want, got)
		}
	}
}

// What makes two commands out of the same words is refused: lists are ascending.
func TestGroupCommandsNameNobodyTwice(t *testing.T) {
	for _, users := range []userList{usersOf("bob", "bob"), usersOf("carol", "bob"), usersOf("b:b"), usersOf("")} {
		c := groupChangeCommand{do: doAdd, group: []byte(testGroup), by: []byte("alice"), buckets: bucketsOf(0), users: users}
		if _, ok := parseCommand(c.append(nil, 0)); ok {
			t.Errorf("users %q are taken", users.list)
		}
	}
	for _, buckets := range []bucketList{bucketsOf(), bucketsOf(1, 1), bucketsOf(2, 1), bucketsOf(1 << 32)} {
		c := groupChangeCommand{do: doAdd, group: []byte(testGroup), by: []byte("alice"), buckets: buckets, users: usersOf("bob")}
		if _, ok := parseCommand(c.append(nil, 0)); ok {
			t.Errorf("buckets %v are taken", buckets.list)
		}
	}
}

// groupWorld has the group g42 of alice and bob, and one message in it.
func groupWorld(t testing.TB, groups int) *world {
	w := newWorld(t, groups, level2)
	create := groupCreateCommand{by: []byte("alice"), group: []byte(testGroup), users: usersOf("bob")}
	w.runGroup(testGroup, create.append(nil, 0)).mustBe(t, nil)
	w.runGroup(testGroup, sampleGroupCommands()["gsend"]).mustBe(t, nil)
	return w
}

func level2(s *settings) {
	p := Policy{}
	if err := p.validate(); err != nil {
		panic(err)
	}
	s.level, s.policy = 2, p.replicated()
}

// runGroup runs a command where a group's rows are.
func (w *world) runGroup(group string, command []byte) outcome {
	w.t.Helper()
	at := w.store.Group(godwit.GroupID(group).Partition())
	binary.BigEndian.PutUint16(command[4:], uint16(w.home(at)))
	return w.run(at, command)
}

// A group of an earlier level refuses what a newer program proposes, and stays as
// it was: its replicas of the older program do the same.
func TestEarlierLevelRefusesGroups(t *testing.T) {
	w := newWorld(t, 1, nil)
	w.send("alice", "bob", "c1", "hi")
	before := w.store.digests()
	for name, command := range sampleGroupCommands() {
		if o := w.run(0, command); o.refusal != godwit.ErrFrameInvalid {
			t.Errorf("%s: %v", name, o.refusal)
		}
	}
	block := appendGroupBlock(nil, []byte("alice"), []byte(testGroup), []byte("c1"), nil, []byte("hi"), true)
	if o := w.run(0, append(appendSendHead(nil, 0, 0), block...)); o.refusal != godwit.ErrFrameInvalid {
		t.Errorf("a send to a user that names a group: %v", o.refusal)
	}
	if !slices.Equal(before, w.store.digests()) {
		t.Error("a refused command changed the state")
	}
}

// FuzzGroupCommand gives arbitrary bytes to apply where there is a group.
func FuzzGroupCommand(f *testing.F) {
	for _, command := range sampleGroupCommands() {
		f.Add(command)
		f.Add(command[:len(command)-1])
	}
	f.Fuzz(func(t *testing.T, command []byte) {
		p, ok := parseCommand(command)
		switch p.body.(type) {
		case *groupCreateCommand, *groupChangeCommand, *groupSendCommand, *groupReviseCommand, *groupTrimCommand:
		default:
			return
		}
		if !ok || p.header.home != 0 {
			return
		}
		run := func() (outcome, []uint64) {
			w := groupWorld(t, 1)
			before := w.store.digests()
			o := w.run(0, command)
			if o.refusal != nil && !slices.Equal(before, w.store.digests()) {
				t.Error("a refused command changed the state")
			}
			checkGroups(t, w.store)
			return o, w.store.digests()
		}
		o1, d1 := run()
		o2, d2 := run()
		if !reflect.DeepEqual(o1, o2) || !slices.Equal(d1, d2) {
			t.Errorf("two replicas differ: %+v, %+v", o1, o2)
		}
		var again []byte
		switch c := p.body.(type) {
		case *groupCreateCommand:
			again = c.append(nil, 0)
		case *groupChangeCommand:
			again = c.append(nil, 0)
		default:
			return
		}
		if q, ok := parseCommand(again); !ok || !reflect.DeepEqual(q, p) {
			t.Errorf("%x is written back as %x", command, again)
		}
	})
}

// FuzzGroupRecord gives arbitrary bytes to the parsers of stored changes and of
// the cursors that clients give back.
func FuzzGroupRecord(f *testing.F) {
	c := groupChange{do: doAdd, by: []byte("alice"), count: 2}
	c.add([]byte("bob"))
	f.Add(c.append(nil))
	f.Add([]byte(groupCursor{bucket: 3, user: []byte("bob")}.String()))
	f.Fuzz(func(t *testing.T, body []byte) {
		if c, ok := parseGroupChange(body); ok {
			users := uint64(0)
			for range c.named() {
				users++
			}
			if again, ok := parseGroupChange(c.append(nil)); !ok || !reflect.DeepEqual(again, c) || users != c.users {
				t.Errorf("%+v is read back as %+v", c, again)
			}
		}
		if c, ok := parseGroupCursor(body); ok && len(body) > 0 {
			if again, ok := parseGroupCursor([]byte(c.String())); !ok || !reflect.DeepEqual(again, c) {
				t.Errorf("%+v is read back as %+v", c, again)
			}
		}
	})
}
